//! `daypass connect`, `disconnect` and `url`.

use std::{ffi::OsString, process::ExitCode};

use ipc::Request;
use model::{
    Command, ConnectionForm, ConnectionStrings, Environment, Gate, Gateway, Grant, Identity, RoleName, StepTime,
    TargetId, TargetView,
};

use crate::{
    args::{ConnectOptions, PasswordOptions, UrlOptions},
    commands::{now, request, sign_in},
    failure::Failure,
    guest::{Guest, known, view_of},
    terminal::Terminal,
    words,
};

/// Opens a Gateway; with a command to run, does what it takes before and gives everything back afterwards.
pub(crate) async fn run(guest: &Guest, options: ConnectOptions, terminal: Terminal) -> Result<ExitCode, Failure> {
    let target = options.target.clone();
    let before = guest.snapshot().await?;
    let was_open = matches!(known(&before, &target)?.gateway, Gateway::Open { .. });
    let asked = if options.command.is_empty() { false } else { prepare(guest, &options, terminal).await? };
    if let Some(port) = options.port {
        guest.command(Command::ChoosePort { target: target.clone(), port }).await?;
    }
    guest.command(Command::OpenGateway { target: target.clone(), role: options.role }).await?;
    let view = wait_until_open(guest, &target, terminal).await?;
    let Gateway::Open { connection, .. } = &view.gateway else { return Err(not_open(&target)) };
    if options.command.is_empty() {
        let shell =
            connection.text(ConnectionForm::Psql).or(connection.text(ConnectionForm::Mysql)).unwrap_or_default();
        terminal.data(&format!("{target} is at {}:{}\n{shell}", connection.host, connection.port), &view);
        return Ok(ExitCode::SUCCESS);
    }
    warn_of_production(&view, terminal);
    let ended = run_connected(&options.command, connection).await;
    if asked {
        guest.command(Command::ReleaseGrant { target: target.clone() }).await?;
    } else if !was_open {
        guest.command(Command::CloseGateway { target }).await?;
    }
    ended
}

/// Signs in and requests access where that is needed. Whether access was requested.
async fn prepare(guest: &Guest, options: &ConnectOptions, terminal: Terminal) -> Result<bool, Failure> {
    if !matches!(guest.snapshot().await?.identity, Identity::SignedIn { .. }) {
        guest.command(Command::SignIn { identity_provider: None }).await?;
        sign_in::wait(guest, options.no_browser, terminal).await?;
    }
    let snapshot = guest.snapshot().await?;
    let view = known(&snapshot, &options.target)?;
    let Some(role) = role_to_request(view, options.role) else { return Ok(false) };
    let (Some(duration), Some(reason)) = (options.duration, options.reason.clone()) else {
        return Err(Failure::new(
            "not-granted",
            format!("{role} access to `{}` has to be requested", options.target),
            "say for how long and why: --for 1h --reason \"…\"",
        ));
    };
    let command = Command::RequestAccess {
        target: options.target.clone(),
        role,
        duration,
        justification: reason,
        ticket: None,
        connect_when_approved: false,
    };
    guest.command(command).await?;
    request::wait_for_grant(guest, &options.target, terminal).await?;
    Ok(true)
}

/// The Role that must be requested before the Target can be used; none when there is one to use.
fn role_to_request(view: &TargetView, wanted: Option<RoleName>) -> Option<RoleName> {
    let in_force =
        matches!(&view.grant, Some(Grant::Active { role, .. }) if wanted.is_none_or(|wanted| wanted == *role));
    let offered =
        || view.entitlements.iter().filter(|entitlement| wanted.is_none_or(|wanted| wanted == entitlement.role));
    if in_force || offered().any(|entitlement| entitlement.gate == Gate::Standing) {
        return None;
    }
    offered().map(|entitlement| entitlement.role).min()
}

/// Waits for the Gateway, telling each finished step and its time.
async fn wait_until_open(guest: &Guest, target: &TargetId, terminal: Terminal) -> Result<TargetView, Failure> {
    let mut told = 0;
    guest
        .follow(|snapshot| {
            let view = view_of(snapshot, target)?;
            match &view.gateway {
                Gateway::Opening { done, .. } => {
                    tell_steps(done, &mut told, terminal);
                    None
                }
                Gateway::Open { done, .. } => {
                    tell_steps(done, &mut told, terminal);
                    Some(Ok(view.clone()))
                }
                Gateway::Closed { cause: Some(cause) } => Some(Err(Failure::from(cause.clone()))),
                Gateway::Closed { cause: None } => Some(Err(not_open(target))),
                Gateway::Broken { .. } | Gateway::Closing => None,
            }
        })
        .await?
}

fn tell_steps(done: &[StepTime], told: &mut usize, terminal: Terminal) {
    for step in done.iter().skip(*told) {
        terminal.say(&words::step_line(*step));
    }
    *told = done.len().max(*told);
}

fn not_open(target: &TargetId) -> Failure {
    Failure::new("not-open", format!("the gateway of `{target}` was closed"), "connect again")
}

fn warn_of_production(view: &TargetView, terminal: Terminal) {
    if view.target.environment == Environment::Production {
        terminal.say(&format!("{} is production · {}", view.target.id, words::state(view, now()).1));
    }
}

/// Runs a command with what it needs to find the database in its environment. Ctrl-C is the command's business.
async fn run_connected(command: &[OsString], connection: &ConnectionStrings) -> Result<ExitCode, Failure> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Failure::new("usage", "no command", "write it after --"))?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .envs(connection.environment.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            let message = format!("`{}` could not be started: {error}", program.to_string_lossy());
            Failure::new("command-not-started", message, "install it, or write its full path")
        })?;
    loop {
        tokio::select! {
            ended = child.wait() => return Ok(exit_code(ended)),
            _interrupt = tokio::signal::ctrl_c() => {}
        }
    }
}

fn exit_code(ended: std::io::Result<std::process::ExitStatus>) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;
    let code = ended.ok().and_then(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Closes a Gateway and waits until it is closed.
pub(crate) async fn disconnect(guest: &Guest, target: &TargetId) -> Result<(), Failure> {
    known(&guest.snapshot().await?, target)?;
    guest.command(Command::CloseGateway { target: target.clone() }).await?;
    guest.follow(|snapshot| matches!(view_of(snapshot, target)?.gateway, Gateway::Closed { .. }).then_some(())).await
}

/// Prints how to connect to an open Gateway.
pub(crate) async fn url(guest: &Guest, options: UrlOptions, terminal: Terminal) -> Result<(), Failure> {
    let UrlOptions { target, form, with_password } = options;
    let words = guest.private(Request::ConnectionText { target, form: form.into(), with_password }).await?;
    terminal.data(words.expose(), &serde_json::json!({ "text": words.expose() }));
    Ok(())
}

/// Prints the password that clients log in with at a Gateway.
pub(crate) async fn password(guest: &Guest, options: PasswordOptions, terminal: Terminal) -> Result<(), Failure> {
    let PasswordOptions { target, renew } = options;
    let password = guest.private(Request::LocalPassword { target, renew }).await?;
    terminal.data(password.expose(), &serde_json::json!({ "password": password.expose() }));
    Ok(())
}
