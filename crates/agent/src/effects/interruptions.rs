//! What happens to a Gateway's sessions and connections while it stays open, as far as a person should know.

use std::time::Duration;

use access::Event;
use aws::Rds;
use gateway::{EndCause, TunnelEvent};
use model::{ErrorView, Target};
use tokio::time::{Instant, sleep_until};

use super::{Reporter, asking::with_credentials};
use crate::words;

/// A connection that was refused may have moved to a fresh session by then, and nobody needs to know.
const MOVES_WITHIN: Duration = Duration::from_secs(2);
/// Between the ends of a session and of its connections.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// The interruptions of one Gateway.
#[derive(Debug, Default)]
pub(super) struct Interruptions {
    /// A session whose SSM agent could not connect to the Target, and when that is told.
    refused: Option<(String, Instant)>,
    /// Open connections when last looked at, and until when that says something of a moment ago.
    connections: u64,
    busy_until: Option<Instant>,
}

impl Interruptions {
    /// Looks at how many connections are open. A session's end and that of its connections are heard of in any order.
    pub(super) fn look(&mut self, connections: u64) {
        if self.connections > 0 {
            self.busy_until = Some(Instant::now() + HEARD_WITHIN);
        }
        self.connections = connections;
    }

    fn is_busy(&self) -> bool {
        self.connections > 0 || self.busy_until.is_some_and(|until| Instant::now() < until)
    }

    /// Takes in what happened.
    pub(super) async fn note(&mut self, reporter: &Reporter, target: &Target, event: &TunnelEvent) {
        match event {
            TunnelEvent::ConnectRefused { session_id } => {
                self.refused.get_or_insert_with(|| (session_id.clone(), Instant::now() + MOVES_WITHIN));
            }
            TunnelEvent::Moved { from, .. } => {
                self.refused.take_if(|(session_id, _)| session_id == from);
            }
            TunnelEvent::Ended { cause, .. } => tell_end(reporter, target, cause, self.is_busy()).await,
            TunnelEvent::Broken { .. }
            | TunnelEvent::Healed { .. }
            | TunnelEvent::Opened { .. }
            | TunnelEvent::Overflowed { .. }
            | TunnelEvent::Started { .. } => {}
        }
    }

    /// Returns when a refused connection is to be told.
    pub(super) async fn due(&self) {
        match &self.refused {
            Some((_, at)) => sleep_until(*at).await,
            None => std::future::pending().await,
        }
    }

    /// Tells that the database cannot be reached, with what RDS says of it.
    pub(super) async fn tell_refused(&mut self, reporter: &Reporter, target: &Target) {
        self.refused = None;
        let cause = words::database_unreachable(target, &unreachable_because(reporter, target).await);
        reporter.tell(Event::GatewayInterrupted { target: target.id.clone(), cause }).await;
    }
}

/// A session that idled without connections is replaced when it is needed: nothing has ended for anybody.
async fn tell_end(reporter: &Reporter, target: &Target, cause: &EndCause, busy: bool) {
    match words::ended(target, cause) {
        Some(cause) if busy => {
            reporter.tell(Event::GatewayInterrupted { target: target.id.clone(), cause }).await;
        }
        Some(ErrorView { message, .. }) => tracing::info!(target = %target.id, message, "without connections"),
        None => {}
    }
}

async fn unreachable_because(reporter: &Reporter, target: &Target) -> String {
    let shared = &reporter.shared;
    let found = match shared.aws(&target.region) {
        Ok(config) => {
            with_credentials(shared, async |credentials| {
                Rds::new(&config, &credentials).database(&target.rds_identifier).await
            })
            .await
        }
        Err(error) => Err(error),
    };
    match found {
        Ok(database) if database.status != "available" => {
            format!("the bastion cannot connect to it, and RDS says that it is {}", database.status)
        }
        Ok(_) => "the bastion cannot connect to it, although RDS says that it is available".to_owned(),
        Err(error) => format!("the bastion cannot connect to it; RDS did not say how it is: {error}"),
    }
}
