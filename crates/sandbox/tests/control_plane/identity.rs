//! From an IdToken to credentials.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox::{Sandbox, Service};

use super::client::{Client, account, assume_with_web_identity};

fn token(sandbox: &Sandbox, who: &str) -> String {
    sandbox.id_token(who).expect("a person of the account")
}

async fn refusal(sandbox: &Sandbox, role: &str, session: &str, token: &str) -> (String, String) {
    assume_with_web_identity(sandbox, role, session, token).await.error()
}

#[tokio::test]
async fn an_id_token_becomes_credentials_that_work() {
    let sandbox = account().await;
    let answer = assume_with_web_identity(&sandbox, "JitRds", "ana@acme.dev", &token(&sandbox, "ana")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.xml("Audience"), "daypass");
    let mut client = Client::new(&sandbox, "ben", "JitRdsApprover");
    client.credentials.access_key_id = answer.xml("AccessKeyId").into();
    client.credentials.secret_access_key = answer.xml("SecretAccessKey").into();
    client.credentials.session_token = answer.xml("SessionToken").into();
    let who = client.sts("GetCallerIdentity", &[]).await;
    assert_eq!(who.xml("Arn"), "arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev");
}

#[tokio::test]
async fn the_trust_policy_decides_who_gets_which_role_under_which_name() {
    let sandbox = account().await;
    let ana = token(&sandbox, "ana");
    let expected = ("AccessDenied".to_owned(), "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned());
    for (role, session) in
        [("JitRdsApprover", "ana@acme.dev"), ("JitRds", "ben@acme.dev"), ("NoSuchRole", "ana@acme.dev")]
    {
        assert_eq!(refusal(&sandbox, role, session, &ana).await, expected, "{role} as {session}");
    }
}

#[tokio::test]
async fn an_id_token_that_is_late_changed_or_foreign_is_refused_as_sts_words_it() {
    let sandbox = account().await;
    let ana = token(&sandbox, "ana");
    let (head, rest) = ana.split_once('.').expect("three parts");
    let (claims, signature) = rest.split_once('.').expect("three parts");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let changed = |from: &str, to: &str| {
        let claims = String::from_utf8(claims.clone()).expect("JSON").replace(from, to);
        format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims))
    };
    let cases = [
        (changed("acme|1001", "acme|1002"), "InvalidIdentityToken", "Couldn't retrieve verification key"),
        (
            changed(sandbox.issuer_url(), "https://login.evil.example"),
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://login.evil.example",
        ),
        ("not.a.jwt".into(), "InvalidIdentityToken", "The ID Token provided is not a valid JWT"),
    ];
    for (token, code, text) in cases {
        let refused = refusal(&sandbox, "JitRds", "ana@acme.dev", &token).await;
        assert!(refused.0 == code && refused.1.starts_with(text), "{refused:?}");
    }
    sandbox.clock().advance(Duration::from_secs(3600));
    let late = refusal(&sandbox, "JitRds", "ana@acme.dev", &ana).await;
    assert!(late.0 == "ExpiredTokenException" && late.1.starts_with("Token expired: "), "{late:?}");
}

#[tokio::test]
async fn a_token_cannot_be_checked_while_the_identity_provider_is_down() {
    let sandbox = account().await;
    let ana = token(&sandbox, "ana");
    sandbox.stop_service(Service::Oidc);
    assert_eq!(refusal(&sandbox, "JitRds", "ana@acme.dev", &ana).await.0, "IDPCommunicationError");
    let down = reqwest::get(format!("{}/.well-known/openid-configuration", sandbox.issuer_url())).await;
    assert_eq!(down.expect("an answer").status(), 503);
    sandbox.restart_service(Service::Oidc);
    assert_eq!(assume_with_web_identity(&sandbox, "JitRds", "ana@acme.dev", &ana).await.status, 200);
}

#[tokio::test]
async fn a_chained_role_lasts_an_hour_at_most_and_only_reads() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let reader = "arn:aws:iam::111122223333:role/JitRdsReader";
    let fields = |seconds| [("RoleArn", reader), ("RoleSessionName", "ana@acme.dev"), ("DurationSeconds", seconds)];
    let (code, _) = ana.sts("AssumeRole", &fields("7200")).await.error();
    assert_eq!(code, "ValidationError");
    let assumed = ana.sts("AssumeRole", &fields("3600")).await;
    assert_eq!(assumed.xml("Arn"), "arn:aws:sts::111122223333:assumed-role/JitRdsReader/ana@acme.dev");
    let approvers = [("RoleArn", "arn:aws:iam::111122223333:role/JitRdsApprover"), ("RoleSessionName", "ana@acme.dev")];
    let (code, text) = ana.sts("AssumeRole", &approvers).await.error();
    assert_eq!(code, "AccessDenied");
    assert!(text.contains("is not authorized to perform: sts:AssumeRole on resource: "), "{text}");
}

#[tokio::test]
async fn session_names_and_durations_are_checked_as_sts_does() {
    let sandbox = account().await;
    let ana = token(&sandbox, "ana");
    assert_eq!(refusal(&sandbox, "JitRds", "ana alves", &ana).await.0, "ValidationError");
    let journal = sandbox.calls();
    let call = journal.last().expect("the call was noted");
    assert_eq!((call.operation.as_str(), call.caller.as_deref()), ("AssumeRoleWithWebIdentity", None));
    assert!(!call.input.to_string().contains(&ana), "the journal keeps no IdToken");
}
