//! What the service ends by itself: sessions that idle or last too long, and websockets that are old.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::session::Session;
use crate::clock::Clock;

/// How long things may last, on the sandbox's clock; none: for ever. They hold for open sessions too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without a message of a stream in either direction, as the account's Session Manager preferences say (1 to 60 minutes).
    pub idle: Option<Duration>,
    /// Of a session, as they say too (1 to 1,440 minutes).
    pub maximum: Option<Duration>,
    /// Of a client's websocket: closed with code 1000 and "Bye", as the service does about every hour.
    pub websocket: Option<Duration>,
}

/// What is to be done to a session, and when.
enum Due {
    End(String),
    SayBye,
}

/// Ends the session, and closes its websockets, when their time is up.
pub(super) async fn enforce(session: Arc<Session>, clock: Clock, mut limits: watch::Receiver<SessionLimits>) {
    let started = clock.now();
    let mut client = session.client_leg();
    loop {
        client.mark_unchanged();
        let now = *limits.borrow_and_update();
        let next = next(&session, started, now);
        let until = async {
            match &next {
                Some((at, _)) => clock.wait_until(*at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until => {}
            changed = limits.changed() => {
                // The service itself ends.
                if changed.is_err() { return }
                continue;
            }
            _ = client.changed() => continue,
            () = session.is_over() => return,
        }
        // Traffic meanwhile moves the end of an idle session.
        match self::next(&session, started, now).filter(|(at, _)| *at <= clock.now()) {
            Some((_, Due::End(text))) => {
                session.end(&text);
                return;
            }
            Some((_, Due::SayBye)) => session.say_bye(),
            None => {}
        }
    }
}

fn next(session: &Session, started: Timestamp, limits: SessionLimits) -> Option<(Timestamp, Due)> {
    let id = session.id();
    let idle = limits.idle.map(|idle| {
        // As printed by the original in https://github.com/aws/amazon-ssm-agent/issues/261.
        let text = format!("SessionId: {id} : Your session timed out due to inactivity and has been terminated.");
        (later(session.last_traffic(), idle), Due::End(text))
    });
    let maximum = limits.maximum.map(|maximum| {
        let text = format!("SessionId: {id} : Your session reached its maximum duration and has been terminated.");
        (later(started, maximum), Due::End(text))
    });
    let websocket = limits.websocket.zip(session.client_since());
    let websocket = websocket.map(|(life, since)| (later(since, life), Due::SayBye));
    [idle, maximum, websocket].into_iter().flatten().min_by_key(|(at, _)| *at)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}
