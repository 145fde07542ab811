//! What is believed and what is not.

use jiff::SignedDuration;
use sandbox::SandboxConfig;
use serde_json::json;

use super::client::{Client, account, account_with};

const IDENTITY: &str = "GetCallerIdentity";

#[tokio::test]
async fn a_call_signed_by_awss_own_signer_is_believed_in_both_protocols() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let who = ana.sts(IDENTITY, &[]).await;
    assert_eq!(who.xml("Arn"), "arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev");
    assert_eq!(who.xml("Account"), "111122223333");
    assert!(who.xml("UserId").ends_with(":ana@acme.dev"), "aws:userid carries the session name");
    let nodes = ana.ssm("DescribeInstanceInformation", json!({})).await;
    assert_eq!(nodes.status, 200, "{}", nodes.body);
}

#[tokio::test]
async fn a_body_changed_on_the_way_is_not_believed() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AmazonSSM.DescribeSessions")];
    let (signed, sent) = (json!({ "State": "Active" }).to_string(), json!({ "State": "History" }).to_string());
    let (code, text) = ana.request("ssm", &headers, signed, sent).await.error();
    assert_eq!(code, "InvalidSignatureException");
    assert!(text.starts_with("The request signature we calculated does not match"), "{text}");
}

#[tokio::test]
async fn a_wrong_secret_key_id_or_session_token_is_told_apart_as_aws_does() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");

    let mut wrong_secret = ana.clone();
    wrong_secret.credentials.secret_access_key.push('x');
    assert_eq!(wrong_secret.sts(IDENTITY, &[]).await.error().0, "SignatureDoesNotMatch");

    let mut unknown_key = ana.clone();
    unknown_key.credentials.access_key_id = "ASIAAAAAAAAAAAAAAAAA".into();
    assert_eq!(unknown_key.sts(IDENTITY, &[]).await.error().0, "InvalidClientTokenId");
    assert_eq!(unknown_key.ssm("DescribeSessions", json!({})).await.error().0, "UnrecognizedClientException");

    let mut cut_token = ana.clone();
    cut_token.credentials.session_token.truncate(256);
    assert_eq!(cut_token.ssm("DescribeSessions", json!({})).await.error().0, "UnrecognizedClientException");
}

#[tokio::test]
async fn a_clock_off_by_ten_minutes_is_named_with_both_times() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let late = ana.clone().off_by(SignedDuration::from_mins(-10));
    let (code, text) = late.sts(IDENTITY, &[]).await.error();
    assert_eq!(code, "SignatureDoesNotMatch");
    assert!(text.starts_with("Signature expired: ") && text.ends_with(" - 5 min.)"), "{text}");

    let early = ana.clone().off_by(SignedDuration::from_mins(10));
    let (code, text) = early.ssm("DescribeSessions", json!({})).await.error();
    assert_eq!(code, "InvalidSignatureException");
    assert!(text.starts_with("Signature not yet current: ") && text.ends_with(" + 5 min.)"), "{text}");

    assert_eq!(
        ana.off_by(SignedDuration::from_mins(4)).sts(IDENTITY, &[]).await.status,
        200,
        "5 minutes are tolerated"
    );
}

#[tokio::test]
async fn every_answer_carries_the_sandboxs_time() {
    let offset = SignedDuration::from_hours(-24);
    let sandbox = account_with(SandboxConfig { clock_offset: offset, ..SandboxConfig::default() }).await;
    let answer = Client::new(&sandbox, "ana", "JitRds").sts(IDENTITY, &[]).await;
    let day = sandbox.clock().now().strftime("%a, %d %b %Y ").to_string();
    assert!(answer.date.starts_with(&day) && answer.date.ends_with(" GMT"), "{} is not on {day}", answer.date);
    let refused = reqwest::get(sandbox.endpoint_url()).await.expect("an answer");
    assert_eq!(refused.status(), 403, "an unsigned call is refused, and still tells the time");
    let issuer = reqwest::get(format!("{}/jwks", sandbox.issuer_url())).await.expect("an answer");
    for response in [refused, issuer] {
        let date = response.headers().get("date").expect("a Date header").to_str().expect("ASCII").to_owned();
        assert!(date.starts_with(&day), "{date} is not on {day}");
    }
}

#[tokio::test]
async fn credentials_end_on_the_sandboxs_clock() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    sandbox.clock().advance(std::time::Duration::from_secs(3601));
    let later = ana.off_by(SignedDuration::from_secs(3601));
    assert_eq!(later.sts(IDENTITY, &[]).await.error().0, "ExpiredToken");
    let (code, text) = later.ssm("DescribeSessions", json!({})).await.error();
    assert_eq!(code, "ExpiredTokenException");
    assert_eq!(text, "The security token included in the request is expired");
}

#[tokio::test]
async fn a_signature_for_another_region_or_service_is_refused() {
    let sandbox = account().await;
    let elsewhere = Client { region: "eu-central-1", ..Client::new(&sandbox, "ana", "JitRds") };
    let (code, text) = elsewhere.sts(IDENTITY, &[]).await.error();
    assert_eq!(code, "SignatureDoesNotMatch");
    assert!(text.contains("valid region"), "{text}");
    let other = Client { service: Some("rds"), ..Client::new(&sandbox, "ana", "JitRds") };
    assert!(other.ssm("DescribeSessions", json!({})).await.error().1.contains("correct service: 'ssm'"));
}

#[tokio::test]
async fn two_sandboxes_of_one_seed_make_up_the_same_keys() {
    let (one, two) = (account().await, account().await);
    let other = account_with(SandboxConfig { seed: 2, ..SandboxConfig::default() }).await;
    reqwest::get(one.endpoint_url()).await.expect("a call more or less does not change what is made up");
    let key = |sandbox: &sandbox::Sandbox| sandbox.credentials("ana", "JitRds").expect("ana may").secret_access_key;
    let (first, second, third) = (key(&one), key(&two), key(&other));
    assert_eq!(first, second);
    assert_ne!(first, third);
}

#[tokio::test]
async fn an_account_that_is_gone_answers_nobody_not_even_on_an_open_connection() {
    let sandbox = account().await;
    let (endpoint, issuer) = (sandbox.endpoint_url().to_owned(), format!("{}/jwks", sandbox.issuer_url()));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for url in [&endpoint, &issuer] {
        client.get(url).send().await.expect("it answers while it is there").bytes().await.expect("to the end");
    }
    drop(sandbox);
    let silent = async {
        for url in [&endpoint, &issuer] {
            while client.get(url).send().await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), silent).await.expect("both end");
}
