//! What connections cost that do nothing: the Gateway alone in a process of its own.
#![expect(clippy::print_stdout, reason = "the other process and whoever reads the figures are told so")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write, stdin},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Mutex,
};

use gateway::{ResumedSession, SessionError, Sessions, StartedSession};
use sandbox::data_channel::AgentConfig;
use serde_json::{Value, json};

use crate::{
    client::{Client, Verb},
    measured::{Goal, figure},
    path::{SandboxSessions, Sharing, listen, one_thread},
};

const MARK: &str = "DAYPASS_BENCH_IDLE";
const CONNECTIONS: usize = 50;
/// Through each connection before it is idle.
const CARRIED: u64 = 64 * 1024;
const MIB: f64 = 1024.0 * 1024.0;

/// Whether this process is the Gateway's.
pub(crate) fn is_child() -> bool {
    env::var_os(MARK).is_some()
}

/// Prints the memory that the connections add, beside what the process has before the first one.
pub(crate) fn memory(target: SocketAddr) {
    let far = one_thread();
    let agent = AgentConfig { pacing: false, ..AgentConfig::default() };
    let sessions = SandboxSessions::start(target, agent, far.handle().clone());
    let program = env::current_exe().expect("a running program has a file");
    let mut child = Command::new(program)
        .env(MARK, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs already");
    let mut questions = child.stdin.take().expect("it is a pipe");
    let mut answers = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    let mut answer = || answers.next().expect("the child answers").expect("it is text");
    let started: Vec<Value> = (0..8).map(|_| told(&far.block_on(sessions.start()).expect("nothing fails"))).collect();
    writeln!(questions, "{}", Value::Array(started)).expect("the child listens");
    let gateway: SocketAddr = answer().parse().expect("an address");
    if let Ok(before) = answer().parse::<f64>() {
        let _clients: Vec<Client> = (0..CONNECTIONS).map(|_| idle_client(gateway)).collect();
        writeln!(questions, "how much now?").expect("the child listens");
        let after: f64 = answer().parse().expect("a number");
        let name = format!("gateway memory for {CONNECTIONS} idle connections");
        figure(&name, (after - before) / MIB, "MiB", Some(before / MIB), Some(Goal::AtMost(32.0)));
    }
    drop(questions);
    child.wait().expect("it is our child");
}

fn idle_client(gateway: SocketAddr) -> Client {
    let mut client = Client::connect(gateway);
    client.carry(Verb::Give, CARRIED);
    client
}

/// Listens, then says its memory, and once more when it is asked.
pub(crate) fn child() {
    let near = one_thread();
    let mut questions = stdin().lines();
    let started = questions.next().expect("the parent speaks").expect("it is text");
    let started: Vec<Value> = serde_json::from_str(&started).expect("it is JSON");
    let sessions = Told(Mutex::new(started.iter().map(heard).collect()));
    let gateway = near.block_on(near.spawn(listen(sessions, Sharing::Pool))).expect("it does not panic");
    println!("{gateway}");
    say_memory();
    questions.next();
    say_memory();
    questions.next();
}

/// Resident bytes, or a word where the system does not tell.
fn say_memory() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    match resident.and_then(|kib| kib.parse::<f64>().ok()) {
        Some(kib) => println!("{}", kib * 1024.0),
        None => println!("unknown"),
    }
}

fn told(session: &StartedSession) -> Value {
    json!({"id": session.session_id, "url": session.stream_url, "token": session.token.expose()})
}

fn heard(session: &Value) -> StartedSession {
    let member = |name: &str| session[name].as_str().expect("it was told").to_owned();
    StartedSession { session_id: member("id"), stream_url: member("url"), token: member("token").into() }
}

/// Sessions that the parent has started.
struct Told(Mutex<Vec<StartedSession>>);

impl Sessions for Told {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        self.0.lock().expect("nothing panics with it").pop().ok_or(SessionError::Gone)
    }

    async fn resume(&self, _: &str) -> Result<Option<ResumedSession>, SessionError> {
        Ok(None)
    }

    async fn terminate(&self, _: &str) -> Result<(), SessionError> {
        Ok(())
    }
}
