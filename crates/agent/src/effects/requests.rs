//! Requests and Reviews at their Broker.

use std::{collections::BTreeSet, time::Duration};

use access::Event;
use aws::AwsError;
use brokers::{Ask, Automation, Broker, BrokerError, Watch};
use model::{AccessRequest, Decision, ErrorView, Gate, Progress, Region, RequestId, TargetId};

use super::{Reporter, Shared, asking::Outdated as _};

/// How long giving back waits for the Broker to have removed the permission.
const REMOVAL: Duration = Duration::from_secs(180);

/// Between tries to place a request while AWS does not answer or is asked too often.
const PLACING_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8), Duration::from_secs(20)];

/// Places a request; its id makes a repetition after a crash harmless.
pub(super) async fn place(reporter: Reporter, request: AccessRequest) {
    let id = request.id.clone();
    let event = match placed(&reporter.shared, &request).await {
        Ok(placed) => Event::RequestPlaced { request: id, broker_ref: placed.broker_ref, lapses_at: placed.lapses_at },
        Err(cause) => Event::RequestRefused { request: id, cause },
    };
    reporter.tell(event).await;
}

async fn placed(shared: &Shared, request: &AccessRequest) -> Result<brokers::Placed, ErrorView> {
    let entry = shared.entry(&request.target)?;
    let gate = entry
        .entitlements
        .iter()
        .find(|entitlement| entitlement.role == request.role)
        .map(|entitlement| &entitlement.gate);
    let Some(Gate::OnRequest { runbook, .. }) = gate else {
        let message = format!("`{}` no longer has {} on request", request.target, request.role);
        return Err(ErrorView::new("role-not-offered", message, "see `daypass list` for what the catalog offers"));
    };
    let ask = Ask { request, rds_identifier: &entry.target.rds_identifier, runbook };
    let (mut pauses, mut renewed) = (PLACING_PAUSES.iter(), false);
    loop {
        match broker(shared, &entry.target.region, runbook).await?.ask(&ask).await {
            Ok(placed) => return Ok(placed),
            // By AWS's clock, which is known from this answer, the next Credentials are renewed ones.
            Err(error) if error.is_outdated() && !renewed => renewed = true,
            Err(error) => match pauses.next() {
                Some(pause) if error.is_transient() => tokio::time::sleep(*pause).await,
                Some(_) | None => return Err(error.view()),
            },
        }
    }
}

/// Follows a placed request until nothing more can become of it.
pub(super) async fn watch(reporter: Reporter, request: RequestId, broker_ref: String, target: TargetId) {
    let Some(mut watch) = pace(&reporter.shared) else { return };
    loop {
        match watch.next(|| look(&reporter.shared, &target, &broker_ref)).await {
            Ok(progress) => {
                let last = progress.is_final();
                reporter.tell(Event::RequestProgressed { request: request.clone(), progress }).await;
                if last {
                    return;
                }
            }
            // Permissions come and go; the grant ends by its date whatever is seen of it here.
            Err(error) => tracing::warn!(%error, %request, "the request could not be looked at"),
        }
    }
}

/// Takes back a request that nobody answered.
pub(super) async fn withdraw(reporter: Reporter, request: RequestId, broker_ref: String, target: TargetId) {
    let event = match stopped(&reporter.shared, &target, &broker_ref).await {
        Ok(()) => Event::RequestProgressed { request, progress: Progress::Cancelled },
        Err(cause) => Event::ReleaseFailed { request, cause },
    };
    reporter.tell(event).await;
}

/// Ends a Grant and waits until its permission is removed.
pub(super) async fn end(reporter: Reporter, request: RequestId, broker_ref: String, target: TargetId) {
    let removed = async {
        stopped(&reporter.shared, &target, &broker_ref).await?;
        let mut watch = pace(&reporter.shared).ok_or_else(|| still_there(&target))?;
        let hurry = watch.nudge();
        loop {
            hurry.nudge();
            match watch.next(|| look(&reporter.shared, &target, &broker_ref)).await {
                Ok(progress) if progress.is_final() => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.view()),
            }
        }
    };
    let outcome = tokio::time::timeout(REMOVAL, removed).await.unwrap_or_else(|_| Err(still_there(&target)));
    let event = match outcome {
        Ok(()) => Event::GrantReleased { request },
        Err(cause) => Event::ReleaseFailed { request, cause },
    };
    reporter.tell(event).await;
}

