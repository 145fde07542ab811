//! `daypass review`.

use model::{Command, Decision, PendingReview};

use crate::{args::ReviewOptions, failure::Failure, guest::Guest, terminal::Terminal};

/// Lists the requests that wait for this person, or answers one.
pub(crate) async fn run(guest: &Guest, options: ReviewOptions, terminal: Terminal) -> Result<(), Failure> {
    let reviews = guest.snapshot().await?.reviews;
    let decision = match (options.approve, options.deny) {
        (true, _) => Some(Decision::Approve),
        (_, true) => Some(Decision::Deny),
        (false, false) => None,
    };
    let (Some(wanted), Some(decision)) = (&options.request, decision) else {
        let shown: Vec<&PendingReview> = reviews
            .iter()
            .filter(|review| options.request.as_ref().is_none_or(|wanted| review.broker_ref.starts_with(wanted)))
            .collect();
        terminal.data(&shown.iter().map(|review| line(review)).collect::<Vec<_>>().join("\n"), &shown);
        return Ok(());
    };
    let broker_ref = one_of(&reviews, wanted)?.broker_ref.clone();
    guest
        .command(Command::ReviewRequest { broker_ref: broker_ref.clone(), decision, comment: options.comment })
        .await?;
    guest.follow(|snapshot| snapshot.reviews.iter().all(|review| review.broker_ref != broker_ref).then_some(())).await
}

fn one_of<'a>(reviews: &'a [PendingReview], wanted: &str) -> Result<&'a PendingReview, Failure> {
    let mut found = reviews.iter().filter(|review| review.broker_ref.starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(review), None) => Ok(review),
        (None, _) => Err(Failure::new(
            "unknown-request",
            format!("no request `{wanted}` waits for you"),
            "it may be answered already; `daypass review` lists those that wait",
        )),
        (Some(_), Some(_)) => Err(Failure::new(
            "ambiguous-request",
            format!("several requests begin with `{wanted}`"),
            "write more of its id",
        )),
    }
}

fn line(review: &PendingReview) -> String {
    let PendingReview { broker_ref, requester, target, role, duration, justification, own, .. } = review;
    let own = if *own { " (your own: somebody else must answer)" } else { "" };
    format!("{broker_ref}  {requester}: {role} on {target}, {duration}: \"{justification}\"{own}")
}
