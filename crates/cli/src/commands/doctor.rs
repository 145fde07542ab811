//! `daypass doctor`.

use std::process::ExitCode;

use ipc::{Answer, IpcError, Request, Rung, RungState};
use model::TargetId;

use crate::{
    failure::Failure,
    guest::{Guest, known},
    terminal::Terminal,
};

/// Climbs the ladder; ends with 1 when a rung is broken.
pub(crate) async fn run(guest: &Guest, target: Option<TargetId>, terminal: Terminal) -> Result<ExitCode, Failure> {
    let mut client = guest.visit().await?;
    if let Some(target) = &target {
        known(&client.snapshot().await?, target)?;
    }
    let Answer::Doctor(ladder) = client.call(Request::Doctor { target }).await? else {
        return Err(IpcError::UnexpectedAnswer.into());
    };
    terminal.data(&ladder.iter().map(line).collect::<Vec<_>>().join("\n"), &ladder);
    let broken = ladder.iter().any(|rung| rung.state == RungState::Failed);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn line(rung: &Rung) -> String {
    let mark = match rung.state {
        RungState::Failed => '✕',
        RungState::Passed => '✓',
        RungState::Skipped => '·',
        RungState::Warned => '!',
    };
    let hint = rung.hint.as_ref().map(|hint| format!("\n    {hint}")).unwrap_or_default();
    format!("{mark} {:<16} {}{hint}", rung.name, rung.seen)
}
