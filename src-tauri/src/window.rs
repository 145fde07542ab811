//! The one window: made when it is opened, destroyed when it is closed.

use model::TargetId;
use tauri::{AppHandle, Manager as _, WebviewUrl, WebviewWindowBuilder};
use tauri_specta::Event as _;

use crate::{events::TargetShown, shell::Shell};

const LABEL: &str = "main";

/// Shows the window, at one Target when one is named.
pub(crate) fn show(app: &AppHandle, target: Option<TargetId>) {
    let app = app.clone();
    // Building a window from inside a menu's callback blocks the event loop on some platforms.
    tauri::async_runtime::spawn(async move {
        if let Err(error) = open_or_raise(&app, target) {
            tracing::error!(%error, "the window did not open");
        }
    });
}

fn open_or_raise(app: &AppHandle, target: Option<TargetId>) -> tauri::Result<()> {
    if let Some(window) = app.get_webview_window(LABEL) {
        window.unminimize()?;
        window.show()?;
        window.set_focus()?;
        return target.map_or(Ok(()), |target| TargetShown(target).emit(app));
    }
    app.state::<Shell>().show_target_next(target);
    WebviewWindowBuilder::new(app, LABEL, WebviewUrl::default())
        .title("Daypass")
        .inner_size(800.0, 600.0)
        .min_inner_size(720.0, 400.0)
        .build()?;
    Ok(())
}
