//! What has to be there before anything is shown.

use std::process::ExitCode;

use agent::{Agent, AgentConfig, Clock, Handle, KeepSecrets, Places, StartError, Stay};
use model::ErrorView;

use crate::{Options, options::SecretsPlace};

/// Why the shell does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// The agent does not start.
    #[error(transparent)]
    Agent(#[from] StartError),
    /// The window system said no.
    #[error("the desktop could not be used: {0}")]
    Desktop(#[from] tauri::Error),
    /// There is no screen.
    #[error("no display is known (DISPLAY and WAYLAND_DISPLAY are not set)")]
    NoDisplay,
    /// There is nowhere to keep anything.
    #[error(transparent)]
    NoHome(#[from] agent::NoHome),
}

impl StartFailure {
    /// The failure as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        let (code, hint) = match self {
            Self::Agent(error) => return error.view(),
            Self::Desktop(_) => ("desktop-unusable", "run `daypass-desktop` in a graphical session"),
            Self::NoDisplay => {
                ("no-display", "run it in a graphical session, or use `daypass agent` and the command line")
            }
            Self::NoHome(_) => ("no-home", "set HOME, or name a folder with --data-dir"),
        };
        ErrorView::new(code, self.to_string(), hint)
    }

    /// 2: no screen, 3: another Daypass runs, 1: anything else.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoDisplay => ExitCode::from(2),
            Self::Agent(StartError::AnotherOwner) => ExitCode::from(3),
            Self::Agent(_) | Self::Desktop(_) | Self::NoHome(_) => ExitCode::FAILURE,
        }
    }
}

/// GTK panics without a display; a sentence is better.
pub(crate) fn check_display() -> Result<(), StartFailure> {
    let is_set = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    if cfg!(target_os = "linux") && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") {
        return Err(StartFailure::NoDisplay);
    }
    Ok(())
}

/// Becomes the one owner of state for this user.
pub(crate) async fn start_agent(options: &Options) -> Result<Handle, StartFailure> {
    let places = Places::find(options.data_dir.as_deref(), options.catalog.as_deref())?;
    let secrets = match options.secrets {
        SecretsPlace::Keychain => KeepSecrets::InKeychain,
        SecretsPlace::Memory => KeepSecrets::InMemory,
    };
    let config = AgentConfig { places, secrets, clock: Clock::System, stay: Stay::UntilQuit };
    Ok(Agent::start(config).await?)
}
