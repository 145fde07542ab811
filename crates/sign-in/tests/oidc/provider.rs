//! A small identity provider that does as a test says.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sign_in::{Clock, Oidc, OidcProvider};

/// 2026-11-22T10:00:00Z, which is now for everybody here.
pub(crate) const NOW: i64 = 1_795_341_600;

type Edit = Box<dyn Fn(&mut Value) + Send + Sync>;

/// What a test wants to be different.
#[derive(Default)]
pub(crate) struct Quirks {
    /// Changes the discovery document.
    pub(crate) discovery: Option<Edit>,
    /// Changes the claims before they are signed.
    pub(crate) claims: Option<Edit>,
    /// Answers the token endpoint instead.
    pub(crate) token: Option<(u16, Value)>,
    /// Signs with a key that is not published.
    pub(crate) foreign_key: bool,
}

/// What the provider remembers.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    quirks: Quirks,
    published: EcdsaKeyPair,
    foreign: EcdsaKeyPair,
    /// What the browser was sent with: nonce and PKCE challenge.
    sent: Mutex<(String, String)>,
    /// The forms that came to the token and revocation endpoints.
    pub(crate) forms: Mutex<Vec<Vec<(String, String)>>>,
}

impl Provider {
    pub(crate) async fn start(quirks: Quirks) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("bound"));
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let (sent, forms) = (Mutex::default(), Mutex::default());
        let provider = Arc::new(Self { issuer, quirks, published: key(), foreign: key(), sent, forms });
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }

    pub(crate) fn oidc(&self) -> Oidc {
        let provider = OidcProvider { issuer: self.issuer.clone(), client_id: "daypass".into() };
        Oidc::new(provider, Clock::new(|| model::WallTime::from_unix_seconds(NOW))).expect("loopback is accepted")
    }

    /// Reads what the browser would show; returns redirect URI and state.
    pub(crate) fn sign_in_page(&self, authorize_url: &str) -> (String, String) {
        let url: url::Url = authorize_url.parse().expect("a URL");
        let value =
            |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned()).unwrap_or_default();
        assert_eq!((value("response_type").as_str(), value("client_id").as_str()), ("code", "daypass"));
        assert_eq!(value("code_challenge_method"), "S256");
        *self.sent.lock().expect("unpoisoned") = (value("nonce"), value("code_challenge"));
        (value("redirect_uri"), value("state"))
    }

    fn id_token(&self) -> String {
        let nonce = self.sent.lock().expect("unpoisoned").0.clone();
        let mut claims = json!({
            "iss": self.issuer, "aud": "daypass", "sub": "u-1", "email": "ana@acme.dev",
            "nonce": nonce, "iat": NOW - 1, "exp": NOW + 3_600,
        });
        if let Some(edit) = &self.quirks.claims {
            edit(&mut claims);
        }
        let key = if self.quirks.foreign_key { &self.foreign } else { &self.published };
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let issuer = &provider.issuer;
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["openid", "email", "profile", "offline_access"],
        "authorization_response_iss_parameter_supported": true,
    });
    if let Some(edit) = &provider.quirks.discovery {
        edit(&mut document);
    }
    Json(document)
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let point = provider.published.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..65]].map(|half| URL_SAFE_NO_PAD.encode(half));
    Json(
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256", "x": x, "y": y }] }),
    )
}

async fn token(
    State(provider): State<Arc<Provider>>,
    Form(form): Form<Vec<(String, String)>>,
) -> (StatusCode, Json<Value>) {
    let value = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(value("code_verifier")));
    let by_code = value("grant_type") == "authorization_code";
    let rightful =
        !by_code || value("code") == "right-code" && challenge == provider.sent.lock().expect("unpoisoned").1;
    provider.forms.lock().expect("unpoisoned").push(form);
    if let Some((status, body)) = &provider.quirks.token {
        return (StatusCode::from_u16(*status).expect("a status"), Json(body.clone()));
    }
    if !rightful {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant", "error_description": "PKCE" })));
    }
    let refresh_token = if by_code { "canary-refresh-1" } else { "canary-refresh-2" };
    let answer = json!({
        "access_token": "canary-access", "token_type": "Bearer", "refresh_token": refresh_token, "id_token": provider.id_token(),
    });
    (StatusCode::OK, Json(answer))
}

async fn revoke(State(provider): State<Arc<Provider>>, Form(form): Form<Vec<(String, String)>>) -> StatusCode {
    provider.forms.lock().expect("unpoisoned").push(form);
    StatusCode::OK
}
