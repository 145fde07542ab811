//! AWS's own SDK, as this crate uses it, against an account that verifies every signature.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::{
    AssumedRole, Automation, AwsConfig, AwsError, Bastions, ClockSkew, Credentials, ExecutionStatus, Rds, Ssm, Sts,
};
use jiff::SignedDuration;
use model::{Bastion, EcsTasks, Endpoint, Region, SessionDocument, WallTime};
use sandbox::{Sandbox, SandboxConfig, Service};
use secrets::Secret;

const ROLE: &str = "arn:aws:iam::111122223333:role/JitRds";
const BASTION: &str = "i-0da7a9a55ba5710e1";
const OFFLINE: &str = "i-0da7a9a55ba5710e2";
const TASK: &str = "7c1d4a0e9b3f4e52a6d8b0c2e4f60718";
const HOUR: Duration = Duration::from_secs(3_600);

async fn account(config: SandboxConfig) -> (Sandbox, AwsConfig) {
    let sandbox = Sandbox::start(SandboxConfig { with_postgres: false, ..config }).await.expect("a sandbox");
    let region = Region::new("eu-west-1").expect("a Region");
    let endpoint = sandbox.endpoint_url().parse().expect("a URL");
    let config = AwsConfig::new(region, Some(endpoint), ClockSkew::default()).expect("loopback is accepted");
    (sandbox, config)
}

fn ana(sandbox: &Sandbox) -> Credentials {
    let given = sandbox.credentials("ana", "JitRds").expect("ana is a developer");
    Credentials {
        access_key_id: Secret::new(given.access_key_id),
        secret_access_key: Secret::new(given.secret_access_key),
        session_token: Some(Secret::new(given.session_token)),
        expires_at: WallTime(given.expires_at),
    }
}

async fn assume(sandbox: &Sandbox, config: &AwsConfig, who: &str, session_name: &str) -> Result<AssumedRole, AwsError> {
    let id_token = Secret::new(sandbox.id_token(who).expect("a person of the account"));
    Sts::new(config).assume_role_with_web_identity(ROLE, session_name, &id_token, HOUR).await
}

fn orders() -> Endpoint {
    Endpoint { host: "orders-prod.c9daypass0.eu-west-1.rds.amazonaws.com".into(), port: 5432 }
}

#[tokio::test]
async fn an_id_token_becomes_credentials_that_name_the_person() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let role = assume(&sandbox, &config, "ana", "ana@acme.dev").await.expect("ana is trusted");
    assert_eq!(role.arn, "arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev");
    let identity = Sts::new(&config).caller_identity(&role.credentials).await.expect("the credentials work");
    assert_eq!((identity.arn, identity.account), (role.arn, role.account));
    let left = config.skew().now().until(role.credentials.expires_at);
    assert!((3_590..=3_600).contains(&left.as_secs()), "{left:?}");
}

#[tokio::test]
async fn a_trust_policy_that_refuses_is_told_as_such() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    for (who, session_name) in [("ana", "eva@acme.dev"), ("ben", "ben@acme.dev")] {
        let error = assume(&sandbox, &config, who, session_name).await.expect_err("not trusted");
        assert!(matches!(error, AwsError::NotAuthorized { .. }), "{who} as {session_name}: {error}");
    }
}

#[tokio::test]
async fn an_id_token_that_is_forged_or_old_is_refused() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let token = sandbox.id_token("ana").expect("ana works here");
    let (body, _) = token.rsplit_once('.').expect("a JWT has three parts");
    let forged = Secret::new(format!("{body}.{}", "A".repeat(86)));
    let error = Sts::new(&config).assume_role_with_web_identity(ROLE, "ana@acme.dev", &forged, HOUR).await;
    assert!(
        matches!(error, Err(AwsError::Rejected { ref code, .. }) if code.starts_with("InvalidIdentityToken")),
        "{error:?}"
    );
    sandbox.clock().advance(Duration::from_secs(48 * 3_600));
    let old = Sts::new(&config).assume_role_with_web_identity(ROLE, "ana@acme.dev", &Secret::new(token), HOUR).await;
    assert!(matches!(old, Err(AwsError::CredentialsExpired { .. })), "{old:?}");
}

