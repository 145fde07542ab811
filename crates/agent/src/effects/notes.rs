//! The books on SSM sessions: each that AWS has is written down at once, also while its Gateway is still opening or already
//! closing, and struck when it has ended.

use access::Event;
use gateway::{SessionError, TunnelEvent};
use model::{ErrorView, SessionId, TargetId};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Duration, timeout},
};

use super::Reporter;

/// How long sessions may take to end once nobody wants them.
const FAREWELL: Duration = Duration::from_secs(12);

/// Takes notes of what happens to a Gateway's sessions and passes it on.
#[derive(Debug)]
pub(super) struct Notes {
    task: JoinHandle<()>,
}

impl Notes {
    /// Begins; what is sent to the sender comes out of the receiver.
    pub(super) fn begin(
        reporter: &Reporter,
        target: &TargetId,
    ) -> (Self, mpsc::UnboundedSender<TunnelEvent>, mpsc::UnboundedReceiver<TunnelEvent>) {
        let (events, mut told) = mpsc::unbounded_channel();
        let (pass_on, passed_on) = mpsc::unbounded_channel();
        let (reporter, target) = (reporter.clone(), target.clone());
        let task = tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                if let Some(note) = note(&event, &target) {
                    reporter.tell(note).await;
                }
                // While a Gateway opens or closes, nobody but these books is interested.
                drop(pass_on.send(event));
            }
        });
        (Self { task }, events, passed_on)
    }

    /// Returns once every session has ended, or was found impossible to end. What still has one open then keeps nobody waiting.
    pub(super) async fn finished(self) {
        if timeout(FAREWELL, self.task).await.is_err() {
            tracing::warn!("a session is still being used by somebody");
        }
    }
}

/// What belongs into the books; everything else is about a session that goes on.
fn note(event: &TunnelEvent, target: &TargetId) -> Option<Event> {
    if let TunnelEvent::Started { session_id } = event {
        return Some(Event::SessionStarted { session: named(session_id)?, target: target.clone() });
    }
    let TunnelEvent::Ended { session_id, unterminated, .. } = event else { return None };
    let session = named(session_id)?;
    Some(match unterminated {
        None => Event::SessionEnded { session },
        Some(error) => Event::SessionLeft { cause: not_ended(session_id, error), session },
    })
}

fn named(session_id: &str) -> Option<SessionId> {
    SessionId::new(session_id)
        .inspect_err(|error| tracing::error!(%error, "AWS named a session in an unknown way; it is not written down"))
        .ok()
}

fn not_ended(session_id: &str, error: &SessionError) -> ErrorView {
    let message = format!("the session {session_id} could not be ended: {error}");
    ErrorView::new("session-not-ended", message, "end it once AWS answers again; idle, it ends by itself")
}
