//! What can be done to secrets, from outside: rotated a step at a time, replaced, made unreadable.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get, routing::post};
use serde::Deserialize;
use serde_json::json;

use super::Account;
use crate::cloud::Cloud;
use crate::secrets_manager::{self, Content, RotationStep, SecretFault, StoredSecret};

pub(super) fn router() -> Router<std::sync::Arc<Cloud>> {
    Router::new().route("/rotate", post(rotate)).route("/secret", post(secret)).route("/secrets", get(secrets))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    name: String,
    step: RotationStep,
}

async fn rotate(State(cloud): Account, Json(rotate): Json<Rotate>) -> Response {
    match secrets_manager::rotate(&cloud, &rotate.name, rotate.step).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(flaw) => (StatusCode::CONFLICT, Json(json!({ "error": flaw.to_string() }))).into_response(),
    }
}

/// The present text of every secret by its name, as whoever owns the databases would know it.
async fn secrets(State(cloud): Account) -> Json<BTreeMap<String, String>> {
    let text = |secret: StoredSecret| match &secret.at("AWSCURRENT")?.content {
        Content::Binary(_) => None,
        Content::Text(text) => Some((secret.name.clone(), text.clone())),
    };
    Json(cloud.secrets.all().into_iter().filter_map(text).collect())
}

/// Another value, or what makes it unreadable: no `fault` makes it readable again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretState {
    name: String,
    value: Option<String>,
    fault: Option<SecretFault>,
}

async fn secret(State(cloud): Account, Json(state): Json<SecretState>) -> StatusCode {
    if let Some(value) = state.value {
        secrets_manager::put(&cloud, &state.name, Content::Text(value));
    }
    if let Some(secret) = cloud.secrets.find(&state.name) {
        cloud.secrets.keep(StoredSecret { fault: state.fault, ..secret });
    }
    StatusCode::NO_CONTENT
}
