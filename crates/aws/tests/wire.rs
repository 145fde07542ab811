//! What goes over the wire, against a small AWS that answers as a test says.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws::{AwsConfig, AwsError, ClockSkew, Credentials, Ssm, Sts};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::{AccountId, Endpoint, Region, SessionDocument, WallTime};

/// What the small AWS was asked.
#[derive(Clone, Debug)]
struct Asked {
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Answer = (u16, &'static str, Option<SystemTime>);

/// Answers everything with what `answer` says of it: status, body and, if it is not now, the time on its clock.
async fn small_aws(
    answer: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<Asked>>>) {
    let journal = Arc::new(Mutex::new(Vec::new()));
    let asked = journal.clone();
    let app = axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let request = Asked { uri, headers, body: String::from_utf8_lossy(&body).into_owned() };
        let reply = respond(answer(&request));
        asked.lock().expect("no test panics while it holds the journal").push(request);
        std::future::ready(reply)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), journal)
}

fn respond((status, body, time): Answer) -> Response {
    let mut response = (StatusCode::from_u16(status).expect("a status"), body).into_response();
    let date = aws_smithy_types::DateTime::from(time.unwrap_or_else(SystemTime::now));
    let date = date.fmt(aws_smithy_types::date_time::Format::HttpDate).expect("a date");
    response.headers_mut().insert("date", HeaderValue::from_str(&date).expect("a date is a header"));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
    response
}

fn config(endpoint: &str) -> AwsConfig {
    let region = Region::new("eu-central-1").expect("a Region");
    AwsConfig::new(region, Some(endpoint.parse().expect("a URL")), ClockSkew::default()).expect("loopback is accepted")
}

fn credentials(valid_for: i64) -> Credentials {
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs())
        .expect("it fits until 292 billion");
    Credentials {
        access_key_id: "ASIAOURS".into(),
        secret_access_key: "ours".into(),
        session_token: Some("our-session".into()),
        expires_at: WallTime::from_unix_seconds(now + valid_for),
    }
}

const IDENTITY: &str = r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
    <Arn>arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev</Arn><UserId>AROA:ana</UserId><Account>111122223333</Account>
    </GetCallerIdentityResult></GetCallerIdentityResponse>"#;

#[test]
fn inherited_variables_choose_nothing() {
    const INNER: &str = "DAYPASS_TEST_INNER";
    if std::env::var_os(INNER).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(ask_who_we_are_in_a_hostile_environment());
    }
    let exe = std::env::current_exe().expect("the running test has a path");
    let mut command = std::process::Command::new(exe);
    command.args(["--exact", "inherited_variables_choose_nothing", "--nocapture"]).env(INNER, "1");
    for (name, value) in [
        ("AWS_PROFILE", "someone-elses"),
        ("AWS_ACCESS_KEY_ID", "AKIATHEIRS"),
        ("AWS_SECRET_ACCESS_KEY", "theirs"),
        ("AWS_SESSION_TOKEN", "their-session"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_CONFIG_FILE", "/nonexistent/config"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_CA_BUNDLE", "/nonexistent/ca.pem"),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ] {
        command.env(name, value);
    }
    let output = command.output().expect("the test can start itself");
    let text = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

async fn ask_who_we_are_in_a_hostile_environment() {
    let (endpoint, asked) = small_aws(|_| (200, IDENTITY, None)).await;
    let identity = Sts::new(&config(&endpoint)).caller_identity(&credentials(3_600)).await.expect("it answers");
    assert_eq!(identity.account, AccountId::new("111122223333").expect("12 digits"));
    let asked = asked.lock().expect("unpoisoned").pop().expect("it was asked");
    let authorization = asked.header("authorization");
    assert!(
        authorization.contains("Credential=ASIAOURS/") && authorization.contains("/eu-central-1/sts/"),
        "{authorization}"
    );
    assert_eq!(asked.header("x-amz-security-token"), "our-session");
    assert!(!format!("{:?}{}", asked.headers, asked.uri).to_lowercase().contains("theirs"), "{asked:?}");
    assert_eq!(asked.body, "Action=GetCallerIdentity&Version=2011-06-15");
}

