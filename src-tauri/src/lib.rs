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

use action::Action;
use model::{Command, ErrorView};
pub use options::{Options, SecretsPlace};
use shell::Shell;
pub use start::StartFailure;
use tauri::{
    AppHandle, Manager as _, RunEvent,
    async_runtime::{block_on, spawn},
};
use tray::host::Host;

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
    let stays = begin(app.handle(), options)?;
    app.run(move |app, event| {
        // A window that is closed is destroyed; what else is there goes on.
        if let RunEvent::ExitRequested { code: None, api, .. } = event {
            api.prevent_exit();
            if stays == Stays::WhileTheWindowIsOpen {
                spawn(action::carry_out(app.clone(), Action::Ask(Command::Quit)));
            }
        }
    });
    Ok(())
}

/// What keeps the program reachable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stays {
    /// The tray, or a second start that wakes the first.
    UntilQuit,
    /// Nothing but its window.
    WhileTheWindowIsOpen,
}

fn begin(app: &AppHandle, options: &Options) -> Result<Stays, StartFailure> {
    let agent = match block_on(start::start_agent(options)) {
        Ok(agent) => agent,
        Err(failure) => {
            block_on(notifications::tell_failure(&failure.view()));
            return Err(failure);
        }
    };
    app.manage(Shell::new(agent.clone()));
    let in_tray = tray::show(app, &agent.snapshots().borrow());
    let host = block_on(tray::host::find());
    spawn(shell::follow(app.clone(), agent));
    let seen = in_tray && host == Host::Present;
    if options.window || !seen {
        window::show(app, None);
    }
    if seen {
        return Ok(Stays::UntilQuit);
    }
    spawn(async { notifications::tell_failure(&no_tray()).await });
    let can_be_woken = host != Host::NoBus && options.data_dir.is_none();
    Ok(if can_be_woken { Stays::UntilQuit } else { Stays::WhileTheWindowIsOpen })
}

fn no_tray() -> ErrorView {
    let hint = "use the window; on GNOME the AppIndicator extension brings tray icons back";
    ErrorView::new("no-tray", "this desktop shows no tray icons", hint)
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
