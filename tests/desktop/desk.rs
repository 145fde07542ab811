//! A private desktop: a virtual screen, a session bus, folders, and a browser that signs in by itself.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use sandbox::{Sandbox, SandboxConfig};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
};

/// Long enough for the slowest machine, short enough to end a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where a person sits. Dropping it ends all that it started.
pub(crate) struct Desk {
    pub(crate) display: String,
    pub(crate) bus: String,
    folder: TempDir,
    _screen: Child,
    _bus: Child,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["home", "run", "bin"] {
            std::fs::create_dir(folder.path().join(name)).expect("the folder is ours");
        }
        std::fs::set_permissions(folder.path().join("run"), Permissions::from_mode(0o700)).expect("the folder is ours");
        let at = folder.path();
        let mut screen = quiet(at, "Xvfb", &["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]);
        let display = format!(":{}", first_line(screen.stdout.take()).await);
        let mut bus = quiet(at, "dbus-daemon", &["--session", "--nofork", "--nopidfile", "--print-address=1"]);
        let address = first_line(bus.stdout.take()).await;
        Self { display, bus: address, folder, _screen: screen, _bus: bus }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes a file below this person's settings.
    pub(crate) fn write_setting(&self, path: &str, text: &str) {
        let file = self.folder.path().join("home/.config").join(path);
        std::fs::create_dir_all(file.parent().expect("a file is in a folder")).expect("the folder is ours");
        std::fs::write(file, text).expect("the folder is ours");
    }

    /// Makes `xdg-open` a browser in which this person signs in at once.
    pub(crate) fn browser_signs_in_as(&self, who: &str) {
        let browser = self.folder.path().join("bin/xdg-open");
        let script = format!("#!/bin/sh\nexec '{}' browse \"$1\" --as {who}\n", program("daypass-sandbox").display());
        std::fs::write(&browser, script).expect("the folder is ours");
        std::fs::set_permissions(&browser, Permissions::from_mode(0o755)).expect("the file is ours");
    }

    /// A program of this desktop.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = private(self.folder.path(), program.as_ref());
        command
            .env("DISPLAY", &self.display)
            .env("DBUS_SESSION_BUS_ADDRESS", &self.bus)
            .env("NO_AT_BRIDGE", "1")
            .env("DAYPASS_SECRETS", "memory");
        command
    }

    /// `daypass-desktop` with a catalog.
    pub(crate) fn daypass(&self, catalog: &Path) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_daypass-desktop"));
        command.args(self.arguments(catalog));
        command
    }

    pub(crate) fn arguments(&self, catalog: &Path) -> [String; 4] {
        let text = |path: &Path| path.to_str().expect("temporary folders have plain names").to_owned();
        ["--data-dir".to_owned(), text(&self.data_dir()), "--catalog".to_owned(), text(catalog)]
    }

    /// A sandbox in which ben approves after a second, and its catalog.
    pub(crate) async fn sandbox(&self) -> (Sandbox, PathBuf) {
        let colleague = Some(Duration::from_secs(1));
        let config = SandboxConfig { pacing: false, colleague, ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
        let catalog = sandbox.write_catalog(self.folder.path()).expect("the folder is ours");
        (sandbox, catalog)
    }
}

/// Waits, but not forever.
pub(crate) async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(done) => done,
        Err(_) => panic!("it took too long: {what}"),
    }
}

/// A program built beside the desktop's.
pub(crate) fn program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_daypass-desktop")).parent().expect("a program is in a folder");
    let program = folder.join(name);
    assert!(program.exists(), "{} is missing: build with --workspace", program.display());
    program
}

fn quiet(folder: &Path, program: &str, arguments: &[&str]) -> Child {
    let mut command = private(folder, Path::new(program));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{program} does not start ({error}): run `cargo xtask setup`"))
}

/// A program whose home is in the folder. The bus is one too, since what it starts inherits its environment.
fn private(folder: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").expect("there is a PATH");
    command
        .env_clear()
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .env("HOME", folder.join("home"))
        .env("XDG_RUNTIME_DIR", folder.join("run"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn first_line(output: Option<impl AsyncRead + Unpin>) -> String {
    let mut line = String::new();
    let mut output = BufReader::new(output.expect("the output is piped"));
    in_time("a first line", output.read_line(&mut line)).await.expect("the output is text");
    // The rest is never read; it is a few lines at most.
    assert!(!line.is_empty(), "the program ended at once");
    line.trim().to_owned()
}
