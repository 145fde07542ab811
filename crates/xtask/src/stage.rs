//! A sandbox, an agent and a person's empty home, all in one temporary folder: what the demo and the end-to-end bench play
//! on.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::bounded::{self, Answer, Lines};
use crate::broom::{Broom, join_group};
use crate::failure::Failure;
use crate::workspace::executable;

/// Set in every process of a stage, so that one left behind can be told from others.
pub(crate) const MARK: &str = "DAYPASS_STAGE";

const START: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(30);

/// How the sandbox behaves.
pub(crate) struct Scene {
    /// Further arguments of `daypass-sandbox serve`.
    pub(crate) sandbox: &'static [&'static str],
}

/// Sets a stage with the built `programs`, lets `act` happen on it, and clears it.
pub(crate) fn play<T>(
    programs: &Path,
    scene: &Scene,
    act: impl FnOnce(&mut Stage) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut stage = Stage::set(programs, scene)?;
    match act(&mut stage) {
        Ok(seen) => {
            stage.close_sandbox()?;
            stage.clear()?;
            Ok(seen)
        }
        Err(failure) => Err(stage.fail(failure)),
    }
}

/// Everything that runs.
pub(crate) struct Stage {
    folder: PathBuf,
    programs: PathBuf,
    broom: Broom,
    sandbox: Child,
    lifeline: Option<ChildStdin>,
    agent: Option<Child>,
    /// What the sandbox said when it was ready: `endpoint`, `issuer`, `catalog`, `admin`.
    addresses: Value,
}