#[tokio::test]
async fn a_session_is_started_listed_resumed_and_ended() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let ssm = Ssm::new(&config, &ana(&sandbox));
    let session =
        ssm.start_session(BASTION, &SessionDocument::RemoteHost, &orders(), "orders-prod").await.expect("ana may");
    assert!(session.stream_url.contains(&session.session_id), "{}", session.stream_url);

    let owner = "arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev";
    let open = ssm.open_sessions(owner).await.expect("ana may look");
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].session_id.as_str(), open[0].target.as_str()), (session.session_id.as_str(), BASTION));
    assert_eq!(open[0].reason.as_deref(), Some("orders-prod"));

    let resumed = ssm.resume_session(&session.session_id).await.expect("ana may").expect("it is open");
    assert_eq!(resumed.session_id, session.session_id);
    for _ in 0..2 {
        ssm.terminate_session(&session.session_id).await.expect("ending twice is fine");
    }
    assert_eq!(ssm.open_sessions(owner).await, Ok(vec![]));
    assert!(ssm.resume_session(&session.session_id).await.expect("an answer").is_none(), "it has ended");
}

#[tokio::test]
async fn a_bastion_that_is_offline_or_forbidden_is_named() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let ssm = Ssm::new(&config, &ana(&sandbox));
    let offline =
        ssm.start_session(OFFLINE, &SessionDocument::RemoteHost, &orders(), "orders-prod").await.expect_err("offline");
    assert_eq!(offline, AwsError::TargetNotConnected { target: OFFLINE.into() });
    let forbidden = ssm
        .start_session("i-00000000000000000", &SessionDocument::RemoteHost, &orders(), "orders-prod")
        .await
        .expect_err("not hers");
    let AwsError::NotAuthorized { action, resource, .. } = forbidden else { panic!("{forbidden}") };
    assert_eq!(action.as_deref(), Some("ssm:StartSession"));
    assert_eq!(resource.as_deref(), Some("arn:aws:ec2:eu-west-1:111122223333:instance/i-00000000000000000"));
}

#[tokio::test]
async fn a_bastion_is_found_by_id_and_by_tag() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let bastions = Bastions::new(&config, &ana(&sandbox));
    let tag = |value: &str| Bastion::Tag { key: "daypass-bastion".into(), value: value.into() };
    for (bastion, instance, online) in [
        (Bastion::Instance(BASTION.into()), BASTION, true),
        (Bastion::Instance(OFFLINE.into()), OFFLINE, false),
        (tag("true"), BASTION, true),
        (tag("archive"), OFFLINE, false),
    ] {
        let found = bastions.in_order(&bastion, "ana").await.expect("it is managed");
        assert_eq!((found[0].node.as_str(), found[0].offline.is_none()), (instance, online));
        assert!(found[0].agent_version.is_some());
    }
    for nobody in [tag("no"), Bastion::Instance("i-00000000000000000".into())] {
        assert!(matches!(bastions.in_order(&nobody, "ana").await, Err(AwsError::NotFound { .. })), "{nobody:?}");
    }
    assert_eq!(bastions.in_order(&Bastion::Direct { at: None }, "ana").await, Ok(vec![]));
}

#[tokio::test]
async fn of_several_bastions_those_online_come_first_in_an_order_that_stays() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let bastions = Bastions::new(&config, &ana(&sandbox));
    let pool = Bastion::Tag { key: "daypass-pool".into(), value: "shared".into() };
    let mut firsts = std::collections::BTreeSet::new();
    for who in ["ana", "eva", "kim", "lou", "max", "noa", "sam", "uma"] {
        let found = bastions.in_order(&pool, who).await.expect("they are managed");
        let again = bastions.in_order(&pool, who).await.expect("they are managed");
        assert_eq!(found, again, "{who} meets the same one each time");
        assert_eq!(found.iter().map(|status| status.offline.is_none()).collect::<Vec<_>>(), [true, true, false]);
        assert!(found[2].offline.as_deref().is_some_and(|why| why.contains("ConnectionLost, last heard of at")));
        firsts.insert(found[0].node.clone());
    }
    assert_eq!(firsts.len(), 2, "both carry somebody");
}

