//! The seam every Broker fits.

use aws::AwsError;
use model::{AccessRequest, Decision, ErrorView, PendingReview, Progress, WallTime};

/// The system that decides on and enforces Grants.
pub trait Broker {
    /// Places a request. Placing the same request again is harmless: its id makes it the same one.
    fn ask(&self, ask: &Ask<'_>) -> impl Future<Output = Result<Placed, BrokerError>> + Send;

    /// What became of a placed request; none while it waits for a Review.
    fn look(&self, broker_ref: &str) -> impl Future<Output = Result<Option<Progress>, BrokerError>> + Send;

    /// The requests that wait for a Review, of everybody, newest first.
    fn waiting(&self) -> impl Future<Output = Result<Vec<PendingReview>, BrokerError>> + Send;

    /// Answers a request that waits.
    fn review(
        &self,
        broker_ref: &str,
        decision: Decision,
        comment: Option<&str>,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Ends a Grant before its time, or takes back a request that nobody answered.
    fn end(&self, broker_ref: &str) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// A request in the Broker's terms.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What the person asks for.
    pub request: &'a AccessRequest,
    /// The database as RDS names it.
    pub rds_identifier: &'a str,
    /// The runbook of the Entitlement.
    pub runbook: &'a str,
}

/// A request the Broker has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// The Broker's id of it.
    pub broker_ref: String,
    /// When it lapses unanswered, on AWS's clock; none when the Broker did not say.
    pub lapses_at: Option<WallTime>,
}

/// A Broker that did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BrokerError {
    /// Somebody was faster, or it was taken back, or it lapsed.
    #[error("the request {broker_ref} waits no longer: {outcome}")]
    AnsweredAlready {
        /// Which request.
        broker_ref: String,
        /// What became of it, in words.
        outcome: String,
    },
    /// AWS did not carry the call out.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The execution does not keep to what Daypass and its runbook agreed on.
    #[error("the runbook execution {broker_ref} {what}")]
    StrangeRunbook {
        /// Which execution.
        broker_ref: String,
        /// What is wrong with it.
        what: String,
    },
}

impl BrokerError {
    /// The error as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        match self {
            Self::AnsweredAlready { .. } => ErrorView::new(
                "answered-already",
                self.to_string(),
                "Nothing is left to do: the list is brought up to date",
            ),
            Self::Aws(AwsError::Rejected { code, .. }) if code.starts_with("InvalidAutomationExecutionParameters") => {
                ErrorView::new(
                    "runbook-refused",
                    self.to_string(),
                    "Ask the administrator to compare the runbook's parameters and assume role with the catalog's entitlement",
                )
            }
            Self::Aws(AwsError::Rejected { code, .. }) if code.starts_with("AutomationExecutionLimitExceeded") => {
                ErrorView::new(
                    "broker-full",
                    self.to_string(),
                    "Try again in a few minutes, or ask the administrator for adaptive concurrency of SSM Automation",
                )
            }
            Self::Aws(error) => error.view(),
            Self::StrangeRunbook { .. } => ErrorView::new(
                "strange-runbook",
                self.to_string(),
                "Ask the administrator to deploy the runbook of this version again",
            ),
        }
    }

    /// Whether the same call may succeed later with nothing done about it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Aws(error) => error.is_transient(),
            Self::AnsweredAlready { .. } | Self::StrangeRunbook { .. } => false,
        }
    }
}