impl Stage {
    /// Makes the folder and starts the sandbox in it; `programs` is where the built programs lie.
    pub(crate) fn set(programs: &Path, scene: &Scene) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("daypass-{}", std::process::id()));
        let mut broom = Broom::wait_beside(&folder)?;
        make_folders(&folder)?;
        let mut command = at_home(&folder, Command::new(programs.join(executable("daypass-sandbox"))), programs);
        command.arg("serve").arg("--dir").arg(folder.join("sandbox")).arg("--until-stdin-closes").args(scene.sandbox);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log(&folder, "sandbox")?);
        join_group(&mut command, 0);
        let mut sandbox = command.spawn().map_err(Failure::io("cannot start daypass-sandbox"))?;
        broom.take_group(sandbox.id())?;
        let lifeline = sandbox.stdin.take();
        let Some(output) = sandbox.stdout.take() else { return Err(Failure::untrue("the sandbox's output", "none")) };
        let ready = Lines::of(output).find(START, |line| serde_json::from_str::<Value>(line).ok());
        let mut stage = Self {
            folder,
            programs: programs.to_owned(),
            broom,
            sandbox,
            lifeline,
            agent: None,
            addresses: Value::Null,
        };
        match ready {
            Ok(addresses) => stage.addresses = addresses,
            Err(said) => {
                return Err(
                    stage.fail(Failure::untrue("the sandbox to say that it is ready", format!("only {said:?}")))
                );
            }
        }
        Ok(stage)
    }

    /// Starts `daypass agent` and waits until it says that it listens.
    pub(crate) fn start_agent(&mut self) -> Result<(), Failure> {
        let mut command = self.daypass(&["agent"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log(&self.folder, "agent")?);
        let mut agent = command.spawn().map_err(Failure::io("cannot start daypass agent"))?;
        let output = agent.stdout.take().map(Lines::of);
        self.agent = Some(agent);
        let ready = output.map(|lines| lines.find(START, |line| (line == "ready").then_some(())));
        match ready {
            Some(Ok(())) => Ok(()),
            other => Err(Failure::untrue("daypass agent to print `ready`", format!("{other:?}"))),
        }
    }

    /// `daypass` in the person's home.
    pub(crate) fn daypass(&self, arguments: &[&str]) -> Command {
        let mut command = self.client("daypass");
        command.args(arguments);
        command
    }

    /// Any other program, as the person would start it.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = at_home(&self.folder, Command::new(program), &self.programs);
        join_group(&mut command, self.sandbox.id());
        command
    }

    /// Runs `daypass` and returns how it ended, well or not.
    pub(crate) fn answer(&self, arguments: &[&str], limit: Duration) -> Result<Answer, Failure> {
        bounded::run(&mut self.daypass(arguments), limit)
    }

    /// Runs `daypass`, which must succeed, and returns its standard output.
    pub(crate) fn tell(&self, arguments: &[&str]) -> Result<String, Failure> {
        bounded::read(&mut self.daypass(arguments), ANSWER)
    }

    /// What the agent holds to be true.
    pub(crate) fn snapshot(&self) -> Result<Value, Failure> {
        let text = self.tell(&["status", "--json"])?;
        serde_json::from_str(&text)
            .map_err(|cause| Failure::untrue("`daypass status --json` to print JSON", format!("{cause} in {text}")))
    }

    /// The Target's part of a snapshot.
    pub(crate) fn target(&self, id: &str) -> Result<Value, Failure> {
        let snapshot = self.snapshot()?;
        let found = snapshot["targets"].as_array().into_iter().flatten().find(|view| view["target"]["id"] == id);
        found.cloned().ok_or_else(|| Failure::untrue(format!("{id} in the catalog"), "no such Target"))
    }

    /// Signs `person` in at the identity provider `acme`, in a browser without a screen.
    pub(crate) fn sign_in(&self, person: &str) -> Result<String, Failure> {
        let mut command = self.daypass(&["sign-in", "acme", "--no-browser"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut waiting = command.spawn().map_err(Failure::io("cannot start daypass sign-in"))?;
        let Some(words) = waiting.stderr.take() else {
            return Err(Failure::untrue("words from daypass sign-in", "no pipe"));
        };
        let words = Lines::of(words);
        let page = words.find(ANSWER, |line| line.strip_prefix("Open this page: ").map(|url| url.trim().to_owned()));
        let page =
            page.map_err(|said| Failure::untrue("`Open this page: URL` from daypass sign-in", format!("{said:?}")))?;
        let mut browser = self.client("daypass-sandbox");
        browser.args(["browse", &page, "--as", person]);
        let shown = bounded::read(&mut browser, ANSWER)?;
        let status = bounded::wait(&mut waiting, ANSWER, "daypass sign-in")?;
        if status.success() {
            Ok(page)
        } else {
            Err(Failure::untrue("the sign-in to succeed", format!("{status} after the page {shown}")))
        }
    }

    /// Where `name` of the sandbox answers: `endpoint`, `issuer`, `catalog`, `admin`.
    pub(crate) fn address(&self, name: &str) -> &str {
        self.addresses[name].as_str().unwrap_or_default()
    }

    /// The agent's process, while there is one.
    pub(crate) fn agent_id(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    /// The folder that everything lies in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("data/run/agent.sock")
    }

    /// What a person types to act in this stage by hand.
    pub(crate) fn by_hand(&self) -> String {
        let lines = home_variables(&self.folder, &self.programs).into_iter();
        let set = lines.filter(|(name, _)| name.starts_with("DAYPASS_") && *name != MARK);
        let set: String = set.map(|(name, value)| format!("  export {name}='{value}'\n")).collect();
        format!("  export PATH='{}':\"$PATH\"\n{set}", self.programs.display())
    }

    /// Waits until the sandbox ends, which it does when somebody ends it.
    pub(crate) fn wait(&mut self) -> Result<(), Failure> {
        self.sandbox.wait().map(drop).map_err(Failure::io("cannot wait for the sandbox"))
    }

    /// Ends the agent by its own command, and waits for it.
    pub(crate) fn quit_agent(&mut self) -> Result<(), Failure> {
        self.tell(&["quit"])?;
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        let status = bounded::wait(&mut agent, ANSWER, "daypass agent")?;
        if status.success() { Ok(()) } else { Err(Failure::untrue("the agent to end well", status.to_string())) }
    }

    /// Ends the sandbox by closing its input, and waits for it.
    pub(crate) fn close_sandbox(&mut self) -> Result<(), Failure> {
        drop(self.lifeline.take());
        let status = bounded::wait(&mut self.sandbox, ANSWER, "daypass-sandbox")?;
        if status.success() { Ok(()) } else { Err(Failure::untrue("the sandbox to end well", status.to_string())) }
    }

    /// Removes the folder and ends whatever is left.
    pub(crate) fn clear(self) -> Result<(), Failure> {
        drop(self.lifeline);
        self.broom.sweep_now([self.sandbox].into_iter().chain(self.agent))
    }

    /// Shows the last lines of both logs before they go, and clears the stage.
    pub(crate) fn fail(self, failure: Failure) -> Failure {
        for name in ["sandbox", "agent"] {
            let text = fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines.iter().skip(lines.len().saturating_sub(15));
            tail.for_each(|line| eprintln!("  {name}: {line}"));
        }
        match self.clear() {
            Ok(()) => failure,
            Err(cleaning) => {
                Failure::untrue("a failed run to be cleared away", format!("{cleaning}; and before that: {failure}"))
            }
        }
    }
}

fn make_folders(folder: &Path) -> Result<(), Failure> {
    for name in ["", "home", "data", "run", "tmp", "sandbox"] {
        let path = folder.join(name);
        fs::create_dir(&path).map_err(Failure::io(format!("cannot make {}", path.display())))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The sandbox's database runs as another user when this is root, and makes its own folder in `tmp`.
            let mode = if matches!(name, "" | "tmp" | "sandbox") { 0o755 } else { 0o700 };
            let mode = if name == "tmp" { 0o1777 } else { mode };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(Failure::io(format!("cannot guard {}", path.display())))?;
        }
    }
    Ok(())
}

