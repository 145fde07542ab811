//! The desktop shell: tray, window, notifications, clipboard and browser.
//!
//! Absent on purpose: every decision. A click becomes a [`model::Command`], and what is shown is made from the
//! [`model::Snapshot`] that the agent publishes.

mod action;
mod browser;
mod commands;
mod countdown;
mod events;
mod notifications;
mod options;
mod shell;
mod start;
mod tray;
mod window;

use tauri::{AppHandle, Manager, RunEvent};

pub use options::Options;
use shell::Shell;
pub use start::StartFailure;

/// Runs until the person quits.
///
/// # Errors
/// [`StartFailure`] names what is missing and the next step.
pub fn run(options: &Options) -> Result<(), StartFailure> {
    start::check_display()?;
    listen_to_log();
    let bindings = commands::bindings();
    let invoke_handler = bindings.invoke_handler();
    let app = with_plugins(tauri::Builder::default(), options)
        .invoke_handler(invoke_handler)
        .build(tauri::generate_context!())?;
    bindings.mount_events(&app);
    begin(app.handle(), options)?;
    app.run(|_app, event| match event {
        // A window that is closed is destroyed; the tray goes on.
        RunEvent::ExitRequested { code: None, api, .. } => api.prevent_exit(),
        _ => {}
    });
    Ok(())
}

fn begin(app: &AppHandle, options: &Options) -> Result<(), StartFailure> {
    let agent = match tauri::async_runtime::block_on(start::start_agent(options)) {
        Ok(agent) => agent,
        Err(failure) => {
            tauri::async_runtime::block_on(notifications::tell_failure(&failure.view()));
            return Err(failure);
        }
    };
    app.manage(Shell::new(agent.clone()));
    let in_tray = tray::show(app, &agent.snapshots().borrow());
    tauri::async_runtime::spawn(shell::follow(app.clone(), agent));
    if options.window || !in_tray {
        window::show(app, None);
    }
    Ok(())
}

fn with_plugins(builder: tauri::Builder<tauri::Wry>, options: &Options) -> tauri::Builder<tauri::Wry> {
    let builder = builder.plugin(tauri_plugin_clipboard_manager::init()).plugin(tauri_plugin_opener::init());
    if options.data_dir.is_some() {
        return builder;
    }
    builder.plugin(tauri_plugin_single_instance::init(|app, _arguments, _folder| window::show(app, None)))
}

/// `DAYPASS_LOG` chooses what is written to standard error.
fn listen_to_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DAYPASS_LOG").unwrap_or_else(|_| "warn".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    if let Err(error) = log {
        tracing::debug!(%error, "somebody else listens to the log");
    }
}
