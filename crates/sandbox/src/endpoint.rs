//! The one address of all AWS services: tells them apart, checks the signature, writes the journal.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::faults::Service;
use crate::journal::Call;
use crate::sigv4::{Caller, Scope, SignatureRefusal, verify_call};
use crate::wire::{Answer, ApiError, Arrived, Protocol};
use crate::{admin, automation, ecs, rds, secrets_manager, ssm, sts};

const LARGEST_BODY: usize = 1 << 20;

/// The HTTP face of the account; every answer takes `round_trip` longer than it would.
pub(crate) fn router(cloud: Arc<Cloud>, round_trip: Duration) -> Router {
    let on_our_clock = middleware::from_fn_with_state(
        Arc::clone(&cloud),
        |State(cloud): State<Arc<Cloud>>, request: Request, next: Next| async move {
            dated(next.run(request).await, &cloud.clock)
        },
    );
    let far_away = middleware::from_fn(move |request: Request, next: Next| async move {
        tokio::time::sleep(round_trip).await;
        next.run(request).await
    });
    Router::new()
        .fallback(answer)
        .layer(far_away)
        .nest("/_sandbox", admin::router())
        .layer(on_our_clock)
        .with_state(cloud)
}

/// `response` with the sandbox's time in its `Date` header, as clients measure their skew by it.
pub(crate) fn dated(mut response: Response, clock: &Clock) -> Response {
    let date = clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let date = HeaderValue::try_from(date).expect("a date is ASCII");
    response.headers_mut().insert("date", date);
    response
}

async fn answer(State(cloud): State<Arc<Cloud>>, request: Request) -> Response {
    let request_id = cloud.seeds.requests.uuid();
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        let error = ApiError::new("RequestEntityTooLarge", "The body is larger than 1 MiB.");
        return error.with_status(StatusCode::PAYLOAD_TOO_LARGE).into_response(UNKNOWN, &request_id);
    };
    let arrived = Arrived { method: parts.method, uri: parts.uri, headers: parts.headers, body };
    let Some(incoming) = Incoming::read(&arrived) else {
        let error = ApiError::new("MissingAuthenticationToken", "Request is missing Authentication Token");
        return error.with_status(StatusCode::FORBIDDEN).into_response(UNKNOWN, &request_id);
    };
    let (caller, outcome) = match incoming.admit(&cloud, &arrived) {
        Ok(caller) => (caller.clone(), incoming.carry_out(&cloud, caller)),
        Err(error) => (None, Err(error)),
    };
    cloud.journal.write(incoming.journal_entry(&cloud, caller, outcome.as_ref().err()));
    match outcome {
        Ok(answer) => answer.into_response(incoming.protocol, &incoming.operation, &request_id),
        Err(error) => error.into_response(incoming.protocol, &request_id),
    }
}

const UNKNOWN: Protocol = Protocol::Query { namespace: "" };

/// What `X-Amz-Target` begins with.
const JSON_SERVICES: [(&str, Service); 3] =
    [("AmazonSSM.", Service::Ssm), (ecs::NAMESPACE, Service::Ecs), ("secretsmanager.", Service::SecretsManager)];

/// A call whose service and operation are known.
struct Incoming {
    service: Service,
    protocol: Protocol,
    operation: String,
    input: Value,
}

impl Incoming {
    fn read(arrived: &Arrived) -> Option<Self> {
        if let Some(target) = arrived.header("x-amz-target") {
            let named = |(namespace, service): (&str, _)| Some((target.strip_prefix(namespace)?.to_owned(), service));
            let (operation, service) = JSON_SERVICES.into_iter().find_map(named)?;
            let input = serde_json::from_slice(&arrived.body).unwrap_or(Value::Null);
            return Some(Self { service, protocol: Protocol::Json, operation, input });
        }
        let mut fields = arrived.form();
        let (operation, version) = (fields.remove("Action")?, fields.remove("Version")?);
        let (service, namespace) = match version.as_str() {
            "2011-06-15" => (Service::Sts, "https://sts.amazonaws.com/doc/2011-06-15/"),
            "2014-10-31" => (Service::Rds, "http://rds.amazonaws.com/doc/2014-10-31/"),
            _ => return None,
        };
        Some(Self { service, protocol: Protocol::Query { namespace }, operation, input: json!(fields) })
    }