/// AWS's clock is ten minutes ahead, and it refuses what was signed outside of five minutes around it.
fn ten_minutes_ahead(asked: &Asked) -> Answer {
    let aws = SystemTime::now() + Duration::from_secs(600);
    let signed = asked.header("x-amz-date").to_owned();
    let earliest = WallTime::from_unix_seconds(0) + (aws - Duration::from_secs(300)).elapsed_since_epoch();
    let earliest = earliest.0.strftime("%Y%m%dT%H%M%SZ").to_string();
    if signed < earliest {
        let refusal = r#"{"__type":"InvalidSignatureException","message":"Signature expired: 1 is now earlier than 2 (3 - 5 min.)"}"#;
        return (400, refusal, Some(aws));
    }
    (200, r#"{"SessionId":"ana-1","StreamUrl":"wss://ssmmessages.example/v1","TokenValue":"canary"}"#, Some(aws))
}

trait SinceEpoch {
    fn elapsed_since_epoch(self) -> Duration;
}

impl SinceEpoch for SystemTime {
    fn elapsed_since_epoch(self) -> Duration {
        self.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970")
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_once_and_remembered() {
    let (endpoint, asked) = small_aws(ten_minutes_ahead).await;
    let config = config(&endpoint);
    let ssm = Ssm::new(&config, &credentials(3_600));
    let database = Endpoint { host: "orders.rds.amazonaws.com".into(), port: 5432 };
    for calls in [2, 3] {
        let session = ssm
            .start_session("i-1", &SessionDocument::RemoteHost, &database, "orders-prod")
            .await
            .expect("signed again by AWS's clock");
        assert_eq!(session.session_id, "ana-1");
        assert_eq!(asked.lock().expect("unpoisoned").len(), calls, "only the first call is sent twice");
    }
    assert!((598..=602).contains(&config.skew().seconds()), "{}", config.skew().seconds());
    let body: serde_json::Value = serde_json::from_str(&asked.lock().expect("unpoisoned")[2].body).expect("JSON 1.1");
    assert_eq!(body["Parameters"]["portNumber"][0], "5432");
    assert_eq!(body["DocumentName"], "AWS-StartPortForwardingSessionToRemoteHost");
}

#[tokio::test]
async fn the_clock_can_be_measured_without_credentials() {
    let (endpoint, asked) = small_aws(|_| (403, "", Some(SystemTime::now() - Duration::from_secs(7_200)))).await;
    let measured = aws::measure(&config(&endpoint)).await.expect("any answer will do");
    assert!((-7_202..=-7_198).contains(&measured), "{measured}");
    assert_eq!(asked.lock().expect("unpoisoned")[0].header("authorization"), "");
}

#[tokio::test]
async fn expired_credentials_are_told_before_anything_is_sent() {
    let (endpoint, asked) = small_aws(|_| (200, IDENTITY, None)).await;
    let error = Sts::new(&config(&endpoint)).caller_identity(&credentials(-1)).await.expect_err("they ended");
    assert!(matches!(error, AwsError::CredentialsExpired { .. }), "{error}");
    assert!(asked.lock().expect("unpoisoned").is_empty());
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_names_the_endpoint() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let error = Sts::new(&config(&endpoint)).caller_identity(&credentials(60)).await.expect_err("nobody listens");
    assert!(matches!(&error, AwsError::Unreachable { endpoint: named, .. } if named.starts_with(&endpoint)), "{error}");
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_page_of_a_proxy_is_not_taken_for_an_answer() {
    let (endpoint, _) = small_aws(|_| (200, "<html>Please sign in to the guest network</html>", None)).await;
    let ssm = Ssm::new(&config(&endpoint), &credentials(60));
    let error = ssm.resume_session("ana-1").await.expect_err("HTML is no JSON");
    assert!(matches!(error, AwsError::WrongAnswer { .. }), "{error}");
}

#[tokio::test]
async fn no_error_and_no_debug_output_shows_a_secret() {
    let (endpoint, _) = small_aws(ten_minutes_ahead).await;
    let ssm = Ssm::new(&config(&endpoint), &credentials(60));
    let database = Endpoint { host: "orders.rds.amazonaws.com".into(), port: 5432 };
    let session =
        ssm.start_session("i-1", &SessionDocument::RemoteHost, &database, "orders-prod").await.expect("it answers");
    let text = format!("{session:?} {:?} {ssm:?}", credentials(60));
    for secret in ["canary", "our-session", "\"ours\""] {
        assert!(!text.contains(secret), "{text}");
    }
}