/// Answers a colleague's request.
pub(super) async fn review(reporter: Reporter, broker_ref: String, decision: Decision, comment: Option<String>) {
    let event = match reviewed(&reporter.shared, &broker_ref, decision, comment.as_deref()).await {
        Ok(()) => Event::ReviewSubmitted { broker_ref },
        Err(cause) => Event::ReviewRefused { broker_ref, cause },
    };
    reporter.tell(event).await;
}

/// Whether the Broker took it. Which Region a request lives in is not part of its id: each is asked.
async fn reviewed(
    shared: &Shared,
    broker_ref: &str,
    decision: Decision,
    comment: Option<&str>,
) -> Result<(), ErrorView> {
    let mut refusal =
        ErrorView::new("unknown-request", format!("no request {broker_ref} is known"), "it may have lapsed");
    for (region, runbook) in runbooks(shared)? {
        match broker(shared, &region, &runbook).await?.review(broker_ref, decision, comment).await {
            Ok(()) => return Ok(()),
            Err(BrokerError::Aws(AwsError::NotFound { .. })) => {}
            Err(error) => refusal = error.view(),
        }
    }
    Err(refusal)
}

/// Looks for colleagues' requests until it is aborted, or for good when this person may not see any.
pub(super) async fn watch_reviews(reporter: Reporter) {
    let shared = &reporter.shared;
    let (Ok(runbooks), Ok(catalog)) = (runbooks(shared), shared.catalog()) else { return };
    loop {
        let (mut reviews, mut seen, mut allowed) = (Vec::new(), false, false);
        for (region, runbook) in &runbooks {
            let waiting = match broker(shared, region, runbook).await {
                Ok(broker) => broker.waiting().await.map_err(|error| error.view()),
                Err(error) => Err(error),
            };
            match waiting {
                Ok(found) => {
                    (seen, allowed) = (true, true);
                    reviews.extend(found);
                }
                Err(error) => {
                    allowed |= error.code != "not-authorized";
                    tracing::debug!(%error, %region, "no reviews can be listed");
                }
            }
        }
        if seen {
            reporter.tell(Event::ReviewsListed { reviews }).await;
        }
        if !allowed {
            return;
        }
        tokio::time::sleep(catalog.aws.poll.mul_f64(rand::random_range(0.8..1.2))).await;
    }
}

/// The runbooks of the Catalog and where they run.
fn runbooks(shared: &Shared) -> Result<BTreeSet<(Region, String)>, ErrorView> {
    let catalog = shared.catalog()?;
    let gated = catalog.entries.iter().flat_map(|entry| {
        entry.entitlements.iter().filter_map(|entitlement| match &entitlement.gate {
            Gate::OnRequest { runbook, .. } => Some((entry.target.region.clone(), runbook.clone())),
            Gate::Standing => None,
        })
    });
    Ok(gated.collect())
}

fn pace(shared: &Shared) -> Option<Watch> {
    Some(Watch::every(shared.catalog().ok()?.aws.poll))
}

async fn look(shared: &Shared, target: &TargetId, broker_ref: &str) -> Result<Option<Progress>, BrokerError> {
    let broker = async {
        let entry = shared.entry(target)?;
        broker(shared, &entry.target.region, "").await
    };
    // Without credentials nothing can be seen for now; the next look may have some.
    let unseen = |view: ErrorView| AwsError::Unreachable { endpoint: "the broker".to_owned(), cause: view.message };
    broker.await.map_err(unseen)?.look(broker_ref).await
}

async fn stopped(shared: &Shared, target: &TargetId, broker_ref: &str) -> Result<(), ErrorView> {
    let entry = shared.entry(target)?;
    broker(shared, &entry.target.region, "").await?.end(broker_ref).await.map_err(|error| error.view())
}

async fn broker(shared: &Shared, region: &Region, runbook: &str) -> Result<Automation, ErrorView> {
    let usable = shared.identity.usable(shared).await?;
    let session_name = sign_in::session_name(&usable.subject);
    Ok(Automation::new(&shared.aws(region)?, &usable.credentials, &session_name, runbook))
}

fn still_there(target: &TargetId) -> ErrorView {
    let message = format!("the runbook has not removed the access to `{target}` yet");
    ErrorView::new("still-granted", message, "it ends by itself at its date; tell the administrator if it does not")
}
