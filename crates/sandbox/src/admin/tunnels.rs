//! What can be done to machines, tasks, sessions and the network they stand in.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router, routing::post};
use serde::Deserialize;

use super::Account;
use crate::cloud::Cloud;
use crate::data_channel::{SessionLimits, Side};
use crate::ecs::TaskState;

pub(super) fn router() -> Router<std::sync::Arc<Cloud>> {
    Router::new()
        .route("/network", post(network))
        .route("/node", post(node))
        .route("/session", post(session))
        .route("/session-limits", post(session_limits))
        .route("/task", post(task))
}

/// What changes; the rest stays.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct NodeState {
    id: String,
    online: Option<bool>,
    agent_version: Option<String>,
}

async fn node(State(cloud): Account, Json(node): Json<NodeState>) -> StatusCode {
    let fleet = &cloud.sessions.fleet;
    if let Some(online) = node.online {
        fleet.set_online(&node.id, online);
    }
    if let Some(version) = node.agent_version {
        fleet.set_agent_version(&node.id, &version);
    }
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct OneTask {
    id: String,
    #[serde(flatten)]
    state: TaskState,
}

async fn task(State(cloud): Account, Json(task): Json<OneTask>) -> StatusCode {
    cloud.tasks.set(&task.id, task.state);
    StatusCode::NO_CONTENT
}

/// What may be done to a session from outside.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum SessionFault {
    Close { id: String, text: String },
    CutAgent { id: String },
    CutClient { id: String },
    SayBye { id: String },
    Terminate { id: String },
}

async fn session(State(cloud): Account, Json(fault): Json<SessionFault>) -> StatusCode {
    let channels = &cloud.sessions.channels;
    match fault {
        SessionFault::Close { id, text } => {
            channels.close_with_text(&id, &text);
        }
        SessionFault::CutAgent { id } => channels.cut(&id, Side::Agent),
        SessionFault::CutClient { id } => channels.cut(&id, Side::Client),
        SessionFault::SayBye { id } => channels.say_bye(&id),
        SessionFault::Terminate { id } => {
            channels.terminate(&id);
        }
    }
    StatusCode::NO_CONTENT
}

/// Seconds on the sandbox's clock; what is left out lasts for ever.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Limits {
    idle_seconds: Option<u64>,
    maximum_seconds: Option<u64>,
    websocket_seconds: Option<u64>,
}

async fn session_limits(State(cloud): Account, Json(limits): Json<Limits>) -> StatusCode {
    cloud.sessions.channels.limit(SessionLimits {
        idle: limits.idle_seconds.map(Duration::from_secs),
        maximum: limits.maximum_seconds.map(Duration::from_secs),
        websocket: limits.websocket_seconds.map(Duration::from_secs),
    });
    StatusCode::NO_CONTENT
}

/// What may be done to the network that the SSM agents stand in.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum NetworkFault {
    /// Every connection hangs, and with it all that wait behind it.
    BlackHole { host: String, port: u16 },
    /// The name leads elsewhere; sessions that are open dial into the void.
    FailOver { host: String, port: u16, to: SocketAddr },
    /// The name is forgotten.
    Remove { host: String, port: u16 },
    /// The name leads there, for sessions that start from now on.
    Route { host: String, port: u16, to: SocketAddr },
}

async fn network(State(cloud): Account, Json(fault): Json<NetworkFault>) -> StatusCode {
    let vpc = cloud.sessions.channels.vpc();
    match fault {
        NetworkFault::BlackHole { host, port } => vpc.black_hole(&host, port),
        NetworkFault::FailOver { host, port, to } => vpc.fail_over(&host, port, to),
        NetworkFault::Remove { host, port } => vpc.remove(&host, port),
        NetworkFault::Route { host, port, to } => vpc.route(&host, port, to),
    }
    StatusCode::NO_CONTENT
}
