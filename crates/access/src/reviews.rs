//! Colleagues' requests that wait for this person.

use std::collections::BTreeSet;

use model::{Decision, ErrorView, Notice, PendingReview};

use crate::{Access, Effect, Refusal, outbox::Errand, trouble::Trouble};

#[derive(Clone, Debug, Default)]
pub(crate) struct Reviews {
    /// As the broker gave them: instants are on AWS's clock.
    pub(crate) list: Vec<PendingReview>,
    /// Answered from here; a list made just before may still name them.
    answered: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Access {
    pub(crate) fn review_request(
        &mut self,
        broker_ref: String,
        decision: Decision,
        comment: Option<String>,
    ) -> Result<(), Refusal> {
        self.signed_in_to(&format!("answering the request {broker_ref}"))?;
        let Some(review) = self.reviews.list.iter().find(|review| review.broker_ref == broker_ref) else {
            return Err(Refusal::UnknownReview { broker_ref });
        };
        if review.own {
            return Err(Refusal::OwnReview { broker_ref });
        }
        self.troubles.remove(&Trouble::Review(broker_ref.clone()));
        self.ask_once(Errand::Review(broker_ref.clone()), Effect::SubmitReview { broker_ref, decision, comment });
        Ok(())
    }

    pub(crate) fn reviews_listed(&mut self, mut list: Vec<PendingReview>) {
        list.retain(|review| !self.reviews.answered.contains(&review.broker_ref));
        for review in &list {
            if !review.own && self.reviews.told.insert(review.broker_ref.clone()) {
                self.outbox.tell(Notice::ReviewWanted { review: self.shown_review(review) });
            }
        }
        self.troubles.retain(|trouble, _| match trouble {
            Trouble::Review(broker_ref) => list.iter().any(|review| review.broker_ref == *broker_ref),
            Trouble::Catalog | Trouble::Request(_) => true,
        });
        self.reviews.list = list;
    }

    pub(crate) fn review_submitted(&mut self, broker_ref: String) {
        self.outbox.abandon(&Errand::Review(broker_ref.clone()));
        self.reviews.list.retain(|review| review.broker_ref != broker_ref);
        self.reviews.answered.insert(broker_ref);
    }

    pub(crate) fn review_refused(&mut self, broker_ref: String, cause: ErrorView) {
        self.outbox.abandon(&Errand::Review(broker_ref.clone()));
        self.troubles.insert(Trouble::Review(broker_ref), cause);
    }

    pub(crate) fn shown_review(&self, review: &PendingReview) -> PendingReview {
        PendingReview { requested_at: self.clock.to_local(review.requested_at), ..review.clone() }
    }
}