    /// Who calls; none for the operations nobody signs.
    fn admit(&self, cloud: &Cloud, arrived: &Arrived) -> Result<Option<Caller>, ApiError> {
        if cloud.faults.is_stopped(self.service) {
            let error = ApiError::new(self.worded("ServiceUnavailable"), "The service is temporarily unavailable.");
            return Err(error.with_status(StatusCode::SERVICE_UNAVAILABLE));
        }
        if cloud.faults.takes_throttle(&self.operation) {
            let code = if self.protocol == Protocol::Json { "ThrottlingException" } else { "Throttling" };
            return Err(ApiError::new(code, "Rate exceeded"));
        }
        if self.operation == sts::UNSIGNED {
            return Ok(None);
        }
        let scope = Scope { region: &cloud.account.region, service: self.service_name() };
        let verified = verify_call(arrived, scope, &cloud.handed, cloud.clock.now());
        verified.map(Some).map_err(|refusal| self.refusal(&refusal))
    }

    fn carry_out(&self, cloud: &Arc<Cloud>, caller: Option<Caller>) -> Result<Answer, ApiError> {
        let input = &self.input;
        match (self.service, caller) {
            (Service::Ecs, Some(caller)) => ecs::answer(cloud, &self.operation, input, &caller),
            (Service::Sts, caller) => sts::answer(cloud, self.protocol, &self.operation, input, caller),
            (Service::Rds, Some(caller)) => rds::answer(cloud, self.protocol, &self.operation, input, &caller),
            (Service::SecretsManager, Some(caller)) => secrets_manager::answer(cloud, &self.operation, input, &caller),
            (Service::Ssm, Some(caller)) if self.operation.contains("Automation") => {
                automation::answer(cloud, &self.operation, input, &caller)
            }
            (Service::Ssm, Some(caller)) => ssm::answer(cloud, &self.operation, input, &caller),
            (Service::Oidc, _) | (Service::Ecs | Service::Rds | Service::SecretsManager | Service::Ssm, None) => {
                Err(self.refusal(&SignatureRefusal::Missing))
            }
        }
    }

    fn refusal(&self, refusal: &SignatureRefusal) -> ApiError {
        let json = self.protocol == Protocol::Json;
        let code = match refusal {
            SignatureRefusal::Incomplete(_) if json => "IncompleteSignatureException",
            SignatureRefusal::Incomplete(_) => "IncompleteSignature",
            SignatureRefusal::Invalid(_) if json => "InvalidSignatureException",
            SignatureRefusal::Invalid(_) => "SignatureDoesNotMatch",
            SignatureRefusal::Missing if json => "MissingAuthenticationTokenException",
            SignatureRefusal::Missing => "MissingAuthenticationToken",
            SignatureRefusal::SessionExpired if json => "ExpiredTokenException",
            SignatureRefusal::SessionExpired => "ExpiredToken",
            SignatureRefusal::UnknownKey if json => "UnrecognizedClientException",
            SignatureRefusal::UnknownKey => "InvalidClientTokenId",
        };
        let status = if json { StatusCode::BAD_REQUEST } else { StatusCode::FORBIDDEN };
        ApiError::new(code, refusal.to_string()).with_status(status)
    }

    fn worded(&self, code: &str) -> String {
        if self.protocol == Protocol::Json { format!("{code}Exception") } else { code.to_owned() }
    }

    fn service_name(&self) -> &'static str {
        match self.service {
            Service::Ecs => "ecs",
            Service::Oidc => "oidc",
            Service::Rds => "rds",
            Service::SecretsManager => "secretsmanager",
            Service::Ssm => "ssm",
            Service::Sts => "sts",
        }
    }

    fn journal_entry(&self, cloud: &Cloud, caller: Option<Caller>, error: Option<&ApiError>) -> Call {
        let mut input = self.input.clone();
        if let Some(token) = input.get_mut("WebIdentityToken") {
            *token = "(an IdToken)".into();
        }
        Call {
            at: cloud.clock.now(),
            service: self.service_name().into(),
            operation: self.operation.clone(),
            caller: caller.map(|caller| caller.arn),
            input,
            error: error.map(|error| error.code.to_string()),
            message: error.map(|error| error.message.clone()),
        }
    }
}
