//! A sandbox, and people who use the built `daypass` against it, each in a home of their own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ipc::{Client, ServerMessage, SocketPath};
use model::{Snapshot, TargetId, TargetView};
use sandbox::{Sandbox, SandboxConfig};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

/// Long enough for the slowest machine, short enough to end a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// An AWS account and a folder for people's homes.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    homes: TempDir,
    catalog: PathBuf,
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(SandboxConfig { pacing: false, ..SandboxConfig::default() }).await
    }

    pub(crate) async fn with(config: SandboxConfig) -> Self {
        let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
        let homes = tempfile::tempdir().expect("a temporary folder");
        let catalog = sandbox.write_catalog(homes.path()).expect("the folder is writable");
        Self { sandbox, homes, catalog }
    }

    /// A person with a home of their own.
    pub(crate) fn person(&self, who: &'static str) -> Person {
        self.computer(who, who)
    }

    /// A person at one of several computers.
    pub(crate) fn computer(&self, who: &'static str, home: &str) -> Person {
        let home = self.homes.path().join(home);
        std::fs::create_dir_all(&home).expect("the folder is writable");
        Person { who, home, catalog: self.catalog.clone(), session_bus: None, system_bus: None }
    }

    /// A person whose catalog says something else.
    pub(crate) fn person_with_catalog(&self, who: &'static str, edit: impl FnOnce(String) -> String) -> Person {
        let mut person = self.person(who);
        let catalog = person.home.join("catalog.toml");
        let text = std::fs::read_to_string(&self.catalog).expect("the sandbox wrote it");
        std::fs::write(&catalog, edit(text)).expect("the folder is writable");
        person.catalog = catalog;
        person
    }
}

/// Somebody at a terminal. Dropping it ends the agent that its commands started.
pub(crate) struct Person {
    who: &'static str,
    pub(crate) home: PathBuf,
    catalog: PathBuf,
    /// Where a keychain answers; without one the sign-in is kept in memory.
    pub(crate) session_bus: Option<String>,
    /// Where logind announces sleep; without one nothing does.
    pub(crate) system_bus: Option<String>,
}

impl Person {
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// `daypass` with these arguments, in an environment that names another AWS account wherever one can.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("daypass"));
        command.args(arguments).env_clear();
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut environment = vec![
            ("PATH", std::env::var_os("PATH").expect("there is a PATH").into()),
            ("HOME", self.home.clone()),
            ("DAYPASS_DATA_DIR", self.data_dir()),
            ("DAYPASS_CATALOG", self.catalog.clone()),
        ];
        match &self.session_bus {
            Some(bus) => environment.push(("DBUS_SESSION_BUS_ADDRESS", bus.into())),
            None => environment.push(("DAYPASS_SECRETS", "memory".into())),
        }
        environment.extend(self.system_bus.as_ref().map(|bus| ("DBUS_SYSTEM_BUS_ADDRESS", bus.into())));
        for (name, value) in [
            ("AWS_PROFILE", "somebody-else"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("AWS_REGION", "us-gov-west-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ] {
            environment.push((name, value.into()));
        }
        environment
    }

    /// The agent in the foreground, ready for guests; dropping it kills it without a farewell.
    pub(crate) async fn agent(&self) -> Child {
        let mut agent = self.command(&["agent"]).spawn().expect("daypass is built by --workspace");
        let mut said = BufReader::new(agent.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        said.read_line(&mut line).await.expect("it says when it is ready");
        assert_eq!(line.trim(), "ready");
        agent
    }

    /// Runs `daypass` to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        finished(self.command(arguments).spawn().expect("daypass is built by --workspace")).await
    }

    /// Runs `daypass`, which must succeed.
    pub(crate) async fn does(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, Some(0), "{} could not {arguments:?}: {}", self.who, ran.err);
        ran.out
    }

