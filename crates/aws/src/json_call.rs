//! A signed call in AWS's JSON 1.1 protocol, for the few questions whose SDK is not worth its weight.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::refuse_expired;
use crate::error::{chain, refused, unreachable, wrong_answer};
use crate::{AwsConfig, AwsError, Credentials};

const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// One service's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct JsonCaller {
    config: AwsConfig,
    credentials: Credentials,
    service: &'static str,
    /// In front of the operation in `X-Amz-Target`.
    namespace: &'static str,
}

impl JsonCaller {
    pub(crate) fn new(
        config: &AwsConfig,
        credentials: &Credentials,
        service: &'static str,
        namespace: &'static str,
    ) -> Self {
        Self { config: config.clone(), credentials: credentials.clone(), service, namespace }
    }

    /// Asks a question that changes nothing; what may pass is asked again, as the SDK does.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        input: &impl Serialize,
    ) -> Result<T, AwsError> {
        refuse_expired(&self.config, Some(self.credentials.expires_at), operation)?;
        let body = serde_json::to_string(input).map_err(|e| wrong_answer(operation, chain(&e)))?;
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            let signed_by = self.config.skew().seconds();
            match self.once(operation, &body).await {
                Err(AwsError::ClockSkewed { .. }) if self.config.skew().seconds() != signed_by => {}
                Err(error) if error.is_transient() => tokio::time::sleep(pause).await,
                answer => return answer,
            }
            pause *= 2;
        }
        self.once(operation, &body).await
    }

    async fn once<T: DeserializeOwned>(&self, operation: &'static str, body: &str) -> Result<T, AwsError> {
        let endpoint = self.config.endpoint_of(self.service);
        let request = self.signed(operation, &endpoint, body)?;
        let sent = SystemTime::now();
        let answer = tokio::time::timeout(ATTEMPT_LIMIT, self.config.connector().call(request)).await;
        let answer = answer.map_err(|_| unreachable(&endpoint, "no answer in time".into()))?;
        let answer = answer.map_err(|e| unreachable(&endpoint, chain(&e)))?;
        if let Some(date) = answer.headers().get("date") {
            self.config.skew().observe(date, sent, SystemTime::now());
        }
        let status = answer.status();
        let bytes = ByteStream::new(answer.into_body()).collect().await;
        let bytes = bytes.map_err(|e| unreachable(&endpoint, chain(&e)))?.to_vec();
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|e| wrong_answer(operation, chain(&e)));
        }
        Err(self.refusal(operation, &bytes))
    }

    fn signed(&self, operation: &'static str, endpoint: &str, body: &str) -> Result<HttpRequest, AwsError> {
        let flaw = |e: &(dyn std::error::Error + 'static)| AwsError::Rejected {
            operation,
            code: "InvalidRequest".into(),
            message: chain(e),
        };
        let target = format!("{}.{operation}", self.namespace);
        let identity: Identity = self.credentials.to_sdk().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.config.region().as_str())
            .name(self.service)
            .time(TimeSource::now(self.config.skew()))
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| flaw(&e))?;
        let headers = [("content-type", CONTENT_TYPE), ("x-amz-target", target.as_str())];
        let signable =
            SignableRequest::new("POST", endpoint, headers.into_iter(), SignableBody::Bytes(body.as_bytes()));
        let signed = sign(signable.map_err(|e| flaw(&e))?, &parameters.into()).map_err(|e| flaw(&e))?;
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|e| flaw(&e))?;
        request.set_uri(endpoint).map_err(|e| flaw(&e))?;
        for (name, value) in headers.into_iter().chain(signed.output().headers()) {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(request)
    }

    fn refusal(&self, operation: &'static str, body: &[u8]) -> AwsError {
        let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| answer.get(key).and_then(serde_json::Value::as_str);
        let message = text("message").or_else(|| text("Message")).unwrap_or_default();
        match text("__type") {
            // `com.amazonaws.ecs#ClusterNotFoundException` in some services, the bare name in others.
            Some(code) => {
                let code = code.rsplit('#').next().unwrap_or(code);
                refused(operation, self.config.skew().seconds(), code, message)
            }
            None => wrong_answer(operation, "it has no error code".into()),
        }
    }
}
