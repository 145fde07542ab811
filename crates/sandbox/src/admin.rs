//! `/_sandbox/…`: looking at the account and turning its knobs over HTTP, for the demo and for tests in other processes.
//!
//! It takes JSON bodies and loopback host names only, so that no web page can reach it through a person's browser.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::colleague::{self, Answer};
use crate::faults::Service;

mod passwords;
mod tunnels;

type Account = State<Arc<Cloud>>;

pub(crate) fn router() -> Router<Arc<Cloud>> {
    Router::new()
        .route("/state", get(state))
        .route("/calls", get(calls))
        .route("/clock", post(clock))
        .route("/approve", post(approve))
        .route("/deny", post(deny))
        .route("/policies", post(policies))
        .route("/service", post(service))
        .route("/throttle", post(throttle))
        .merge(passwords::router())
        .merge(tunnels::router())
        .layer(middleware::from_fn(only_loopback))
}

/// A page on the internet whose name points at 127.0.0.1 still sends its own name.
async fn only_loopback(request: Request, next: Next) -> Response {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if ["127.0.0.1", "localhost"].contains(&name) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "Ask by a loopback name.\n").into_response()
}

async fn state(State(cloud): Account) -> Json<Value> {
    let now = cloud.clock.now();
    cloud.sessions.note_ends(now);
    let sessions: Vec<Value> = cloud.sessions.records().iter().map(|record| record.shown()).collect();
    let executions: Vec<Value> = cloud.automation.executions().iter().map(|execution| execution.described()).collect();
    let fleet = &cloud.sessions.fleet;
    let node = |id: &str| json!({ "id": id, "online": fleet.is_online(id), "agent-version": fleet.agent_version(id) });
    let nodes: Vec<Value> = cloud.account.nodes.iter().map(|known| node(known.id)).collect();
    Json(json!({
        "now": now,
        "sessions": sessions,
        "executions": executions,
        "policies": cloud.iam.inline_policies(),
        "nodes": nodes,
    }))
}

async fn calls(State(cloud): Account) -> Json<Value> {
    Json(json!(cloud.journal.calls()))
}

/// One of the two: forward from where it is, or so far from the machine's clock.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Move {
    advance_seconds: Option<u64>,
    offset_seconds: Option<i64>,
}

async fn clock(State(cloud): Account, Json(by): Json<Move>) -> Json<Value> {
    if let Some(seconds) = by.offset_seconds {
        cloud.clock.set_offset(SignedDuration::from_secs(seconds));
    }
    if let Some(seconds) = by.advance_seconds {
        cloud.clock.advance(Duration::from_secs(seconds));
    }
    Json(json!({ "now": cloud.clock.now() }))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Reply {
    #[serde(rename = "as")]
    who: Option<String>,
    comment: Option<String>,
    execution: Option<String>,
}

async fn approve(State(cloud): Account, Json(reply): Json<Reply>) -> Response {
    answer(&cloud, true, reply)
}

async fn deny(State(cloud): Account, Json(reply): Json<Reply>) -> Response {
    answer(&cloud, false, reply)
}

fn answer(cloud: &Cloud, approved: bool, reply: Reply) -> Response {
    let who = reply.who.as_deref().unwrap_or("ben");
    let answer = Answer { who, approved, comment: reply.comment, execution: reply.execution.as_deref() };
    match colleague::answer(cloud, answer) {
        Ok(execution) => Json(json!({ "execution": execution })).into_response(),
        Err(flaw) => (StatusCode::CONFLICT, Json(json!({ "error": flaw.to_string() }))).into_response(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Policies {
    delay_seconds: u32,
}

async fn policies(State(cloud): Account, Json(policies): Json<Policies>) -> StatusCode {
    cloud.iam.set_propagation(SignedDuration::from_secs(policies.delay_seconds.into()));
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceState {
    name: Service,
    running: bool,
}

async fn service(State(cloud): Account, Json(service): Json<ServiceState>) -> StatusCode {
    if service.running {
        cloud.faults.restart(service.name);
    } else {
        cloud.faults.stop(service.name);
    }
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Throttle {
    operation: String,
    times: u32,
}

async fn throttle(State(cloud): Account, Json(throttle): Json<Throttle>) -> StatusCode {
    cloud.faults.throttle(&throttle.operation, throttle.times);
    StatusCode::NO_CONTENT
}
