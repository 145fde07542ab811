//! A real PostgreSQL in a temporary folder, filled with a small shop, gone without a trace when its owner is.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use db_proto::postgres::{
    ClientEvent, ClientLogin, ClientLoginError, ErrorResponse, LoggedIn, ParameterError, StartupParameters, Transport,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

/// Where the socket lies in the folder handed out by [`Postgres::socket_dir`]. No TCP port is opened.
const SOCKET: &str = ".s.PGSQL.5432";
/// The database of the shop.
pub const DATABASE: &str = "shop";
const SUPERUSER: &str = "postgres";
const SHOP: &str = include_str!("shop.sql");
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A throw-away cluster: nothing needs to survive a crash.
const SETTINGS: &str = "
listen_addresses = ''
unix_socket_permissions = 0700
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_connections = 60
shared_buffers = 16MB
autovacuum = off
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
";

/// Runs the server ($1, data folder $2, log $3) until its own standard input closes, which also happens when the owner
/// is killed; then stops it at once and removes the folder ($4).
const WATCH: &str = r#"
"$1" -D "$2" -k "$4" </dev/null >"$3" 2>&1 &
read -r _
kill -QUIT $! 2>/dev/null
wait
rm -rf "$4"
"#;

/// A running server. Dropping it stops the server and removes its files.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    watch: Child,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// PostgreSQL is not installed where it usually is.
    #[error(
        "found no PostgreSQL server (`postgres` and `initdb`) in PATH or under /usr/lib/postgresql; install it, on \
         Debian with `apt-get install postgresql`"
    )]
    NotInstalled,
    /// We are root, which PostgreSQL refuses, and there is nobody else to be.
    #[error(
        "PostgreSQL refuses to run as root and /etc/passwd names neither `postgres` nor `nobody`; run as another user"
    )]
    NoOtherUser,
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
    /// `initdb` ended with an error.
    #[error("initdb failed: {output}")]
    Initdb {
        /// What it said.
        output: String,
    },
    /// The server did not come up.
    #[error("PostgreSQL did not start: {cause}; its log ends with: {log}")]
    NotReady {
        /// What the last attempt to log in said.
        cause: QueryError,
        /// The last lines.
        log: String,
    },
    /// The shop could not be filled in.
    #[error("cannot fill the database: {0}")]
    Fill(#[from] QueryError),
}

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The socket is not there or broke.
    #[error("no connection to PostgreSQL: {0}")]
    Io(#[from] io::Error),
    /// A database name that cannot be sent.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// Not logged in.
    #[error(transparent)]
    Login(#[from] ClientLoginError),
    /// The statement failed.
    #[error("{0}")]
    Failed(ErrorResponse),
}

impl Postgres {
    /// Starts a server with the shop in it; takes about two seconds.
    ///
    /// # Errors
    /// [`PostgresError`]: not installed, or what stood in the way.
    pub async fn start() -> Result<Self, PostgresError> {
        let binaries = Binaries::find().ok_or(PostgresError::NotInstalled)?;
        let account = Account::unprivileged()?;
        let folder = tempfile::Builder::new().prefix("daypass-pg-").tempdir().map_err(|cause| PostgresError::Io {
            action: "create a folder in",
            path: std::env::temp_dir(),
            cause,
        })?;
        prepare_folder(folder.path(), account.as_ref())?;
        let (initdb, data) = (binaries.initdb.clone(), folder.path().join("data"));
        let initialised = tokio::task::spawn_blocking({
            let account = account.clone();
            move || initialise(&initdb, &data, account.as_ref())
        });
        initialised.await.map_err(|cause| io_error("run", &binaries.initdb, cause.into()))??;
        let watch = watch(&binaries.postgres, folder.path(), account.as_ref())?;
        let server = Self { folder, watch };
        server.until_ready().await?;
        server.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        server.execute(DATABASE, SHOP).await?;
        Ok(server)
    }

    /// The folder with the server's socket, for `host=` of libpq. Only its owner and root may enter; whoever does is
    /// trusted to be whom he says.
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Runs statements (one, or several in one transaction) as superuser.
    ///
    /// # Errors
    /// [`QueryError`], with the server's own words for a statement that fails.
    pub async fn execute(&self, database: &str, statements: &str) -> Result<(), QueryError> {
        let mut stream = connect(self.socket_dir()).await?;
        log_in(&mut stream, StartupParameters::new(SUPERUSER, database)?).await?;
        query(&mut stream, statements).await
    }

    async fn until_ready(&self) -> Result<(), PostgresError> {
        const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.execute("postgres", "SELECT").await {
                Ok(()) => return Ok(()),
                Err(cause) if Instant::now() >= deadline || self.has_died() => {
                    return Err(PostgresError::NotReady { cause, log: self.log_tail() });
                }
                Err(_) => tokio::time::sleep(BETWEEN_ATTEMPTS).await,
            }
        }
    }

    /// The server holds its pid file before it says its first word.
    fn has_died(&self) -> bool {
        !self.log().is_empty() && !self.folder.path().join("data/postmaster.pid").exists()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Postgres {
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

/// Logs in over a Unix socket, where the server trusts its clients.
pub(crate) async fn log_in(stream: &mut UnixStream, parameters: StartupParameters) -> Result<LoggedIn, QueryError> {
    let mut login = ClientLogin::new(parameters, Transport::Plain);
    let mut buffer = vec![0; 8_192];
    loop {
        if let Some(bytes) = login.poll_transmit() {
            stream.write_all(&bytes).await?;
        }
        match login.poll_event() {
            Some(ClientEvent::LoggedIn(session)) => return Ok(session),
            Some(ClientEvent::Failed(error)) => return Err(error.into()),
            Some(ClientEvent::StartTls | ClientEvent::PasswordWanted) | None => {}
        }
        match stream.read(&mut buffer).await? {
            0 => login.closed(),
            length => login.receive(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// Connects to the server whose folder this is.
pub(crate) async fn connect(folder: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(folder.join(SOCKET)).await
}

/// The simple query protocol: one `Query`, then messages up to `ReadyForQuery`.
async fn query(stream: &mut UnixStream, statements: &str) -> Result<(), QueryError> {
    let length = u32::try_from(statements.len() + 5).map_err(io::Error::other)?;
    stream.write_all(&[&b"Q"[..], &length.to_be_bytes(), statements.as_bytes(), &[0]].concat()).await?;
    let mut outcome = Ok(());
    loop {
        let kind = stream.read_u8().await?;
        let length = usize::try_from(stream.read_u32().await?).map_err(io::Error::other)?;
        let mut body = vec![0; length.saturating_sub(4)];
        stream.read_exact(&mut body).await?;
        match kind {
            b'E' => outcome = Err(QueryError::Failed(ErrorResponse::read(&body).map_err(ClientLoginError::from)?)),
            b'Z' => return outcome,
            _ => {}
        }
    }
}

/// The two programs needed.
struct Binaries {
    initdb: PathBuf,
    postgres: PathBuf,
}

impl Binaries {
    /// In PATH, or in the folder of the newest version where Debian and Red Hat put them.
    fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut installed: Vec<_> = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"]
            .iter()
            .filter_map(|parent| std::fs::read_dir(parent).ok())
            .flat_map(|folders| folders.filter_map(Result::ok).map(|folder| folder.path().join("bin")))
            .collect();
        installed.sort_by_key(|folder| std::cmp::Reverse(major_version(folder)));
        std::env::split_paths(&path).chain(installed).find_map(|folder| {
            let found = Self { initdb: folder.join("initdb"), postgres: folder.join("postgres") };
            (found.initdb.is_file() && found.postgres.is_file()).then_some(found)
        })
    }
}

fn major_version(bin: &Path) -> u32 {
    let folder = bin.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    folder.trim_start_matches("postgresql@").parse().unwrap_or(0)
}

/// Whom the server runs as.
#[derive(Clone, Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Somebody else when we are root; `None` to stay who we are.
    fn unprivileged() -> Result<Option<Self>, PostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::named(name, &accounts));
        found.map(Some).ok_or(PostgresError::NoOtherUser)
    }

    fn named(name: &str, accounts: &str) -> Option<Self> {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2);
        Some(Self { uid: numbers.next()?.parse().ok()?, gid: numbers.next()?.parse().ok()? })
    }
}

/// A command that inherits nothing of ours but the way to programs.
fn command(program: impl AsRef<OsStr>, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    if let Some(Account { uid, gid }) = account {
        command.uid(*uid).gid(*gid);
    }
    command
}

fn prepare_folder(folder: &Path, account: Option<&Account>) -> Result<(), PostgresError> {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
        .map_err(|cause| io_error("close", folder, cause))?;
    match account {
        Some(Account { uid, gid }) => {
            chown(folder, Some(*uid), Some(*gid)).map_err(|cause| io_error("give away", folder, cause))
        }
        None => Ok(()),
    }
}

fn initialise(initdb: &Path, data: &Path, account: Option<&Account>) -> Result<(), PostgresError> {
    let output = command(initdb, account)
        .args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync", "-D"])
        .arg(data)
        .output()
        .map_err(|cause| io_error("run", initdb, cause))?;
    let Output { status, stderr, .. } = output;
    if !status.success() {
        return Err(PostgresError::Initdb { output: String::from_utf8_lossy(&stderr).trim().to_owned() });
    }
    let settings = data.join("postgresql.auto.conf");
    std::fs::write(&settings, SETTINGS).map_err(|cause| io_error("write", &settings, cause))
}

fn watch(postgres: &Path, folder: &Path, account: Option<&Account>) -> Result<Child, PostgresError> {
    command("/bin/sh", account)
        .args(["-c", WATCH, "daypass-postgres"])
        .args([postgres, &folder.join("data"), &folder.join("log"), folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C at the terminal is for us; the server follows when we are done.
        .process_group(0)
        .spawn()
        .map_err(|cause| io_error("run", Path::new("/bin/sh"), cause))
}

fn io_error(action: &'static str, path: &Path, cause: io::Error) -> PostgresError {
    PostgresError::Io { action, path: path.to_owned(), cause }
}
