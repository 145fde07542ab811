//! The authorization endpoint and the page behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::Url;

use super::{Consent, Issuer, page};
use crate::account::CLIENT_ID;

const PAGE_LIFE: SignedDuration = SignedDuration::from_mins(10);
const CODE_LIFE: SignedDuration = SignedDuration::from_secs(60);

/// Sign-ins under way: pages that wait for a person, and codes that wait for the client.
#[derive(Default)]
pub(super) struct OpenSignIns {
    pages: BTreeMap<String, Asked>,
    codes: BTreeMap<String, Code>,
}

/// A request that was found good.
#[derive(Clone)]
struct Asked {
    redirect_uri: Url,
    state: Option<String>,
    scope: String,
    nonce: Option<String>,
    challenge: String,
    at: Timestamp,
}

/// A code the client has yet to redeem.
pub(super) struct Code {
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) consent: Consent,
    pub(super) expires_at: Timestamp,
    /// The family of refresh tokens it was redeemed for: a second redemption ends it.
    pub(super) redeemed_for: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct AuthorizeQuery {
    response_type: Option<String>,
    client_id: Option<String>,
    redirect_uri: Option<String>,
    scope: Option<String>,
    state: Option<String>,
    nonce: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

pub(super) async fn authorize(State(issuer): State<Arc<Issuer>>, Query(query): Query<AuthorizeQuery>) -> Response {
    if query.client_id.as_deref() != Some(CLIENT_ID) {
        return page::error("This application is not registered here (client_id).");
    }
    let Some(redirect_uri) = query.redirect_uri.as_deref().and_then(registered_redirect) else {
        return page::error("This application may not be answered at that address (redirect_uri).");
    };
    let refuse = |error, description| {
        let answer = [("error", error), ("error_description", description)];
        issuer.answer(&redirect_uri, query.state.as_deref(), &answer)
    };
    let scope = query.scope.clone().unwrap_or_default();
    if query.response_type.as_deref() != Some("code") {
        return refuse("unsupported_response_type", "only response_type=code is served");
    }
    if !scope.split(' ').any(|scope| scope == "openid") {
        return refuse("invalid_scope", "the scope openid is required");
    }
    let Some(challenge) = query.code_challenge.filter(|challenge| challenge.len() == 43) else {
        return refuse("invalid_request", "code_challenge is required");
    };
    if query.code_challenge_method.as_deref() != Some("S256") {
        return refuse("invalid_request", "code_challenge_method must be S256");
    }
    let at = issuer.clock.now();
    let asked = Asked {
        redirect_uri: redirect_uri.clone(),
        state: query.state.clone(),
        scope,
        nonce: query.nonce,
        challenge,
        at,
    };
    let id = issuer.seed.url_safe::<16>();
    issuer.open_sign_ins().pages.insert(id.clone(), asked);
    page::sign_in(&id, &issuer.account.people)
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    request: String,
    person: Option<String>,
    decision: Option<String>,
}

pub(super) async fn sign_in(State(issuer): State<Arc<Issuer>>, Form(form): Form<SignInForm>) -> Response {
    let now = issuer.clock.now();
    let asked = issuer.open_sign_ins().pages.remove(&form.request);
    let Some(asked) = asked.filter(|asked| now.duration_since(asked.at) < PAGE_LIFE) else {
        return page::error("This page was used already or is too old. Start again from the application.");
    };
    let state = asked.state.as_deref();
    if form.decision.as_deref() == Some("deny") {
        let answer = [("error", "access_denied"), ("error_description", "the person declined")];
        return issuer.answer(&asked.redirect_uri, state, &answer);
    }
    let Some(person) = form.person.as_deref().and_then(|name| issuer.account.person(name)) else {
        return (StatusCode::BAD_REQUEST, page::error("Nobody of that name works at Acme.")).into_response();
    };
    let code = issuer.seed.url_safe::<32>();
    let consent = Consent { subject: person.subject.into(), scope: asked.scope, nonce: asked.nonce, at: now };
    let entry = Code {
        redirect_uri: asked.redirect_uri.to_string(),
        challenge: asked.challenge,
        consent,
        expires_at: now + CODE_LIFE,
        redeemed_for: None,
    };
    issuer.open_sign_ins().codes.insert(code.clone(), entry);
    issuer.answer(&asked.redirect_uri, state, &[("code", &code)])
}

impl Issuer {
    fn answer(&self, redirect_uri: &Url, state: Option<&str>, answer: &[(&str, &str)]) -> Response {
        let mut target = redirect_uri.clone();
        target
            .query_pairs_mut()
            .extend_pairs(answer)
            .extend_pairs(state.map(|state| ("state", state)))
            .append_pair("iss", &self.url);
        Redirect::to(target.as_str()).into_response()
    }

    pub(super) fn with_code<T>(&self, code: &str, look: impl FnOnce(Option<&mut Code>) -> T) -> T {
        look(self.open_sign_ins().codes.get_mut(code))
    }

    fn open_sign_ins(&self) -> std::sync::MutexGuard<'_, OpenSignIns> {
        self.open.lock().expect("nothing panics while it holds the open sign-ins")
    }
}

/// `http://127.0.0.1/callback` with any port and nothing else.
fn registered_redirect(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let registered = url.scheme() == "http"
        && url.host_str() == Some("127.0.0.1")
        && url.path() == "/callback"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    registered.then_some(url)
}
