//! Secrets, read from an account that verifies every signature and decides by policies.

use aws::{AwsConfig, AwsError, ClockSkew, Credentials, SecretError, SecretStage, SecretsManager};
use model::{Engine, Region, WallTime};
use sandbox::{RotationStep, Sandbox, SandboxConfig, SecretFault};
use secrets::Secret;

const REPORT: &str = "daypass/orders-prod/report";

async fn account() -> (Sandbox, SecretsManager) {
    let config = SandboxConfig { with_postgres: false, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    let region = Region::new("eu-west-1").expect("a Region");
    let endpoint = sandbox.endpoint_url().parse().expect("a URL");
    let config = AwsConfig::new(region, Some(endpoint), ClockSkew::default()).expect("loopback is accepted");
    let given = sandbox.credentials("ana", "JitRds").expect("ana is a developer");
    let credentials = Credentials {
        access_key_id: Secret::new(given.access_key_id),
        secret_access_key: Secret::new(given.secret_access_key),
        session_token: Some(Secret::new(given.session_token)),
        expires_at: WallTime(given.expires_at),
    };
    let secrets = SecretsManager::new(&config, &credentials);
    (sandbox, secrets)
}

#[tokio::test]
async fn a_database_secret_is_read_at_each_stage() {
    let (sandbox, secrets) = account().await;
    let first = secrets.value(REPORT, SecretStage::Current).await.expect("ana may read it");
    assert_eq!((first.engine, first.username.as_str()), (Some(Engine::Postgres), "report"));
    assert_eq!(first.rds_identifier.as_deref(), Some("orders-prod"));
    assert_eq!(secrets.value(&first.arn, SecretStage::Current).await.as_ref(), Ok(&first), "by its ARN as well");
    sandbox.rotate(REPORT, RotationStep::CreateSecret).await.expect("the first step needs no database");
    let pending = secrets.value(REPORT, SecretStage::Pending).await.expect("a rotation is under way");
    assert_ne!((&pending.version_id, &pending.password), (&first.version_id, &first.password));
    sandbox.rotate(REPORT, RotationStep::FinishSecret).await.expect("the last step needs no database");
    assert_eq!(secrets.value(REPORT, SecretStage::Current).await, Ok(pending));
    assert_eq!(secrets.value(REPORT, SecretStage::Previous).await, Ok(first));
}

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    let (sandbox, secrets) = account().await;
    let refused = async |id: &str| secrets.value(id, SecretStage::Current).await.expect_err("it is refused");
    let unknown = refused("daypass/nowhere").await;
    assert_eq!(
        unknown,
        SecretError::Aws(AwsError::NotFound { what: "secret daypass/nowhere with a version AWSCURRENT".into() })
    );
    let hint = refused("restricted/orders-prod/payroll").await.view().hint;
    assert!(hint.contains("allow secretsmanager:GetSecretValue on arn:aws:secretsmanager:eu-west-1"), "{hint}");
    for (fault, expected) in [
        (SecretFault::DecryptionFailure, "whether the KMS key of the secret is enabled"),
        (SecretFault::InternalServiceError, "Try again in a few minutes"),
        (SecretFault::KmsDenied, "allow kms:Decrypt on the key of the secret daypass/orders-prod/report"),
        (SecretFault::MarkedForDeletion, "restore the secret"),
    ] {
        sandbox.set_secret_fault(REPORT, Some(fault));
        let hint = refused(REPORT).await.view().hint;
        assert!(hint.contains(expected), "{fault:?}: {hint}");
    }
    sandbox.set_secret_fault(REPORT, None);
    let hint = refused("").await.view().hint;
    assert!(hint.contains("Correct the name of the secret"), "{hint}");
    sandbox.throttle("GetSecretValue", 2);
    secrets.value(REPORT, SecretStage::Current).await.expect("it is asked again after a pause");
    sandbox.put_binary_secret(REPORT, &[0, 159, 146, 150]);
    assert!(matches!(refused(REPORT).await, SecretError::Binary { .. }));
}
