//! The one background owner of state: it runs effects, keeps what must survive, publishes snapshots and serves the local socket.
//!
//! One loop (in `owner`) is the only place that changes anything. Shells send a [`model::Command`] and render the
//! [`model::Snapshot`] they are pushed. Nothing here decides who may reach what; that is [`access::Access`].

mod catalog;
mod clock;
mod connection;
mod effects;
mod identity;
mod local_passwords;
mod log;
mod owner;
mod places;
mod server;
mod state_file;
mod surroundings;
mod words;

use std::{path::PathBuf, sync::Arc};

use ipc::Private;
use model::{Command, ErrorView, Notice, Snapshot};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use catalog::{AwsPlace, Catalog, CatalogError, OidcEntry};
pub use clock::Clock;
pub use log::log_to;
pub use places::{NoHome, Places};
pub use state_file::StateError;

/// How an agent is started.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Where things are kept.
    pub places: Places,
    /// Where secrets are kept.
    pub secrets: KeepSecrets,
    /// Where `now` comes from.
    pub clock: Clock,
    /// How long it stays.
    pub stay: Stay,
}

/// Where secrets are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeepSecrets {
    /// In the operating system's keychain, or in memory when there is none (the Snapshot says which).
    InKeychain,
    /// In this process only.
    InMemory,
}

/// How long an agent stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stay {
    /// Until it is told to quit.
    UntilQuit,
    /// Until no guest is connected and nothing would be lost: no gateway open, no request waiting, no secret in memory only.
    WhileNeeded,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process is the owner; be its guest.
    #[error("another Daypass is running for this user")]
    AnotherOwner,
    /// The state file cannot be used.
    #[error(transparent)]
    State(StateError),
    /// The local socket cannot be served.
    #[error("cannot serve the local socket: {0}")]
    Socket(#[from] ipc::IpcError),
}

impl StartError {
    /// The error as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        let hint = match self {
            Self::AnotherOwner => "use that one, or end it with `daypass quit`",
            Self::State(StateError::Malformed { .. }) => {
                "move the file away and start again; requests are found again at the broker"
            }
            Self::State(_) | Self::Socket(_) => "make the folder writable for you and start again",
        };
        let code = match self {
            Self::AnotherOwner => "another-owner",
            Self::State(_) => "state-unusable",
            Self::Socket(_) => "socket-unusable",
        };
        ErrorView::new(code, self.to_string(), hint)
    }
}

/// The agent.
#[derive(Debug)]
pub struct Agent;

impl Agent {
    /// Becomes the owner: takes the state, starts the loop, serves the local socket.
    ///
    /// # Errors
    /// [`StartError::AnotherOwner`] when a process owns it already.
    pub async fn start(config: AgentConfig) -> Result<Handle, StartError> {
        let state = state_file::StateFile::hold(&config.places.data_dir).map_err(|error| match error {
            StateError::Owned(_) => StartError::AnotherOwner,
            StateError::Io { .. } | StateError::Malformed { .. } => StartError::State(error),
        })?;
        let listener = ipc::Server::bind(&config.places.socket).await?;
        connection::sweep(config.places.runtime_dir());
        let (stopped, has_stopped) = watch::channel(false);
        let (handle, owner) = owner::Owner::new(&config, state, has_stopped).await;
        let running = tokio::spawn(owner.run());
        let serving = server::serve(listener, handle.clone(), config.stay, running);
        tokio::spawn(async move {
            serving.await;
            stopped.send_replace(true);
        });
        Ok(handle)
    }
}

/// A way to talk to the running agent from the same process.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Asked>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    notices: broadcast::Sender<Notice>,
    shared: Arc<effects::Shared>,
    stopped: watch::Receiver<bool>,
}

/// A command and where its answer goes.
#[derive(Debug)]
struct Asked {
    command: Command,
    answer: oneshot::Sender<Result<(), ErrorView>>,
}

impl Handle {
    /// Asks for something. `Ok` means that it is under way; what becomes of it is in the next snapshots.
    ///
    /// # Errors
    /// Why it is refused, with the next step.
    pub async fn command(&self, command: Command) -> Result<(), ErrorView> {
        let (answer, answered) = oneshot::channel();
        let gone = || ErrorView::new("agent-stopped", "Daypass is ending", "start it again");
        self.commands.send(Asked { command, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// What is true, now and after each change.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// What the person should be told from here on.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Checks this computer and, when one is named, the way to a Target.
    pub async fn doctor(&self, target: Option<&model::TargetId>) -> Vec<ipc::Rung> {
        let snapshot = self.snapshots.borrow().clone();
        effects::doctor::climb(&self.shared, &snapshot, target).await
    }

    /// How to connect to an open Gateway, in the words of one client.
    ///
    /// # Errors
    /// `not-connected`, `form-unknown`, or the keychain's.
    pub async fn connection_text(
        &self,
        target: &model::TargetId,
        form: model::ConnectionForm,
        with_password: bool,
    ) -> Result<Private, ErrorView> {
        let text = self.shared.connection_text(target, form, with_password).await?;
        Ok(Private::new(text.expose().clone()))
    }

    /// The password that clients log in with at a Target's Gateway; a new one if `renew`, which open Gateways take at once.
    ///
    /// # Errors
    /// `unknown-target`, or the keychain's.
    pub async fn local_password(&self, target: &model::TargetId, renew: bool) -> Result<Private, ErrorView> {
        let _known = self.shared.entry(target)?;
        let passwords = &self.shared.local_passwords;
        let password = if renew { passwords.renew(target).await? } else { passwords.of(target).await? };
        Ok(Private::new(password.expose().clone()))
    }

    /// Returns when the agent has ended: gateways closed, sessions terminated, socket removed.
    pub async fn stopped(&self) {
        let mut stopped = self.stopped.clone();
        // An error means that the sender is gone, which is the end as well.
        let _ended = stopped.wait_for(|stopped| *stopped).await;
    }

    /// The folder of this user's agent, for messages.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.shared.runtime_dir.clone()
    }
}
