//! `daypass agent` and `daypass quit`.

use agent::{Agent, AgentConfig, Clock, KeepSecrets, Places, Stay};
use model::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    args::{AgentOptions, Global, Keep},
    failure::Failure,
    guest::{Guest, READY},
    terminal::Terminal,
};

/// Owns the state until told to quit, or until Ctrl-C or SIGTERM.
pub(crate) async fn run(global: &Global, options: &AgentOptions, terminal: Terminal) -> Result<(), Failure> {
    let places = Places::find(global.data_dir.as_deref(), global.catalog.as_deref()).map_err(|error| {
        Failure::new("no-home", error.to_string(), "set HOME, or name a folder with --data-dir DIR")
    })?;
    let config = AgentConfig {
        places,
        secrets: match options.secrets {
            Keep::Keychain => KeepSecrets::InKeychain,
            Keep::Memory => KeepSecrets::InMemory,
        },
        clock: Clock::System,
        stay: if options.while_needed { Stay::WhileNeeded } else { Stay::UntilQuit },
    };
    let failed =
        |error: std::io::Error| Failure::new("no-signals", error.to_string(), "start it in another environment");
    let (mut terminated, mut hung_up) =
        (signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::hangup()).map_err(failed)?);
    agent::log_to(&config.places);
    let handle = Agent::start(config).await.map_err(|error| Failure::from(error.view()))?;
    terminal.line(READY);
    tokio::select! {
        () = handle.stopped() => return Ok(()),
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
        _ = hung_up.recv() => {}
    }
    handle.command(Command::Quit).await?;
    handle.stopped().await;
    Ok(())
}

/// Ends the agent, if there is one, and waits until it is gone.
pub(crate) async fn quit(guest: &Guest, terminal: Terminal) -> Result<(), Failure> {
    let Some(mut client) = guest.visit_running().await? else {
        terminal.say("no agent is running");
        return Ok(());
    };
    client.subscribe().await?;
    client.command(Command::Quit).await?;
    // The connection ends with the agent.
    while let Ok(Some(_last)) = client.next().await {}
    Ok(())
}
