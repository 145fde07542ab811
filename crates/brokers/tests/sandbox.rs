//! Whole requests, against an account whose runbook really grants.

use std::time::Duration;

use aws::{AwsConfig, ClockSkew, Credentials};
use brokers::{Ask, Automation, Broker, BrokerError, Placed, Watch};
use model::{
    AccessRequest, Decision, EndReason, Progress, Region, RequestId, RequestState, RoleName, TargetId, WallTime,
};
use sandbox::{Sandbox, SandboxConfig};
use secrets::Secret;

const RUNBOOK: &str = "Daypass-TemporaryAccess";

struct Account {
    sandbox: Sandbox,
    config: AwsConfig,
}

impl Account {
    async fn open() -> Self {
        let sandbox = Sandbox::start(SandboxConfig { with_postgres: false, ..SandboxConfig::default() }).await;
        let sandbox = sandbox.expect("a sandbox");
        let region = Region::new("eu-west-1").expect("a Region");
        let endpoint = sandbox.endpoint_url().parse().expect("a URL");
        let config = AwsConfig::new(region, Some(endpoint), ClockSkew::default()).expect("loopback is accepted");
        Self { sandbox, config }
    }

    fn as_person(&self, who: &str, role: &str) -> Automation {
        let given = self.sandbox.credentials(who, role).expect("they have the role");
        let credentials = Credentials {
            access_key_id: Secret::new(given.access_key_id),
            secret_access_key: Secret::new(given.secret_access_key),
            session_token: Some(Secret::new(given.session_token)),
            expires_at: WallTime(given.expires_at),
        };
        Automation::new(&self.config, &credentials, &format!("{who}@acme.dev"), "Daypass-")
    }

    fn ana(&self) -> Automation {
        self.as_person("ana", "JitRds")
    }

    fn ben(&self) -> Automation {
        self.as_person("ben", "JitRdsApprover")
    }

    /// Has `broker` ask, and waits until the request can be answered.
    async fn ask(&self, broker: &Automation) -> Placed {
        let request = request();
        let placed = broker.ask(&Ask { request: &request, rds_identifier: "orders-prod", runbook: RUNBOOK }).await;
        let placed = placed.expect("the runbook takes it");
        self.sandbox.execution_is(&placed.broker_ref, "Waiting").await;
        placed
    }
}

fn request() -> AccessRequest {
    AccessRequest {
        id: RequestId::new("1b4e28ba-2fa1-11d2-883f-0016d3cca427").expect("a UUID"),
        target: TargetId::new("orders-prod").expect("a name"),
        role: RoleName::ReadOnly,
        duration: "2m".parse().expect("a duration"),
        justification: "look into order 4711".into(),
        ticket: None,
        requested_at: WallTime::from_unix_seconds(0),
        state: RequestState::Pending { broker_ref: None, lapses_at: None },
    }
}

#[tokio::test]
async fn a_request_is_approved_granted_and_ends_by_itself() {
    let account = Account::open().await;
    let (ana, ben) = (account.ana(), account.ben());
    let placed = account.ask(&ana).await;
    assert_eq!(ana.look(&placed.broker_ref).await, Ok(None), "nobody answered");

    ben.review(&placed.broker_ref, Decision::Approve, Some("go ahead")).await.expect("ben may");
    account.sandbox.policy_is_granted(&placed.broker_ref).await;
    let seen = ana.look(&placed.broker_ref).await;
    let Ok(Some(Progress::Granted { by, expires_at })) = seen else { panic!("{seen:?}") };
    assert_eq!(by.as_deref(), Some("ben@acme.dev"));
    let left = WallTime(account.sandbox.clock().now()).until(expires_at);
    assert!((110..=120).contains(&left.as_secs()), "{left:?}");

    account.sandbox.clock().advance(Duration::from_secs(125));
    account.sandbox.execution_is(&placed.broker_ref, "Success").await;
    assert_eq!(ana.look(&placed.broker_ref).await, Ok(Some(Progress::Ended { reason: EndReason::Expired })));
}

#[tokio::test]
async fn placing_a_request_again_is_the_same_request() {
    let account = Account::open().await;
    let ana = account.ana();
    let (first, second) = (account.ask(&ana).await, account.ask(&ana).await);
    assert_eq!(first.broker_ref, second.broker_ref);
    let lapses_at = second.lapses_at.expect("the approve step says when");
    let left = WallTime(account.sandbox.clock().now()).until(lapses_at);
    assert!((3_590..=3_600).contains(&left.as_secs()), "{left:?}");
}

