//! `daypass status` and `daypass list`.

use std::time::Duration;

use crate::{commands::now, failure::Failure, guest::Guest, terminal::Terminal, words};

/// Shows what is true, once or until Ctrl-C.
pub(crate) async fn run(guest: &Guest, watch: bool, terminal: Terminal) -> Result<(), Failure> {
    let snapshot = guest.snapshot().await?;
    terminal.data(&words::status(&snapshot, now()), &snapshot);
    if !watch {
        return Ok(());
    }
    let mut client = guest.visit().await?;
    client.subscribe().await?;
    let mut latest = snapshot;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            message = client.next() => match message? {
                Some(ipc::ServerMessage::Snapshot(snapshot)) if *snapshot != latest => {
                    latest = *snapshot;
                    if terminal.json {
                        terminal.data("", &latest);
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
            // People see the countdown move; programs get a line for each change only.
            _ = tick.tick(), if !terminal.json => terminal.line(&format!("\n{}", words::status(&latest, now()))),
        }
    }
}

/// Lists the databases.
pub(crate) async fn list(guest: &Guest, terminal: Terminal) -> Result<(), Failure> {
    let snapshot = guest.snapshot().await?;
    for warning in &snapshot.warnings {
        terminal.say(&format!("! {}\n    {}", warning.message, warning.hint));
    }
    terminal.data(&words::list(&snapshot, now()), &snapshot.targets);
    Ok(())
}
