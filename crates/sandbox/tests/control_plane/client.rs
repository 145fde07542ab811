//! A client that signs with AWS's own signer.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use jiff::SignedDuration;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sandbox::{Sandbox, SandboxConfig, TemporaryCredentials};
use serde_json::Value;

pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const BASTION: &str = "i-0da7a9a55ba5710e1";

/// An account without databases.
pub(crate) async fn account() -> Sandbox {
    account_with(SandboxConfig::default()).await
}

pub(crate) async fn account_with(config: SandboxConfig) -> Sandbox {
    let config = SandboxConfig { with_postgres: false, ..config };
    Sandbox::start(config).await.expect("loopback ports are free")
}

/// What a service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) date: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// The text of the first element of this name.
    pub(crate) fn xml(&self, element: &str) -> &str {
        let (_, after) =
            self.body.split_once(&format!("<{element}>")).unwrap_or_else(|| panic!("no {element} in {}", self.body));
        after.split_once("</").expect("elements are closed").0
    }

    /// The error's code and text, whichever the protocol.
    pub(crate) fn error(&self) -> (String, String) {
        assert!(self.status >= 400, "an error was expected: {}", self.body);
        match serde_json::from_str::<Value>(&self.body) {
            Ok(json) => {
                let text = json.get("Message").or_else(|| json.get("message")).cloned().unwrap_or_default();
                (json["__type"].as_str().unwrap_or_default().into(), text.as_str().unwrap_or_default().into())
            }
            Err(_) => (self.xml("Code").into(), self.xml("Message").into()),
        }
    }
}

/// Somebody with credentials and a clock of their own.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) endpoint: String,
    pub(crate) credentials: TemporaryCredentials,
    pub(crate) region: &'static str,
    pub(crate) service: Option<&'static str>,
    pub(crate) now: SystemTime,
}

impl Client {
    /// `who` in `role`, with a clock that agrees with the sandbox's.
    pub(crate) fn new(sandbox: &Sandbox, who: &str, role: &str) -> Self {
        Self {
            endpoint: sandbox.endpoint_url().to_owned(),
            credentials: sandbox.credentials(who, role).expect("a person and a role of the account"),
            region: REGION,
            service: None,
            now: sandbox.clock().now().into(),
        }
    }

    /// With a clock that is off by this much.
    pub(crate) fn off_by(mut self, by: SignedDuration) -> Self {
        let by_std = by.unsigned_abs();
        self.now = if by.is_negative() { self.now - by_std } else { self.now + by_std };
        self
    }

    /// A call to Systems Manager.
    pub(crate) async fn ssm(&self, operation: &str, input: Value) -> Answer {
        self.json("ssm", &format!("AmazonSSM.{operation}"), input).await
    }

    pub(crate) async fn ecs(&self, operation: &str, input: Value) -> Answer {
        self.json("ecs", &format!("AmazonEC2ContainerServiceV20141113.{operation}"), input).await
    }

    /// A JSON 1.1 call.
    async fn json(&self, service: &'static str, target: &str, input: Value) -> Answer {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        self.send(service, &headers, input.to_string()).await
    }

    pub(crate) async fn secrets(&self, operation: &str, input: Value) -> Answer {
        self.json("secretsmanager", &format!("secretsmanager.{operation}"), input).await
    }

    pub(crate) async fn sts(&self, operation: &str, fields: &[(&str, &str)]) -> Answer {
        self.query("sts", "2011-06-15", operation, fields).await
    }

    pub(crate) async fn rds(&self, operation: &str, fields: &[(&str, &str)]) -> Answer {
        self.query("rds", "2014-10-31", operation, fields).await
    }

    async fn query(&self, service: &'static str, version: &str, operation: &str, fields: &[(&str, &str)]) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(service, &headers, form(operation, version, fields)).await
    }

    async fn send(&self, service: &'static str, headers: &[(&str, &str)], body: String) -> Answer {
        self.request(service, headers, body.clone(), body).await
    }

    /// Signs one body and sends another.
    pub(crate) async fn request(
        &self,
        service: &'static str,
        headers: &[(&str, &str)],
        signed: String,
        sent: String,
    ) -> Answer {
        let url = format!("{}/", self.endpoint);
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        let all: Vec<(&str, &str)> = headers.iter().copied().chain([("host", host)]).collect();
        let request = SignableRequest::new("POST", &url, all.into_iter(), SignableBody::Bytes(signed.as_bytes()));
        let identity = self.identity();
        let parameters = self.parameters(&identity, self.service.unwrap_or(service), SigningSettings::default());
        let output = sign(request.expect("a request that can be signed"), &parameters).expect("it can be signed");
        let mut post = reqwest::Client::builder().no_proxy().build().expect("a client").post(&url).body(sent);
        for (name, value) in headers {
            post = post.header(*name, *value);
        }
        for (name, value) in output.output().headers() {
            post = post.header(name, value);
        }
        answer(post).await
    }

    /// A token to log in to the PostgreSQL at `host` as `user`.
    pub(crate) fn db_auth_token(&self, host: &str, user: &str) -> String {
        self.db_auth_token_at(&format!("{host}:5432"), user)
    }

    /// A token to log in at `endpoint` (`host:port`) as `user`.
    pub(crate) fn db_auth_token_at(&self, endpoint: &str, user: &str) -> String {
        let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
        let login = format!("{endpoint}/?Action=connect&DBUser={user}");
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(Duration::from_secs(900));
        settings.signature_location = SignatureLocation::QueryParams;
        let url = format!("https://{login}");
        let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]));
        let identity = self.identity();
        let parameters = self.parameters(&identity, self.service.unwrap_or("rds-db"), settings);
        let output = sign(request.expect("a URL that can be signed"), &parameters).expect("it can be signed");
        let fields = output.output().params().iter();
        let fields = fields.map(|(name, value)| format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        fields.fold(login, |token, field| token + &field)
    }

    fn identity(&self) -> Identity {
        let TemporaryCredentials { access_key_id, secret_access_key, session_token, .. } = self.credentials.clone();
        Credentials::new(access_key_id, secret_access_key, Some(session_token), None, "test").into()
    }

    fn parameters<'a>(
        &self,
        identity: &'a Identity,
        service: &'a str,
        settings: SigningSettings,
    ) -> aws_sigv4::http_request::SigningParams<'a> {
        v4::SigningParams::builder()
            .identity(identity)
            .region(self.region)
            .name(service)
            .time(self.now)
            .settings(settings)
            .build()
            .expect("all parameters are there")
            .into()
    }
}

/// AssumeRoleWithWebIdentity, which nobody signs.
pub(crate) async fn assume_with_web_identity(sandbox: &Sandbox, role: &str, session: &str, token: &str) -> Answer {
    let role = format!("arn:aws:iam::111122223333:role/{role}");
    let fields = [("RoleArn", role.as_str()), ("RoleSessionName", session), ("WebIdentityToken", token)];
    let body = form("AssumeRoleWithWebIdentity", "2011-06-15", &fields);
    let post = reqwest::Client::builder().no_proxy().build().expect("a client").post(sandbox.endpoint_url());
    answer(post.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

fn form(operation: &str, version: &str, fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", operation)
        .append_pair("Version", version)
        .extend_pairs(fields)
        .finish()
}

async fn answer(post: reqwest::RequestBuilder) -> Answer {
    let response = post.send().await.expect("the sandbox answers");
    let status = response.status().as_u16();
    let date = response.headers().get("date").and_then(|date| date.to_str().ok()).unwrap_or_default().to_owned();
    Answer { status, date, body: response.text().await.expect("a text") }
}
