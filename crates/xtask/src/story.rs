//! The story the demo tells in the terminal: each step is done and then looked at, and says how long it took.

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bounded;
use crate::endings;
use crate::failure::Failure;
use crate::instant;
use crate::stage::{Stage, fetch};

const TARGET: &str = "orders-prod";
const PERSON: &str = "ana";
const QUERY: &str = "SELECT o.id, c.name, o.status, o.placed_at::date AS placed FROM orders o JOIN customers c ON c.id = o.customer_id \
                     WHERE o.id BETWEEN 15 AND 19 ORDER BY o.id";

/// Longer than the sandbox's colleague takes to approve.
const APPROVAL: Duration = Duration::from_secs(60);
/// Longer than any one command takes.
const COMMAND: Duration = Duration::from_secs(60);
/// How late the end may be noticed.
const LATE: Duration = Duration::from_secs(20);

/// Numbers the steps and times them.
pub(crate) struct Teller {
    step: usize,
    began: Instant,
}

impl Teller {
    pub(crate) fn new() -> Self {
        Self { step: 0, began: Instant::now() }
    }

    /// Does one step, which returns what there was to see.
    pub(crate) fn step(&mut self, title: &str, act: impl FnOnce() -> Result<String, Failure>) -> Result<(), Failure> {
        self.step += 1;
        let started = Instant::now();
        let seen = act().inspect_err(|_| println!("{:>2}  {title:<58}  FAILED", self.step))?;
        println!("{:>2}  {title:<58} {:>7.2} s", self.step, started.elapsed().as_secs_f64());
        seen.trim_end().lines().for_each(|line| println!("      {line}"));
        Ok(())
    }

