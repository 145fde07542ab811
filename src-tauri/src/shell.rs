//! What this shell remembers, and how it follows the agent.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use agent::Handle;
use model::{Command, ErrorView, Snapshot, TargetId};
use tauri::{AppHandle, Manager as _};
use tauri_specta::Event as _;
use tokio::sync::broadcast::error::RecvError;

use crate::{action, browser, events::SnapshotChanged, notifications, tray};

/// The longest that nothing is redrawn, should a clock have been set.
const REDRAW: Duration = Duration::from_secs(60);
/// The longest that gateways may take to close when the desktop session ends.
const FAREWELL: Duration = Duration::from_secs(10);

/// The desktop shell: the agent, and what a click here is waiting for.
#[derive(Debug)]
pub(crate) struct Shell {
    agent: Handle,
    sign_in_asked: Mutex<bool>,
    target_to_show: Mutex<Option<TargetId>>,
}

impl Shell {
    pub(crate) fn new(agent: Handle) -> Self {
        Self { agent, sign_in_asked: Mutex::new(false), target_to_show: Mutex::new(None) }
    }

    /// For what is no Command: words that hold the local password.
    pub(crate) fn agent(&self) -> Handle {
        self.agent.clone()
    }

    /// What is true now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.agent.snapshots().borrow())
    }

    /// Asks the agent for something, because a person just clicked here.
    pub(crate) async fn ask(&self, command: Command) -> Result<(), ErrorView> {
        let sign_in = matches!(command, Command::SignIn { .. });
        if sign_in {
            *held(&self.sign_in_asked) = true;
        }
        let answer = self.agent.command(command).await;
        if sign_in && answer.is_err() {
            *held(&self.sign_in_asked) = false;
        }
        answer
    }

    pub(crate) fn show_target_next(&self, target: Option<TargetId>) {
        *held(&self.target_to_show) = target;
    }

    pub(crate) fn take_target_to_show(&self) -> Option<TargetId> {
        held(&self.target_to_show).take()
    }
}

/// Renders every Snapshot and tells every Notice until the agent has ended; then the shell ends.
pub(crate) async fn follow(app: AppHandle, agent: Handle) {
    let (mut snapshots, mut notices) = (agent.snapshots(), agent.notices());
    let mut redraw = Duration::ZERO;
    let ended = agent.stopped();
    let mut asked_to_end = EndOfSession::listen();
    tokio::pin!(ended);
    let mut leaving = false;
    loop {
        tokio::select! {
            changed = snapshots.changed() => match changed {
                Ok(()) => {
                    let snapshot = Arc::clone(&snapshots.borrow_and_update());
                    publish(&app, &snapshot);
                    redraw = tray::render(&app, &snapshot).unwrap_or(REDRAW);
                }
                Err(_) => break,
            },
            notice = notices.recv() => match notice {
                Ok(notice) => notifications::tell(&app, &notice),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
            () = tokio::time::sleep(redraw.min(REDRAW)) => {
                let snapshot = Arc::clone(&snapshots.borrow());
                redraw = tray::render(&app, &snapshot).unwrap_or(REDRAW);
            }
            () = asked_to_end.next() => {
                if leaving {
                    tracing::warn!("told twice to end: sessions that are still open are found at the next start");
                    app.exit(1);
                    break;
                }
                leaving = true;
                tauri::async_runtime::spawn(leave(app.clone()));
            }
            () = &mut ended => break,
        }
    }
    app.exit(0);
}

async fn leave(app: AppHandle) {
    action::carry_out(app.clone(), action::Action::Ask(Command::Quit)).await;
    tokio::time::sleep(FAREWELL).await;
    tracing::warn!("gateways did not close in time");
    app.exit(1);
}

fn publish(app: &AppHandle, snapshot: &Snapshot) {
    let shell = app.state::<Shell>();
    let page = browser::page_to_open(&mut held(&shell.sign_in_asked), &snapshot.identity);
    if let Some(page) = page
        && let Err(failure) = browser::open(app, &page)
    {
        tauri::async_runtime::spawn(async move { notifications::tell_failure(&failure).await });
    }
    if let Err(error) = SnapshotChanged(snapshot.clone()).emit(app) {
        tracing::warn!(%error, "the window was not told");
    }
}

/// How the system asks the program to end.
struct EndOfSession {
    #[cfg(unix)]
    signals: Vec<tokio::signal::unix::Signal>,
}

impl EndOfSession {
    #[cfg(unix)]
    fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
        let heard = kinds.into_iter().map(signal).filter_map(|signal| {
            signal.inspect_err(|error| tracing::warn!(%error, "a signal to end cannot be heard")).ok()
        });
        Self { signals: heard.collect() }
    }

    #[cfg(not(unix))]
    fn listen() -> Self {
        Self {}
    }

    /// Returns each time it does.
    #[cfg(unix)]
    async fn next(&mut self) {
        std::future::poll_fn(|cx| {
            let asked = self.signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
            if asked { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        std::future::pending().await
    }
}

/// None of these values can be left half changed, so a panic elsewhere does not spoil them.
fn held<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
