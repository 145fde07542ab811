//! The SSM sessions of this person that no Gateway uses: finding them, and ending those a person wants ended.

use std::{collections::BTreeSet, time::Duration};

use access::{Event, FoundSession};
use aws::{Credentials, OpenSession, Ssm};
use model::{ErrorView, Region, RoleName, SessionId, TargetId};

use super::{
    Reporter, Shared,
    asking::{caller, with_credentials},
};

/// Between two looks, when AWS could be asked in every Region and when not.
const PACE: Duration = Duration::from_secs(600);
const PACE_UNSEEN: Duration = Duration::from_secs(60);
/// How the reason of every session of ours begins.
const OURS: &str = "daypass: ";

/// What a session is started with, for auditors, and for finding it again.
pub(super) fn reason(role: RoleName, target: &TargetId) -> String {
    format!("{OURS}{role} on {target}")
}

/// Looks for sessions until it is aborted.
pub(super) async fn watch(reporter: Reporter) {
    let mut surroundings = reporter.shared.surroundings.subscribe();
    loop {
        let seen = look(&reporter.shared).await;
        let pace = if seen.unseen.is_some() { PACE_UNSEEN } else { PACE };
        if let Some(error) = &seen.unseen {
            tracing::debug!(%error, "sessions that were left cannot be looked for everywhere");
        }
        let Seen { regions, found, unseen } = seen;
        reporter.tell(Event::SessionsListed { regions, found, unseen }).await;
        tokio::select! {
            () = tokio::time::sleep(pace.mul_f64(rand::random_range(0.8..1.2))) => {}
            _ = surroundings.changed() => {}
        }
    }
}

/// Ends a session.
pub(super) async fn end(reporter: Reporter, session: SessionId, region: Region) {
    let event = match ended(&reporter.shared, &session, &region).await {
        Ok(()) => Event::SessionEnded { session },
        Err(cause) => Event::SessionNotEnded { session, cause },
    };
    reporter.tell(event).await;
}

async fn ended(shared: &Shared, session: &SessionId, region: &Region) -> Result<(), ErrorView> {
    let config = shared.aws(region)?;
    let ask = |credentials: Credentials| {
        let (ssm, session) = (Ssm::new(&config, &credentials), session.clone());
        async move { ssm.terminate_session(session.as_str()).await }
    };
    with_credentials(shared, ask).await
}

/// What one look brought.
#[derive(Default)]
struct Seen {
    regions: Vec<Region>,
    found: Vec<FoundSession>,
    unseen: Option<ErrorView>,
}

async fn look(shared: &Shared) -> Seen {
    let mut seen = Seen::default();
    let regions: BTreeSet<Region> = match shared.catalog() {
        Ok(catalog) => catalog.entries.iter().map(|entry| entry.target.region.clone()).collect(),
        Err(_) => return seen,
    };
    for region in regions {
        match sessions_in(shared, &region).await {
            Ok(sessions) => {
                seen.found.extend(sessions.into_iter().filter_map(|session| found(session, &region)));
                seen.regions.push(region);
            }
            Err(error) => seen.unseen = Some(error),
        }
    }
    seen
}

async fn sessions_in(shared: &Shared, region: &Region) -> Result<Vec<OpenSession>, ErrorView> {
    let owner = caller(shared, region).await?.arn;
    let config = shared.aws(region)?;
    let ask = |credentials: Credentials| {
        let (ssm, owner) = (Ssm::new(&config, &credentials), owner.clone());
        async move { ssm.open_sessions(&owner).await }
    };
    with_credentials(shared, ask).await
}

fn found(session: OpenSession, region: &Region) -> Option<FoundSession> {
    let ours = session.reason.as_deref().and_then(|reason| reason.strip_prefix(OURS));
    let target = ours.and_then(|words| words.rsplit_once(" on "));
    Some(FoundSession {
        id: SessionId::new(session.session_id).ok()?,
        region: region.clone(),
        target: target.and_then(|(_, name)| TargetId::new(name).ok()),
        since: session.started_at,
        ours: ours.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(reason: Option<&str>) -> FoundSession {
        let session = OpenSession {
            session_id: "ana@acme.dev-0f9d6c1b2a".to_owned(),
            target: "i-0da7a9a55ba5710e1".to_owned(),
            reason: reason.map(str::to_owned),
            started_at: None,
        };
        found(session, &Region::new("eu-west-1").expect("a Region")).expect("the id is one")
    }

    #[test]
    fn a_session_of_ours_tells_its_target_by_its_reason() {
        let target = TargetId::new("orders-prod").expect("a slug");
        let ours = open(Some(&reason(RoleName::ReadOnly, &target)));
        assert_eq!((ours.ours, ours.target), (true, Some(target)));
    }

    #[test]
    fn a_session_that_somebody_started_by_hand_is_not_ours() {
        for reason in [None, Some("looking at orders-prod"), Some("my daypass: no")] {
            assert!(!open(reason).ours, "{reason:?}");
        }
    }
}
