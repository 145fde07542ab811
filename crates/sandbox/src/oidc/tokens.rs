//! The token endpoint: codes for tokens, refresh tokens for newer ones.
//!
//! A refresh token works once. Using one again is what a thief would do, so it ends the whole family of tokens that came
//! from the same sign-in.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Form, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::{Consent, ID_TOKEN_LIFE, Issuer, refused};
use crate::account::CLIENT_ID;

const SIGN_IN_LIFE: SignedDuration = SignedDuration::from_hours(12);

/// Tokens that were handed out.
#[derive(Default)]
pub(super) struct Issued {
    families: BTreeMap<String, Family>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    access_tokens: BTreeMap<String, AccessToken>,
}

/// Everything that came from one sign-in.
struct Family {
    consent: Consent,
    expires_at: Timestamp,
    revoked: bool,
}

struct RefreshToken {
    family: String,
    used: bool,
}

struct AccessToken {
    family: String,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct TokenForm {
    grant_type: Option<String>,
    client_id: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    refresh_token: Option<String>,
}

pub(super) async fn token(State(issuer): State<Arc<Issuer>>, Form(form): Form<TokenForm>) -> Response {
    if form.client_id.as_deref() != Some(CLIENT_ID) {
        return refused("invalid_client", "client_id is not registered here");
    }
    let redeemed = match form.grant_type.as_deref() {
        Some("authorization_code") => issuer.redeem_code(&form),
        Some("refresh_token") => issuer.rotate(form.refresh_token.as_deref().unwrap_or_default()),
        Some(_) | None => return refused("unsupported_grant_type", "authorization_code and refresh_token are served"),
    };
    match redeemed {
        Ok(family) => issuer.tokens(&family),
        Err(why) => refused("invalid_grant", why),
    }
}

#[derive(Deserialize)]
pub(super) struct RevokeForm {
    token: Option<String>,
}

/// RFC 7009: a token nobody knows is as good as revoked.
pub(super) async fn revoke(State(issuer): State<Arc<Issuer>>, Form(form): Form<RevokeForm>) -> StatusCode {
    let token = form.token.unwrap_or_default();
    let mut issued = issuer.issued();
    let family = issued
        .refresh_tokens
        .get(&token)
        .map(|token| token.family.clone())
        .or_else(|| issued.access_tokens.get(&token).map(|token| token.family.clone()));
    if let Some(family) = family {
        issued.end(&family);
    }
    StatusCode::OK
}

pub(super) async fn userinfo(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Response {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let now = issuer.clock.now();
    let consent = {
        let issued = issuer.issued();
        bearer
            .and_then(|token| issued.access_tokens.get(token))
            .filter(|token| now < token.expires_at)
            .and_then(|token| issued.families.get(&token.family))
            .filter(|family| !family.revoked)
            .map(|family| family.consent.clone())
    };
    match consent {
        Some(consent) => {
            let mut claims = issuer.person_claims(&consent);
            claims.insert("sub".into(), consent.subject.into());
            Json(Value::from(claims)).into_response()
        }
        None => (StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer error=\"invalid_token\"")]).into_response(),
    }
}

impl Issuer {
    /// The family of tokens that `code` opens.
    fn redeem_code(&self, form: &TokenForm) -> Result<String, &'static str> {
        let now = self.clock.now();
        let family = self.seed.url_safe::<12>();
        let redeemed = self.with_code(form.code.as_deref().unwrap_or_default(), |code| {
            let code = code.ok_or(CodeFlaw::Refused("the code is unknown"))?;
            if let Some(family) = &code.redeemed_for {
                return Err(CodeFlaw::UsedAgain { family: family.clone() });
            }
            if now >= code.expires_at {
                return Err(CodeFlaw::Refused("the code has expired"));
            }
            if form.redirect_uri.as_deref() != Some(&code.redirect_uri) {
                return Err(CodeFlaw::Refused("redirect_uri is not the one the code was issued for"));
            }
            if !fits(form.code_verifier.as_deref().unwrap_or_default(), &code.challenge) {
                return Err(CodeFlaw::Refused("code_verifier does not fit the code_challenge"));
            }
            code.redeemed_for = Some(family.clone());
            Ok(code.consent.clone())
        });
        match redeemed {
            Ok(consent) => {
                let entry = Family { consent, expires_at: now + SIGN_IN_LIFE, revoked: false };
                self.issued().families.insert(family.clone(), entry);
                Ok(family)
            }
            Err(CodeFlaw::UsedAgain { family }) => {
                self.issued().end(&family);
                Err("the code was used already")
            }
            Err(CodeFlaw::Refused(why)) => Err(why),
        }
    }

    fn rotate(&self, token: &str) -> Result<String, &'static str> {
        let now = self.clock.now();
        let mut issued = self.issued();
        let known = issued.refresh_tokens.get_mut(token).ok_or("the refresh token is unknown")?;
        let family = known.family.clone();
        if std::mem::replace(&mut known.used, true) {
            issued.end(&family);
            return Err("the refresh token was used already");
        }
        let alive = issued.families.get(&family).is_some_and(|family| !family.revoked && now < family.expires_at);
        if alive { Ok(family) } else { Err("the sign-in has ended") }
    }

    fn tokens(&self, family: &str) -> Response {
        let now = self.clock.now();
        let mut issued = self.issued();
        let Some(consent) = issued.families.get(family).map(|family| family.consent.clone()) else {
            return refused("invalid_grant", "the sign-in has ended");
        };
        let access_token = self.seed.url_safe::<32>();
        let entry = AccessToken { family: family.to_owned(), expires_at: now + ID_TOKEN_LIFE };
        issued.access_tokens.insert(access_token.clone(), entry);
        let mut body = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": ID_TOKEN_LIFE.as_secs(),
            "id_token": self.id_token(&consent),
            "scope": consent.scope,
        });
        if consent.scope.split(' ').any(|scope| scope == "offline_access") {
            let refresh_token = self.seed.url_safe::<32>();
            issued
                .refresh_tokens
                .insert(refresh_token.clone(), RefreshToken { family: family.to_owned(), used: false });
            body["refresh_token"] = refresh_token.into();
        }
        ([("cache-control", "no-store")], Json(body)).into_response()
    }

    fn issued(&self) -> std::sync::MutexGuard<'_, Issued> {
        self.issued.lock().expect("nothing panics while it holds the tokens")
    }
}

impl Issued {
    fn end(&mut self, family: &str) {
        if let Some(family) = self.families.get_mut(family) {
            family.revoked = true;
        }
    }
}

enum CodeFlaw {
    Refused(&'static str),
    UsedAgain { family: String },
}

/// PKCE S256 (RFC 7636).
fn fits(verifier: &str, challenge: &str) -> bool {
    let hashed = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    (43..=128).contains(&verifier.len()) && bool::from(hashed.as_bytes().ct_eq(challenge.as_bytes()))
}
