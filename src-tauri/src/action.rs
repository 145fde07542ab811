//! What a click does, wherever the click is.

use model::{Command, ConnectionForm, ErrorView, TargetId};
use tauri::{AppHandle, Manager as _};
use tauri_plugin_clipboard_manager::ClipboardExt as _;

use crate::{browser, notifications, shell::Shell, window};

/// What a click does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Asks the agent.
    Ask(Command),
    /// Puts a way to connect on the clipboard, with the local password where the form has a place for it.
    Copy(TargetId, ConnectionForm),
    /// Puts the local password on the clipboard.
    CopyPassword(TargetId),
    /// Opens the identity provider's page once more.
    OpenSignInPage,
    /// Opens the window, at one Target when one is named.
    ShowWindow(Option<TargetId>),
}

/// Does it; what is refused is told in a notification, since a menu cannot say anything.
pub(crate) async fn carry_out(app: AppHandle, action: Action) {
    if let Err(refusal) = try_carry_out(&app, action).await {
        notifications::tell_failure(&refusal).await;
    }
}

/// Does it.
///
/// # Errors
/// What is refused, with the next step.
pub(crate) async fn try_carry_out(app: &AppHandle, action: Action) -> Result<(), ErrorView> {
    let shell = app.state::<Shell>();
    match action {
        Action::Ask(command) => shell.ask(command).await,
        Action::Copy(target, form) => {
            let words = shell.agent().connection_text(&target, form, true).await?;
            copy(app, words.expose().to_owned())
        }
        Action::CopyPassword(target) => {
            let password = shell.agent().local_password(&target, false).await?;
            copy(app, password.expose().to_owned())
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
