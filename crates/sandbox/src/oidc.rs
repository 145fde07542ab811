//! The identity provider: OpenID Connect's authorization code flow with PKCE, a page to sign in on, rotating refresh tokens.
//!
//! Its one client, `daypass`, is a native application without a secret: it is registered with the redirect
//! `http://127.0.0.1/callback`, which any port of the loopback address matches (RFC 8252, 7.3).

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::account::{Account, Person};
use crate::clock::Clock;
use crate::faults::{Faults, Service};
use crate::seed::Seed;

mod authorize;
mod keys;
mod page;
mod tokens;

pub use keys::KeyFlaw;
pub(crate) use keys::{IdTokenClaims, IdTokenFlaw};

const ID_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// The identity provider's state; its HTTP face is [`Issuer::router`].
pub(crate) struct Issuer {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    clock: Clock,
    seed: Seed,
    faults: Arc<Faults>,
    account: Arc<Account>,
    key: keys::SigningKey,
    open: Mutex<authorize::OpenSignIns>,
    issued: Mutex<tokens::Issued>,
}

/// What a person agreed to when they signed in.
#[derive(Clone, Debug)]
struct Consent {
    subject: String,
    scope: String,
    nonce: Option<String>,
    at: Timestamp,
}

impl Issuer {
    pub(crate) fn new(
        url: String,
        clock: Clock,
        seed: Seed,
        faults: Arc<Faults>,
        account: Arc<Account>,
    ) -> Result<Self, keys::KeyFlaw> {
        let key = keys::SigningKey::from_seed(&seed)?;
        Ok(Self { url, clock, seed, faults, account, key, open: Mutex::default(), issued: Mutex::default() })
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/authorize", get(authorize::authorize))
            .route("/sign-in", post(authorize::sign_in))
            .route("/token", post(tokens::token))
            .route("/revoke", post(tokens::revoke))
            .route("/userinfo", get(tokens::userinfo))
            .route("/jwks", get(jwks))
            .layer(middleware::from_fn_with_state(Arc::clone(self), on_our_clock))
            .with_state(Arc::clone(self))
    }

    /// An IdToken as the token endpoint issues them, without the walk through the browser.
    pub(crate) fn id_token_for(&self, person: &Person) -> String {
        let at = self.clock.now();
        let consent = Consent { subject: person.subject.into(), scope: "openid email profile".into(), nonce: None, at };
        self.id_token(&consent)
    }

    /// Reads an IdToken of this issuer: signature, issuer and form. Audience and times are the reader's to judge.
    pub(crate) fn read_id_token(&self, token: &str) -> Result<IdTokenClaims, IdTokenFlaw> {
        self.key.read(token, &self.url)
    }

    fn id_token(&self, consent: &Consent) -> String {
        let now = self.clock.now();
        let claims = IdTokenClaims {
            iss: self.url.clone(),
            sub: consent.subject.clone(),
            aud: crate::account::CLIENT_ID.into(),
            iat: now.as_second(),
            exp: (now + ID_TOKEN_LIFE).as_second(),
            auth_time: consent.at.as_second(),
            nonce: consent.nonce.clone(),
            person: self.person_claims(consent),
        };
        self.key.sign(&claims)
    }

    fn person_claims(&self, consent: &Consent) -> serde_json::Map<String, Value> {
        let mut claims = serde_json::Map::new();
        let asked = |scope: &str| consent.scope.split(' ').any(|asked| asked == scope);
        if let Some(person) = self.account.people.iter().find(|person| person.subject == consent.subject) {
            if asked("email") {
                claims.insert("email".into(), person.email.into());
                claims.insert("email_verified".into(), true.into());
            }
            if asked("profile") {
                claims.insert("name".into(), person.name.into());
                claims.insert("preferred_username".into(), person.short.into());
            }
        }
        claims
    }
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let url = &issuer.url;
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "revocation_endpoint": format!("{url}/revoke"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["openid", "email", "profile", "offline_access"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "email", "email_verified", "name"],
    }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(issuer.key.jwks())
}

async fn on_our_clock(State(issuer): State<Arc<Issuer>>, request: Request, next: Next) -> Response {
    if issuer.faults.is_stopped(Service::Oidc) {
        return crate::endpoint::dated(StatusCode::SERVICE_UNAVAILABLE.into_response(), &issuer.clock);
    }
    crate::endpoint::dated(next.run(request).await, &issuer.clock)
}

/// An OAuth error as JSON.
fn refused(error: &'static str, description: &str) -> Response {
    let body = Json(json!({ "error": error, "error_description": description }));
    (StatusCode::BAD_REQUEST, [("cache-control", "no-store")], body).into_response()
}