#[tokio::test]
async fn a_denial_tells_who_declined() {
    let account = Account::open().await;
    let ana = account.ana();
    let placed = account.ask(&ana).await;
    account.ben().review(&placed.broker_ref, Decision::Deny, Some("use the replica")).await.expect("ben may");
    let seen = Watch::every(Duration::from_millis(20)).next(|| ana.look(&placed.broker_ref)).await;
    let Ok(Progress::Denied { by, .. }) = seen else { panic!("{seen:?}") };
    assert_eq!(by.as_deref(), Some("ben@acme.dev"));
}

#[tokio::test]
async fn a_request_that_is_taken_back_is_cancelled() {
    let account = Account::open().await;
    let ana = account.ana();
    let placed = account.ask(&ana).await;
    ana.end(&placed.broker_ref).await.expect("it is hers");
    account.sandbox.execution_is(&placed.broker_ref, "Cancelled").await;
    assert_eq!(ana.look(&placed.broker_ref).await, Ok(Some(Progress::Cancelled)));
}

#[tokio::test]
async fn a_request_nobody_answers_lapses() {
    let account = Account::open().await;
    let placed = account.ask(&account.ana()).await;
    account.sandbox.clock().advance(Duration::from_secs(3_601));
    account.sandbox.execution_is(&placed.broker_ref, "TimedOut").await;
    assert_eq!(account.ana().look(&placed.broker_ref).await, Ok(Some(Progress::Lapsed)));
}

#[tokio::test]
async fn a_grant_that_is_given_back_ends_at_once() {
    let account = Account::open().await;
    let ana = account.ana();
    let placed = account.ask(&ana).await;
    account.sandbox.approve("ben").expect("it waits");
    account.sandbox.policy_is_granted(&placed.broker_ref).await;
    ana.end(&placed.broker_ref).await.expect("it is hers");
    account.sandbox.execution_is(&placed.broker_ref, "Cancelled").await;
    assert_eq!(ana.look(&placed.broker_ref).await, Ok(Some(Progress::Ended { reason: EndReason::Revoked })));
    assert!(!account.sandbox.inline_policies().to_string().contains(&placed.broker_ref), "the policy is gone");
}

#[tokio::test]
async fn waiting_requests_are_listed_for_everybody_and_fetched_once() {
    let account = Account::open().await;
    let (ana, ben) = (account.ana(), account.ben());
    assert_eq!(ben.waiting().await, Ok(vec![]));
    let placed = account.ask(&ana).await;
    let seen = ben.waiting().await.expect("ben may look");
    let [review] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((review.broker_ref.as_str(), review.requester.as_str()), (placed.broker_ref.as_str(), "ana@acme.dev"));
    assert_eq!((review.target.as_str(), review.role.as_str()), ("orders-prod", "read-only"));
    assert_eq!((review.duration.as_str(), review.justification.as_str()), ("PT2M", "look into order 4711"));
    assert!(!review.own && ana.waiting().await.expect("ana may look")[0].own, "it is ana's own, not ben's");

    let fetches = || account.sandbox.calls().iter().filter(|call| call.operation == "GetAutomationExecution").count();
    let before = fetches();
    assert_eq!(ben.waiting().await, Ok(seen));
    assert_eq!(fetches(), before, "what is known is not fetched again");
    account.sandbox.approve("ben").expect("it waits");
    account.sandbox.policy_is_granted(&placed.broker_ref).await;
    assert_eq!(ben.waiting().await, Ok(vec![]));
}

#[tokio::test]
async fn the_second_answer_is_told_who_was_faster() {
    let account = Account::open().await;
    let placed = account.ask(&account.ana()).await;
    account.sandbox.approve("ben").expect("it waits");
    account.sandbox.policy_is_granted(&placed.broker_ref).await;
    let eva = account.as_person("eva", "JitRdsApprover");
    let late = eva.review(&placed.broker_ref, Decision::Deny, None).await.expect_err("ben was faster");
    let outcome = "approved by ben@acme.dev".into();
    assert_eq!(late, BrokerError::AnsweredAlready { broker_ref: placed.broker_ref, outcome });
}

#[tokio::test]
async fn nobody_approves_their_own_request() {
    let account = Account::open().await;
    let placed = account.ask(&account.as_person("eva", "JitRds")).await;
    let eva = account.as_person("eva", "JitRdsApprover");
    eva.review(&placed.broker_ref, Decision::Approve, None).await.expect("the step takes it, the next one does not");
    let mut watch = Watch::every(Duration::from_millis(20));
    let progress = loop {
        let progress = watch.next(|| eva.look(&placed.broker_ref)).await.expect("it can be read");
        if progress.is_final() {
            break progress;
        }
    };
    let Progress::Failed { cause } = progress else { panic!("{progress:?}") };
    assert!(cause.message.contains("plan"), "{}", cause.message);
}