    /// The time since the first step.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// From nobody to rows.
pub(crate) fn get_in(stage: &mut Stage, teller: &mut Teller) -> Result<(), Failure> {
    teller.step("the agent is up: daypass agent", || stage.start_agent().map(|()| String::new()))?;
    teller.step("ana signs in with a browser: daypass sign-in acme", || sign_in(stage))?;
    teller.step("the databases she may have: daypass list", || stage.tell(&["list"]))?;
    teller.step("she asks: daypass request orders-prod --for 2m", || request(stage))?;
    teller.step("her colleague approves, and the access is in force", || approval(stage))?;
    teller.step("a tunnel opens, and a login proves it: daypass connect", || connect(stage))?;
    teller.step("rows from a real PostgreSQL: daypass connect ... -- psql", || rows(stage))
}

/// From rows to nothing.
pub(crate) fn get_out(stage: &mut Stage, teller: &mut Teller) -> Result<(), Failure> {
    let port =
        stage.target(TARGET)?["gateway"]["connection"]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    teller.step("her two minutes run out", || countdown(stage))?;
    teller.step("no new login is possible", || refused(stage, port))?;
    teller.step("the agent ends and leaves nothing: daypass quit", || quit(stage))
}

/// Ends the sandbox, and looks for what is left of all of it.
pub(crate) fn leave_nothing(mut stage: Stage, teller: &mut Teller) -> Result<(), Failure> {
    let folder = stage.folder().to_owned();
    let done = teller.step("the sandbox ends: no process, socket or file is left", || {
        stage.close_sandbox()?;
        let left = endings::left_behind(&folder);
        if left.is_empty() { Ok(String::new()) } else { Err(Failure::untrue("nothing to be left", left.join(", "))) }
    });
    match done {
        Ok(()) => stage.clear(),
        Err(failure) => Err(stage.fail(failure)),
    }
}

fn sign_in(stage: &Stage) -> Result<String, Failure> {
    let page = stage.sign_in(PERSON)?;
    let identity = stage.snapshot()?["identity"].clone();
    if identity["state"] != "signed-in" {
        return Err(Failure::untrue("her to be signed in", identity.to_string()));
    }
    let until = identity["expiresAt"].as_str().unwrap_or("?");
    let host = page.split('/').nth(2).unwrap_or("?");
    Ok(format!("{} by the provider at {host}, until {until}", identity["subject"].as_str().unwrap_or("?")))
}

fn request(stage: &Stage) -> Result<String, Failure> {
    let reason = "INC-42: is order 17 paid?";
    stage.tell(&["request", TARGET, "--role", "read-only", "--for", "2m", "--reason", reason])?;
    let state = stage.target(TARGET)?["request"].clone();
    if state["justification"] == reason {
        Ok(format!("because: {reason}"))
    } else {
        Err(Failure::untrue("the request to be known", state.to_string()))
    }
}

fn approval(stage: &Stage) -> Result<String, Failure> {
    let granted = bounded::until(APPROVAL, || {
        let view = stage.target(TARGET)?;
        Ok((view["grant"]["state"] == "active").then_some(view))
    })?;
    let Some(view) = granted else {
        return Err(Failure::untrue("an approval", stage.target(TARGET)?["request"].to_string()));
    };
    if !holdings(stage)?.policy {
        return Err(Failure::untrue("the permission to be in the account", account(stage)?));
    }
    let by = view["request"]["state"]["by"].as_str().unwrap_or("somebody");
    Ok(format!("approved by {by}, {} until {}", text(&view["grant"]["role"]), text(&view["grant"]["expiresAt"])))
}

fn connect(stage: &Stage) -> Result<String, Failure> {
    bounded::read(&mut stage.daypass(&["connect", TARGET]), COMMAND)?;
    let gateway = stage.target(TARGET)?["gateway"].clone();
    if gateway["state"] != "open" {
        return Err(Failure::untrue("the gateway to be open", gateway.to_string()));
    }
    if holdings(stage)?.sessions != 1 {
        return Err(Failure::untrue("one session in the account", account(stage)?));
    }
    let steps = gateway["done"].as_array().into_iter().flatten();
    let steps: Vec<String> = steps.map(|done| format!("{} {} ms", text(&done["step"]), done["milliseconds"])).collect();
    Ok(format!("127.0.0.1:{}: {}", gateway["connection"]["port"], steps.join(", ")))
}

fn rows(stage: &Stage) -> Result<String, Failure> {
    let shown = bounded::read(&mut stage.daypass(&["connect", TARGET, "--", "psql", "-X", "-c", QUERY]), COMMAND)?;
    if shown.contains("(5 rows)") { Ok(shown) } else { Err(Failure::untrue("five rows from psql", shown)) }
}

fn countdown(stage: &Stage) -> Result<String, Failure> {
    let view = stage.target(TARGET)?;
    let end = instant::unix_seconds(text(&view["grant"]["expiresAt"]));
    let Some(end) = end else { return Err(Failure::untrue("a grant with an end", view["grant"].to_string())) };
    let left = Duration::from_secs(u64::try_from(end - instant::now()).unwrap_or(0));
    let (live, mut told) = (std::io::stdout().is_terminal(), i64::MAX);
    let ended = bounded::until(left + LATE, || {
        let seconds = (end - instant::now()).max(0);
        if seconds != told && (live || told - seconds >= 15) {
            told = seconds;
            show_time_left(seconds, live);
        }
        std::thread::sleep(Duration::from_millis(200));
        let grant = stage.target(TARGET)?["grant"].clone();
        Ok((grant["state"] == "ended").then_some(grant))
    })?;
    if live {
        print!("\r{:40}\r", "");
    }
    match ended {
        Some(grant) if grant["reason"] == "expired" && instant::now() >= end => {
            Ok(format!("ended by itself at {}", text(&grant["at"])))
        }
        other => Err(Failure::untrue("the grant to end at its time, by itself", format!("{other:?}"))),
    }
}

fn show_time_left(seconds: i64, live: bool) {
    if live {
        print!("\r      {seconds:>3} s left ");
        // A terminal that cannot be written to is no reason to stop.
        let _ = std::io::stdout().flush();
    } else {
        println!("      {seconds:>3} s left");
    }
}

/// Three things must hold: Daypass refuses, nothing listens where the gateway was, and the account has neither a session
/// nor a permission left.
fn refused(stage: &Stage, port: Option<u16>) -> Result<String, Failure> {
    let answer = stage.answer(&["connect", TARGET], COMMAND)?;
    if answer.status.success() {
        return Err(Failure::untrue("a new connection to be refused", answer.stdout));
    }
    let closed = bounded::until(LATE, || Ok((stage.target(TARGET)?["gateway"]["state"] == "closed").then_some(())))?;
    if closed.is_none() {
        return Err(Failure::untrue("the gateway to be closed", stage.target(TARGET)?["gateway"].to_string()));
    }
    let Some(port) = port else { return Err(Failure::untrue("a gateway that was open before", "none")) };
    if TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(2)).is_ok() {
        return Err(Failure::untrue(format!("nobody to listen on port {port}"), "somebody"));
    }
    let nothing_left = bounded::until(LATE, || {
        let left = holdings(stage)?;
        Ok((left.sessions == 0 && !left.policy).then_some(()))
    })?;
    if nothing_left.is_none() {
        return Err(Failure::untrue("no session and no permission to be left in the account", account(stage)?));
    }
    Ok(answer.stderr.trim().to_owned())
}

/// What the sandbox's account holds for her.
struct Holdings {
    /// Sessions that go on.
    sessions: usize,
    /// Whether a policy is there that a grant put there.
    policy: bool,
}

fn holdings(stage: &Stage) -> Result<Holdings, Failure> {
    let page = account(stage)?;
    let state: Value = serde_json::from_str(&page)
        .map_err(|cause| Failure::untrue("the sandbox's state as JSON", format!("{cause}: {page}")))?;
    let Some(sessions) = state["sessions"].as_array() else {
        return Err(Failure::untrue("the sandbox's sessions", page));
    };
    let sessions = sessions.iter().filter(|session| session["EndDate"].is_null()).count();
    Ok(Holdings { sessions, policy: state["policies"].to_string().contains("jit-rds-") })
}

fn account(stage: &Stage) -> Result<String, Failure> {
    fetch(&format!("{}/state", stage.address("admin").trim_end_matches('/')))
}

fn quit(stage: &mut Stage) -> Result<String, Failure> {
    stage.quit_agent()?;
    let socket = stage.socket();
    if socket.exists() {
        Err(Failure::untrue("the agent's socket to be gone", socket.display().to_string()))
    } else {
        Ok(String::new())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
