//! A database server as a child: somebody else when we are root, in a folder of its own, gone when its owner is.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a server ($4 and what follows, log $1) until its own standard input closes, which also happens when the owner is
/// killed; then stops it at once by the signal $3 and removes the folder ($2).
const WATCH: &str = r#"
log=$1 folder=$2 signal=$3
shift 3
"$@" </dev/null >"$log" 2>&1 &
read -r _
kill -"$signal" $! 2>/dev/null
wait
rm -rf "$folder"
"#;

/// A server that does not get as far as running.
#[derive(Debug, thiserror::Error)]
pub enum ServerProcessError {
    /// We are root, which database servers refuse, and there is nobody else to be.
    #[error(
        "a database server refuses to run as root and /etc/passwd names none of {names}; run as another user",
        names = names.join(", ")
    )]
    NoOtherUser {
        /// The accounts looked for.
        names: &'static [&'static str],
    },
    /// A file or process could not be had.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// As a verb: "create", "run".
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// From the system.
        cause: io::Error,
    },
}

/// Maps an IO error to what was being done to what.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ServerProcessError {
    let path = path.to_owned();
    move |cause| ServerProcessError::Io { action, path, cause }
}

/// A folder that only the server's account may enter.
#[derive(Debug)]
pub(crate) struct ServerFolder {
    folder: TempDir,
    account: Option<Account>,
}

impl ServerFolder {
    /// A new folder, given to the first of `accounts` that exists when we are root.
    pub(crate) fn new(prefix: &str, accounts: &'static [&'static str]) -> Result<Self, ServerProcessError> {
        let account = Account::unprivileged(accounts)?;
        let made = tempfile::Builder::new().prefix(prefix).tempdir();
        let folder = made.map_err(io_error("create a folder in", &std::env::temp_dir()))?;
        let path = folder.path();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(io_error("close", path))?;
        if let Some(Account { uid, gid }) = account {
            chown(path, Some(uid), Some(gid)).map_err(io_error("give away", path))?;
        }
        Ok(Self { folder, account })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command as the server's account, that inherits nothing of ours but the way to programs.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs `server` with these arguments until the answer is dropped; `signal` (`QUIT`) stops it at once.
    pub(crate) fn run<A: AsRef<OsStr>>(
        self,
        signal: &str,
        server: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<ServerProcess, ServerProcessError> {
        let mut shell = self.command("/bin/sh");
        shell.args(["-c", WATCH, "daypass-database"]).arg(self.path().join(LOG)).arg(self.path()).arg(signal);
        shell.arg(server).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A Ctrl-C at the terminal is for us; the server follows when we are done.
        let watch = shell.process_group(0).spawn().map_err(io_error("run", Path::new("/bin/sh")))?;
        Ok(ServerProcess { folder: self.folder, watch })
    }
}

const LOG: &str = "log";

/// A running server. Dropping it stops the server and removes its files.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    folder: TempDir,
    watch: Child,
}

impl ServerProcess {
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything it said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }

    /// The last lines of it, in one.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let deadline = std::time::Instant::now() + STOP_TIMEOUT;
        while std::time::Instant::now() < deadline {
            match self.watch.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}

/// Whom the server runs as.
#[derive(Clone, Copy, Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Somebody else when we are root; `None` to stay who we are.
    fn unprivileged(names: &'static [&'static str]) -> Result<Option<Self>, ServerProcessError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = names.iter().find_map(|name| Self::named(name, &accounts));
        found.map(Some).ok_or(ServerProcessError::NoOtherUser { names })
    }

    fn named(name: &str, accounts: &str) -> Option<Self> {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2);
        Some(Self { uid: numbers.next()?.parse().ok()?, gid: numbers.next()?.parse().ok()? })
    }
}
