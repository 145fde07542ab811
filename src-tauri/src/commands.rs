//! What the window can ask. Every function is a line over something else.

use model::{Command, ConnectionForm, ErrorView, Snapshot, TargetId};
use tauri::{AppHandle, State};
use tauri_specta::{collect_commands, collect_events};

use crate::{
    action::{self, Action},
    browser, events,
    shell::Shell,
};

/// The commands and events, and their types for the window.
pub(crate) fn bindings() -> tauri_specta::Builder<tauri::Wry> {
    tauri_specta::Builder::new()
        .disable_serde_phases()
        .commands(collect_commands![
            asked_target,
            copy_connection,
            copy_password,
            copy_text,
            open_sign_in_page,
            send_command,
            snapshot
        ])
        .events(collect_events![events::SnapshotChanged, events::TargetShown])
}

/// What is true now.
#[tauri::command]
#[specta::specta]
fn snapshot(shell: State<'_, Shell>) -> Snapshot {
    Snapshot::clone(&shell.snapshot())
}

/// The Target that this window was opened for, the first time it is asked.
#[tauri::command]
#[specta::specta]
fn asked_target(shell: State<'_, Shell>) -> Option<TargetId> {
    shell.take_target_to_show()
}

/// Asks the agent for something.
#[tauri::command]
#[specta::specta]
async fn send_command(shell: State<'_, Shell>, command: Command) -> Result<(), ErrorView> {
    shell.ask(command).await
}

/// Puts a way to connect on the clipboard, with the local password where the form has a place for it. The window never sees it.
#[tauri::command]
#[specta::specta]
async fn copy_connection(app: AppHandle, target: TargetId, form: ConnectionForm) -> Result<(), ErrorView> {
    action::try_carry_out(&app, Action::Copy(target, form)).await
}

/// Puts the local password on the clipboard. The window never sees it.
#[tauri::command]
#[specta::specta]
async fn copy_password(app: AppHandle, target: TargetId) -> Result<(), ErrorView> {
    action::try_carry_out(&app, Action::CopyPassword(target)).await
}

/// Puts words on the clipboard.
#[tauri::command]
#[specta::specta]
fn copy_text(app: AppHandle, text: String) -> Result<(), ErrorView> {
    action::copy(&app, text)
}

/// Opens the identity provider's page once more.
#[tauri::command]
#[specta::specta]
fn open_sign_in_page(app: AppHandle, shell: State<'_, Shell>) -> Result<(), ErrorView> {
    browser::open_again(&app, &shell.snapshot().identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ui/src/backend/bindings.ts");

    /// Set `DAYPASS_WRITE_BINDINGS=1` to write the file anew.
    #[test]
    fn the_windows_types_are_the_agents_types() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fresh = folder.path().join("bindings.ts");
        bindings().export(specta_typescript::Typescript::default(), &fresh).expect("every type has a TypeScript form");
        let fresh = std::fs::read_to_string(&fresh).expect("it was just written");
        if std::env::var_os("DAYPASS_WRITE_BINDINGS").is_some() {
            std::fs::write(COMMITTED, &fresh).expect("the working tree is writable");
        }
        let committed = std::fs::read_to_string(COMMITTED).expect("the file is committed");
        assert!(committed == fresh, "ui/src/backend/bindings.ts is stale: run this test with DAYPASS_WRITE_BINDINGS=1");
    }
}