/// `command` as somebody who has nothing yet: none of this computer's variables but the language and the path.
fn at_home(folder: &Path, mut command: Command, programs: &Path) -> Command {
    command.env_clear().current_dir(folder.join("home")).envs(home_variables(folder, programs));
    for name in ["LANG", "LC_ALL", "TERM", "TZ", "SystemRoot"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn home_variables(folder: &Path, programs: &Path) -> Vec<(&'static str, String)> {
    let below = |name: &str| folder.join(name).display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    vec![
        ("PATH", format!("{}:{path}", programs.display())),
        ("HOME", below("home")),
        ("XDG_RUNTIME_DIR", below("run")),
        ("TMPDIR", below("tmp")),
        ("DAYPASS_DATA_DIR", below("data")),
        ("DAYPASS_CATALOG", below("sandbox/catalog.toml")),
        ("DAYPASS_SECRETS", "memory".to_owned()),
        ("PSQLRC", "/dev/null".to_owned()),
        ("PAGER", "cat".to_owned()),
        (MARK, folder.display().to_string()),
    ]
}

fn log(folder: &Path, name: &str) -> Result<fs::File, Failure> {
    fs::File::create(folder.join(format!("{name}.log"))).map_err(Failure::io(format!("cannot write the log of {name}")))
}

/// What an admin page of the sandbox answers to a plain GET.
pub(crate) fn fetch(url: &str) -> Result<String, Failure> {
    exchange("GET", url, "")
}

/// What an admin page of the sandbox answers when it is given `body`.
pub(crate) fn post(url: &str, body: &Value) -> Result<String, Failure> {
    exchange("POST", url, &body.to_string())
}

fn exchange(method: &str, url: &str, body: &str) -> Result<String, Failure> {
    let failed = |cause| Failure::Io { what: format!("cannot ask {url}"), cause };
    let rest = url.strip_prefix("http://").ok_or_else(|| Failure::untrue("an http:// address on loopback", url))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut connection = std::net::TcpStream::connect(host).map_err(failed)?;
    connection.set_read_timeout(Some(ANSWER)).map_err(failed)?;
    let content = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let content = if body.is_empty() { String::new() } else { content };
    let request = format!("{method} /{path} HTTP/1.0\r\nHost: {host}\r\n{content}\r\n{body}");
    std::io::Write::write_all(&mut connection, request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split_whitespace().nth(1).is_some_and(|status| status.starts_with('2')) {
        Ok(body.to_owned())
    } else {
        Err(Failure::untrue(format!("{url} to answer 2xx"), head))
    }
}
