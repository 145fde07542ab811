//! What a click does, wherever the click is.

use model::{Command, ErrorView, Gateway, Snapshot, TargetId};
use tauri::{AppHandle, Manager as _};
use tauri_plugin_clipboard_manager::ClipboardExt as _;

use crate::{browser, notifications, shell::Shell, window};

/// What a click does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Asks the agent.
    Ask(Command),
    /// Puts a way to connect on the clipboard.
    Copy(TargetId, Wording),
    /// Opens the identity provider's page once more.
    OpenSignInPage,
    /// Opens the window, at one Target when one is named.
    ShowWindow(Option<TargetId>),
}

/// In which form a connection is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wording {
    /// A shell command.
    Psql,
    /// A URL.
    Url,
}

/// Does it; what is refused is told in a notification, since a menu cannot say anything.
pub(crate) async fn carry_out(app: AppHandle, action: Action) {
    if let Err(refusal) = try_carry_out(&app, action).await {
        notifications::tell_failure(&refusal).await;
    }
}

async fn try_carry_out(app: &AppHandle, action: Action) -> Result<(), ErrorView> {
    let shell = app.state::<Shell>();
    match action {
        Action::Ask(command) => shell.ask(command).await,
        Action::Copy(target, wording) => {
            let text = connection(&shell.snapshot(), &target, wording)?;
            copy(app, text)
        }
        Action::OpenSignInPage => browser::open_again(app, &shell.snapshot().identity),
        Action::ShowWindow(target) => {
            window::show(app, target);
            Ok(())
        }
    }
}

/// Puts words on the clipboard.
pub(crate) fn copy(app: &AppHandle, text: String) -> Result<(), ErrorView> {
    let failed = |error| {
        ErrorView::new(
            "clipboard-unusable",
            format!("the clipboard could not be used: {error}"),
            "copy it from the window by hand",
        )
    };
    app.clipboard().write_text(text).map_err(failed)
}

fn connection(snapshot: &Snapshot, target: &TargetId, wording: Wording) -> Result<String, ErrorView> {
    let gateway = snapshot.targets.iter().find(|view| view.target.id == *target).map(|view| &view.gateway);
    match gateway {
        Some(Gateway::Open { connection, .. } | Gateway::Broken { connection, .. }) => Ok(match wording {
            Wording::Psql => connection.psql.clone(),
            Wording::Url => connection.url.clone(),
        }),
        Some(Gateway::Closed { .. } | Gateway::Closing | Gateway::Opening { .. }) | None => {
            Err(ErrorView::new("not-connected", format!("{target} is not connected"), "connect first"))
        }
    }
}
