//! What the world may answer, right or wrong.

use access::{Effect, Event};
use jiff::SignedDuration;
use model::{EndReason, OpeningStep, Progress, TargetId, WallTime};

use crate::world::{acme, connection, review, trouble};

pub(crate) fn is_answered_once(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::CloseGateway { .. }
            | Effect::EndGrant { .. }
            | Effect::PlaceRequest { .. }
            | Effect::SubmitReview { .. }
            | Effect::WithdrawRequest { .. }
    )
}

/// Whether nobody waits for the earlier effect once the later one was asked for.
pub(crate) fn supersedes(later: &Effect, earlier: &Effect) -> bool {
    match (later, earlier) {
        (
            Effect::OpenGateway { target, .. } | Effect::CloseGateway { target, .. },
            Effect::OpenGateway { target: before, .. } | Effect::CloseGateway { target: before, .. },
        ) => target == before,
        (Effect::PlaceRequest { request }, Effect::PlaceRequest { request: before }) => request.id == before.id,
        (Effect::EndGrant { request, .. }, Effect::EndGrant { request: before, .. })
        | (Effect::WatchRequest { request, .. }, Effect::WatchRequest { request: before, .. })
        | (Effect::WithdrawRequest { request, .. }, Effect::WithdrawRequest { request: before, .. }) => {
            request == before
        }
        (Effect::AbandonSignIn | Effect::BeginSignIn { .. }, Effect::BeginSignIn { .. })
        | (
            Effect::ForgetSecrets,
            Effect::BeginSignIn { .. } | Effect::WatchReviews { .. } | Effect::WatchSessions { .. },
        )
        | (Effect::WatchReviews { .. }, Effect::WatchReviews { .. })
        | (Effect::WatchSessions { .. }, Effect::WatchSessions { .. }) => true,
        _ => false,
    }
}

pub(crate) fn answer_to(effect: &Effect, outcome: u8, now: WallTime) -> Option<Event> {
    let cause = trouble("refused");
    Some(match effect {
        Effect::BeginSignIn { .. } => match outcome % 6 {
            0 => Event::SignInFailed { cause },
            1 => Event::SignInStarted { authorize_url: "https://id.acme.dev".to_owned() },
            _ => signed_in_as("ana@acme.dev", later(now, 40_000)),
        },
        Effect::CloseGateway { target, .. } => Event::GatewayClosed { target: target.clone() },
        Effect::EndGrant { request, .. } => match outcome % 3 {
            0 => Event::ReleaseFailed { request: request.clone(), cause },
            _ => Event::GrantReleased { request: request.clone() },
        },
        Effect::EndSession { session, .. } => match outcome % 4 {
            0 => Event::SessionNotEnded { session: session.clone(), cause },
            _ => Event::SessionEnded { session: session.clone() },
        },
        Effect::OpenGateway { target, .. } => gateway_event(target.clone(), outcome),
        Effect::PlaceRequest { request } => {
            let (request, broker_ref) = (request.id.clone(), format!("exec-{}", request.id));
            match outcome % 8 {
                0 => Event::RequestRefused { request, cause },
                _ => Event::RequestPlaced { request, broker_ref, lapses_at: Some(later(now, 3600)) },
            }
        }
        Effect::SubmitReview { broker_ref, .. } => Event::ReviewSubmitted { broker_ref: broker_ref.clone() },
        Effect::WatchRequest { request, .. } => {
            Event::RequestProgressed { request: request.clone(), progress: progress(outcome, now) }
        }
        Effect::WatchReviews { .. } => {
            Event::ReviewsListed { reviews: vec![review("exec-7", false), review("exec-8", true)] }
        }
        Effect::WithdrawRequest { request, .. } => Event::ReleaseFailed { request: request.clone(), cause },
        // What AWS lists depends on what there is: the history makes it up.
        Effect::WatchSessions { .. } => return None,
        Effect::AbandonSignIn
        | Effect::ForgetSecrets
        | Effect::KeepPort { .. }
        | Effect::Quit
        | Effect::Save { .. } => return None,
    })
}

fn gateway_event(target: TargetId, outcome: u8) -> Event {
    match outcome % 9 {
        0 => Event::GatewayFailed { target, cause: trouble("port-in-use") },
        1 => Event::GatewayStepped { target, step: OpeningStep::OpenTunnel, done: None },
        2 => Event::GatewayBroke { target, cause: trouble("network-changed") },
        3 => Event::GatewayHealed { target },
        4 => Event::ConnectionsChanged { target, connections: 2 },
        5 => Event::GatewayClosed { target },
        6 => Event::GatewayInterrupted { target, cause: trouble("session-idle") },
        _ => Event::GatewayOpened { target, connection: connection() },
    }
}

fn progress(outcome: u8, now: WallTime) -> Progress {
    let by = Some("eva".to_owned());
    match outcome % 16 {
        0 => Progress::Approved { by },
        1 => Progress::Denied { by, comment: None },
        2 => Progress::Cancelled,
        3 => Progress::Lapsed,
        4 => Progress::Failed { cause: trouble("runbook-failed") },
        5 => Progress::Ended { reason: EndReason::Expired },
        6 => Progress::Ended { reason: EndReason::Revoked },
        7 => Progress::Granted { by, expires_at: later(now, -5) },
        8 | 9 => Progress::Granted { by, expires_at: later(now, 120) },
        _ => Progress::Granted { by, expires_at: later(now, 100 * i64::from(outcome)) },
    }
}

pub(crate) fn later(from: WallTime, seconds: i64) -> WallTime {
    from.shifted(SignedDuration::from_secs(seconds))
}

pub(crate) fn signed_in_as(person: &str, expires_at: WallTime) -> Event {
    Event::SignedIn { identity_provider: acme().id, subject: person.to_owned(), expires_at }
}
