//! `daypass agent` and `daypass quit`.

use agent::{Agent, AgentConfig, Clock, KeepSecrets, Places, Stay};
use model::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    args::{AgentOptions, Global, Keep},
    failure::Failure,
    guest::{Guest, READY},
    terminal::Terminal,
};

/// Owns the state until told to quit, or until SIGTERM, SIGHUP or Ctrl-C; a second signal ends it at once.
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
    let mut farewell = Farewell::listen()
        .map_err(|error| Failure::new("no-signals", error.to_string(), "start it in another environment"))?;
    agent::log_to(&config.places);
    let handle = Agent::start(config).await.map_err(|error| Failure::from(error.view()))?;
    terminal.line(READY);
    tokio::select! {
        () = handle.stopped() => return Ok(()),
        () = farewell.asked() => {}
    }
    handle.command(Command::Quit).await?;
    tokio::select! {
        () = handle.stopped() => Ok(()),
        () = farewell.asked() => Err(Failure::new(
            "ended-at-once",
            "the agent was told twice to end, and did not wait for its sessions to end",
            "the next start finds them: `daypass sessions`",
        )),
    }
}

/// The signals that ask a program to end.
struct Farewell([Signal; 3]);

impl Farewell {
    fn listen() -> std::io::Result<Self> {
        Ok(Self([signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    async fn asked(&mut self) {
        let [hang_up, interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = hang_up.recv() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
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
