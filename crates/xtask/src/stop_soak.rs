//! The agent's process stopped for a minute and a half, as a closed lid stops it, with psql connected through it.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bounded::Lines;
use crate::failure::{self, Failure};
use crate::stage::{self, Scene, Stage};
use crate::workspace::Workspace;

pub(crate) const TITLE: &str = "the agent stopped for 90 s, twice";

/// Standing access: nobody has to approve.
const TARGET: &str = "billing-staging";
const STOPPED: Duration = Duration::from_secs(90);
const TELL_EVERY: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(60);
/// The rows are made while nobody can take them.
const SLOW_QUERY: &str = "SELECT 'awake', count(*) FROM (SELECT pg_sleep(20)) AS slept;";
const SCENE: Scene = Scene { sandbox: &[] };

/// One psql session over both stops; the second time the service gives the websocket up meanwhile, as AWS does.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    workspace.build()?;
    stage::play(&workspace.programs(), &SCENE, |stage| {
        stage.start_agent()?;
        stage.sign_in("ana")?;
        stage.tell(&["connect", TARGET])?;
        let mut psql = Psql::connect(stage)?;
        let backend = psql.ask("SELECT pg_backend_pid();")?;
        for given_up in [false, true] {
            stop(stage, &mut psql, given_up)?;
            let same = psql.ask("SELECT pg_backend_pid();")?;
            if same != backend {
                return Err(Failure::untrue(format!("the database session {backend} to go on"), same));
            }
        }
        psql.quit()?;
        Psql::connect(stage)?.quit()?;
        stage.quit_agent()
    })
}

fn stop(stage: &Stage, psql: &mut Psql, given_up: bool) -> Result<(), Failure> {
    let agent = stage.agent_id().ok_or_else(|| Failure::untrue("an agent to stop", "none"))?;
    psql.say(SLOW_QUERY)?;
    signal(agent, "STOP")?;
    println!("stopped{}", if given_up { ", and the service gives its websocket up" } else { "" });
    let slept = stay_stopped(given_up.then_some(stage));
    signal(agent, "CONT")?;
    slept?;
    let awake = Instant::now();
    let answer = psql.answer()?;
    println!("awake; psql has its answer {:.2} s later", awake.elapsed().as_secs_f64());
    if answer == "awake|1" { Ok(()) } else { Err(Failure::untrue("awake|1", answer)) }
}

/// The agent goes on even if this fails: nothing returns early between the two signals.
fn stay_stopped(giving_up: Option<&Stage>) -> Result<(), Failure> {
    let begun = Instant::now();
    let outcome = giving_up.map_or(Ok(()), cut_every_session);
    while begun.elapsed() < STOPPED {
        thread::sleep(TELL_EVERY.min(STOPPED.saturating_sub(begun.elapsed())));
        println!("  {:>2} s", begun.elapsed().as_secs());
    }
    outcome
}

fn cut_every_session(stage: &Stage) -> Result<(), Failure> {
    let admin = stage.address("admin");
    let state = stage::fetch(&format!("{admin}/state"))?;
    let state: Value = serde_json::from_str(&state)
        .map_err(|cause| Failure::untrue("the account's state as JSON", cause.to_string()))?;
    let sessions = state["sessions"].as_array().into_iter().flatten();
    let open: Vec<&str> = sessions.filter_map(|session| session["SessionId"].as_str()).collect();
    if open.is_empty() {
        return Err(Failure::untrue("a session to cut", state["sessions"].to_string()));
    }
    open.iter()
        .try_for_each(|id| stage::post(&format!("{admin}/session"), &json!({"do": "cut-client", "id": id})).map(drop))
}

fn signal(process: u32, name: &str) -> Result<(), Failure> {
    failure::run(Command::new("sh").args(["-c", &format!("kill -s {name} {process}")]))
}

/// psql with one connection for all that it is asked.
struct Psql {
    process: Child,
    questions: ChildStdin,
    answers: Lines,
}

impl Psql {
    fn connect(stage: &Stage) -> Result<Self, Failure> {
        let url = stage.tell(&["url", TARGET])?;
        let mut command = stage.client("psql");
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", url.trim()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(Failure::io("cannot start psql"))?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(questions), Some(answers)) => {
                let mut psql = Self { process, questions, answers: Lines::of(answers) };
                psql.ask("SELECT 1;").map(|_| psql)
            }
            _ => Err(Failure::untrue("pipes to psql", "none")),
        }
    }

    fn ask(&mut self, question: &str) -> Result<String, Failure> {
        self.say(question)?;
        self.answer()
    }

    fn say(&mut self, question: &str) -> Result<(), Failure> {
        writeln!(self.questions, "{question}").map_err(Failure::io("psql no longer listens"))
    }

    fn answer(&self) -> Result<String, Failure> {
        let line = self.answers.find(ANSWER, |line| Some(line.to_owned()));
        line.map_err(|_| Failure::untrue("an answer from psql", format!("none in {} s", ANSWER.as_secs())))
    }

    fn quit(self) -> Result<(), Failure> {
        let Self { mut process, questions, .. } = self;
        drop(questions);
        let status = crate::bounded::wait(&mut process, ANSWER, "psql")?;
        if status.success() { Ok(()) } else { Err(Failure::untrue("psql to end well", status.to_string())) }
    }
}