#[tokio::test]
async fn a_task_is_found_by_service_family_and_id_and_says_why_it_cannot_carry_a_session() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let credentials = ana(&sandbox);
    let bastions = Bastions::new(&config, &credentials);
    let of = |cluster: &str, tasks| Bastion::Ecs { cluster: cluster.into(), tasks, container: None };
    let service = |name: &str| EcsTasks::Service(name.into());
    for tasks in [service("daypass-bastion"), EcsTasks::Family("daypass-bastion".into()), EcsTasks::Task(TASK.into())] {
        let found = bastions.in_order(&of("tools", tasks), "ana").await.expect("it runs");
        let expected = format!("ecs:tools_{TASK}_{TASK}-2531612879");
        assert_eq!((found[0].node.as_str(), &found[0].offline), (expected.as_str(), &None));
        let ssm = Ssm::new(&config, &credentials);
        ssm.start_session(&expected, &SessionDocument::RemoteHost, &orders(), "orders-prod").await.expect("ana may");
    }
    for nobody in [of("tools", service("nobody")), of("nowhere", service("daypass-bastion"))] {
        assert!(matches!(bastions.in_order(&nobody, "ana").await, Err(AwsError::NotFound { .. })), "{nobody:?}");
    }
    sandbox.set_task(TASK, "RUNNING", "STOPPED");
    let stopped = bastions.in_order(&of("tools", service("daypass-bastion")), "ana").await.expect("it is there");
    assert_eq!(stopped[0].offline.as_deref(), Some("the ECS Exec agent in `bastion` is STOPPED"));
}

#[tokio::test]
async fn questions_to_ecs_are_signed_by_awss_clock_and_asked_again() {
    let offset = SignedDuration::from_mins(20);
    let (sandbox, config) = account(SandboxConfig { clock_offset: offset, ..SandboxConfig::default() }).await;
    let bastions = Bastions::new(&config, &ana(&sandbox));
    let task = Bastion::Ecs { cluster: "tools".into(), tasks: EcsTasks::Task(TASK.into()), container: None };
    bastions.in_order(&task, "ana").await.expect("signed again by AWS's clock");
    sandbox.throttle("DescribeTasks", 1);
    bastions.in_order(&task, "ana").await.expect("asked again after a moment");
    sandbox.throttle("DescribeTasks", 9);
    let throttled = bastions.in_order(&task, "ana").await.expect_err("throttled all the way");
    assert!(matches!(throttled, AwsError::Throttled { .. }), "{throttled}");
}