    /// Runs `daypass --json`, which must be refused with this code; the message and hint together.
    pub(crate) async fn is_refused(&self, arguments: &[&str], code: &str) -> String {
        let ran = self.run(&[&["--json"], arguments].concat()).await;
        assert_ne!(ran.code, Some(0), "{arguments:?} must not succeed: {}", ran.out);
        let last = ran.err.lines().last().unwrap_or_default();
        let error: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|_| panic!("no JSON error in: {}", ran.err));
        assert_eq!(error["error"]["code"], code, "{arguments:?}: {last}");
        format!(
            "{} / {}",
            error["error"]["message"].as_str().unwrap_or_default(),
            error["error"]["hint"].as_str().unwrap_or_default()
        )
    }

    /// Signs in as this person, with a browser that fills in the page.
    pub(crate) async fn signs_in(&self, identity_provider: &str) {
        let ran = self.sign_in_with(identity_provider, &["--as", self.who]).await;
        assert_eq!(ran.code, Some(0), "{} must be signed in: {}", self.who, ran.err);
    }

    /// `daypass sign-in`, while the browser is used with these options.
    pub(crate) async fn sign_in_with(&self, identity_provider: &str, browser: &[&str]) -> Ran {
        let mut child = self
            .command(&["sign-in", identity_provider, "--no-browser"])
            .spawn()
            .expect("daypass is built by --workspace");
        let mut said = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut err = String::new();
        let page = loop {
            let before = err.len();
            let read =
                tokio::time::timeout(PATIENCE, said.read_line(&mut err)).await.expect("the page is named in time");
            if read.expect("stderr is text") == 0 {
                break None;
            }
            if let Some(url) = err.get(before..).and_then(|line| line.trim().strip_prefix("Open this page: ")) {
                break Some(url.to_owned());
            }
        };
        if let Some(page) = page {
            let browse = [&["browse", page.as_str()], browser].concat();
            let mut browser = Command::new(program("daypass-sandbox"));
            browser.args(browse).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            browser.status().await.expect("daypass-sandbox is built by --workspace");
        }
        let mut ran = finished(child).await;
        said.read_to_string(&mut err).await.expect("stderr is text");
        ran.err = err;
        ran
    }

    /// Asks, has it approved by ben, and waits until access is in force.
    pub(crate) async fn is_granted(&self, world: &World, target: &str, duration: &str) {
        let asked = ["request", target, "--for", duration, "--reason", "INC-42 stuck batch", "--wait"];
        let asking = self.command(&asked).spawn().expect("daypass is built by --workspace");
        world.sandbox.request_waits().await;
        world.sandbox.approve("ben").expect("one request waits");
        let ran = finished(asking).await;
        assert_eq!(ran.code, Some(0), "access must be granted: {}", ran.err);
    }

    /// Waits until a snapshot says so.
    pub(crate) async fn sees<T>(&self, what: &str, decide: impl Fn(&Snapshot) -> Option<T>) -> T {
        let mut latest = None;
        let seen = tokio::time::timeout(PATIENCE, async {
            let mut client = Client::connect(&self.socket()).await.expect("an agent runs");
            client.subscribe().await.expect("it lets us follow");
            loop {
                match client.next().await.expect("it goes on").expect("it goes on") {
                    ServerMessage::Snapshot(snapshot) => {
                        if let Some(decided) = decide(&snapshot) {
                            return decided;
                        }
                        latest = Some(snapshot);
                    }
                    ServerMessage::Notice(_) | ServerMessage::Reply { .. } => {}
                }
            }
        });
        match seen.await {
            Ok(decided) => decided,
            Err(_) => panic!("{} never saw that {what}; last: {latest:#?}", self.who),
        }
    }

    pub(crate) fn socket(&self) -> SocketPath {
        SocketPath::find(Some(&self.data_dir()))
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let mut quit = std::process::Command::new(program("daypass"));
        quit.arg("quit")
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        drop(quit.status());
    }
}

/// The view of one Target.
pub(crate) fn view<'a>(snapshot: &'a Snapshot, target: &str) -> &'a TargetView {
    let target = TargetId::new(target).expect("a valid name");
    snapshot.targets.iter().find(|view| view.target.id == target).expect("the catalog has it")
}

/// Sends a signal (`TERM`) to a program that runs.
pub(crate) async fn signal(name: &str, program: &Child) {
    let id = program.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status().await.expect("every system has kill");
    assert!(sent.success(), "SIG{name} is sent");
}

/// Waits for a program's end.
pub(crate) async fn finished(child: Child) -> Ran {
    finished_within(PATIENCE, child).await
}

/// Waits for the end of a program that has much to do.
pub(crate) async fn finished_within(patience: Duration, child: Child) -> Ran {
    let output = tokio::time::timeout(patience, child.wait_with_output())
        .await
        .expect("it ends in time")
        .expect("it can be waited for");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A program built beside the desktop's.
pub(crate) fn program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_daypass-desktop")).parent().expect("a program is in a folder");
    let program = folder.join(name);
    assert!(program.exists(), "{} is missing: build with --workspace", program.display());
    program
}