#[tokio::test]
async fn each_session_document_leads_a_session() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let ssm = Ssm::new(&config, &ana(&sandbox));
    let custom = |parameters: &[(&str, &str)]| SessionDocument::Custom {
        name: "Acme-BillingTunnel".into(),
        parameters: parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    };
    for document in [
        SessionDocument::RemoteHost,
        SessionDocument::PlainPort { port: Some(6432) },
        custom(&[("team", "payments"), ("portNumber", "{port}")]),
    ] {
        ssm.start_session(BASTION, &document, &orders(), "orders-prod").await.expect("ana may");
    }
    let missing = ssm.start_session(BASTION, &custom(&[]), &orders(), "orders-prod").await.expect_err("no team");
    assert!(missing.to_string().contains("Missing required parameter: team"), "{missing}");
    let unknown = SessionDocument::Custom { name: "Acme-Other".into(), parameters: BTreeMap::new() };
    let refused = ssm.start_session(BASTION, &unknown, &orders(), "orders-prod").await.expect_err("not allowed");
    assert!(
        matches!(&refused, AwsError::NotAuthorized { resource: Some(arn), .. } if arn.ends_with("/Acme-Other")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_database_is_an_instance_or_a_cluster() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let rds = Rds::new(&config, &ana(&sandbox));
    let orders_prod = rds.database("orders-prod").await.expect("an instance");
    assert_eq!(orders_prod.endpoint, Some(orders()));
    assert!(orders_prod.resource_id.starts_with("db-") && orders_prod.iam_authentication);
    let ledger = rds.database("ledger-prod").await.expect("a cluster");
    assert!(ledger.resource_id.starts_with("cluster-") && ledger.engine.starts_with("aurora"), "{ledger:?}");
    assert_eq!(rds.database("nothing").await, Err(AwsError::NotFound { what: "database nothing".into() }));
}

fn asked(duration: &str) -> BTreeMap<String, String> {
    let pairs =
        [("Database", "orders-prod"), ("Access", "read-only"), ("Duration", duration), ("Justification", "a test")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[tokio::test]
async fn a_runbook_is_started_once_however_often_it_is_asked() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let automation = Automation::new(&config, &ana(&sandbox));
    let token = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    let parameters = asked("PT2M");
    let start = || automation.start("Daypass-TemporaryAccess", &parameters, token);
    let id = start().await.expect("ana may ask");
    assert_eq!(start().await, Ok(id.clone()));

    let execution = automation.execution(&id).await.expect("ana may look");
    assert_eq!(execution.executed_by.as_deref(), Some("arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev"));
    assert_eq!(execution.parameters["Database"], ["orders-prod"]);
    let listed =
        automation.list("Daypass-", &[ExecutionStatus::Waiting, ExecutionStatus::InProgress]).await.expect("ana may");
    assert_eq!(listed.iter().map(|listed| listed.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    for _ in 0..2 {
        automation.stop(&id).await.expect("stopping twice is fine");
        sandbox.execution_is(&id, "Cancelled").await;
    }
    assert!(automation.execution(&id).await.expect("it is kept").status.is_final());
}

#[tokio::test]
async fn a_runbook_that_is_unknown_or_refuses_is_told_as_such() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let automation = Automation::new(&config, &ana(&sandbox));
    let token = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    let refused =
        automation.start("Daypass-TemporaryAccess", &asked("PT3M"), token).await.expect_err("not a duration of it");
    assert!(
        matches!(&refused, AwsError::Rejected { code, .. } if code.starts_with("InvalidAutomationExecutionParameters")),
        "{refused}"
    );
    let unknown = automation.start("Daypass-Other", &asked("PT2M"), token).await.expect_err("no such runbook");
    assert!(matches!(unknown, AwsError::NotAuthorized { .. } | AwsError::NotFound { .. }), "{unknown}");
    let nothing = automation.execution("00000000-0000-0000-0000-000000000000").await.expect_err("no such execution");
    assert!(matches!(nothing, AwsError::NotFound { .. }), "{nothing}");
}

#[tokio::test]
async fn a_clock_that_is_off_either_way_does_not_keep_anybody_out() {
    for minutes in [20, -20] {
        let offset = SignedDuration::from_mins(minutes);
        let (sandbox, config) = account(SandboxConfig { clock_offset: offset, ..SandboxConfig::default() }).await;
        let credentials = ana(&sandbox);
        let ssm = Ssm::new(&config, &credentials);
        ssm.start_session(BASTION, &SessionDocument::RemoteHost, &orders(), "orders-prod")
            .await
            .expect("signed by AWS's clock");
        let measured = i64::from(config.skew().seconds());
        assert!((measured - minutes * 60).abs() <= 2, "{measured} s instead of {minutes} min");
        assert_eq!(sandbox.calls().iter().filter(|call| call.error.is_none()).count(), 1, "one session was started");
    }
}

#[tokio::test]
async fn throttling_is_waited_out_and_then_told() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let credentials = ana(&sandbox);
    let sts = Sts::new(&config);
    sandbox.throttle("GetCallerIdentity", 1);
    sts.caller_identity(&credentials).await.expect("the second attempt is served");
    sandbox.throttle("GetCallerIdentity", 9);
    let error = sts.caller_identity(&credentials).await.expect_err("throttled all the way");
    assert!(matches!(error, AwsError::Throttled { .. }) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn an_outage_of_aws_is_transient() {
    let (sandbox, config) = account(SandboxConfig::default()).await;
    let credentials = ana(&sandbox);
    sandbox.stop_service(Service::Sts);
    let error = Sts::new(&config).caller_identity(&credentials).await.expect_err("STS is down");
    assert!(error.is_transient(), "{error}");
}
