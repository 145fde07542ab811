//! The identity provider, by hand and with a second implementation's checks.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{ClientId, IssuerUrl, Nonce};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use sandbox::Sandbox;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::client::account;

const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more-0";
const REDIRECT: &str = "http://127.0.0.1:49152/callback";

/// A browser that stops where it is sent away.
fn browser() -> Client {
    Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client")
}

async fn open_page(sandbox: &Sandbox, changes: &[(&str, &str)]) -> Response {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", "daypass"),
        ("redirect_uri", REDIRECT),
        ("scope", "openid email profile offline_access"),
        ("state", "the-state"),
        ("nonce", "the-nonce"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        fields.retain(|(field, _)| field != name);
        fields.push((name, value));
    }
    let url = Url::parse_with_params(&format!("{}/authorize", sandbox.issuer_url()), fields).expect("a URL");
    browser().get(url).send().await.expect("the issuer answers")
}

/// Presses a button and answers where the browser is sent.
async fn press(sandbox: &Sandbox, page: &str, button: (&str, &str)) -> Url {
    let request = page.split_once("name=\"request\" value=\"").expect("a form").1.split_once('"').expect("a value").0;
    let url = format!("{}/sign-in", sandbox.issuer_url());
    let sent = browser().post(url).form(&[("request", request), button]).send().await.expect("the issuer answers");
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    location(&sent)
}

fn location(response: &Response) -> Url {
    response.headers()["location"].to_str().expect("ASCII").parse().expect("a URL")
}

fn field(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
}

async fn code(sandbox: &Sandbox) -> String {
    let page = open_page(sandbox, &[]).await.text().await.expect("a page");
    let sent_to = press(sandbox, &page, ("person", "ana")).await;
    assert_eq!(field(&sent_to, "state").as_deref(), Some("the-state"));
    assert_eq!(field(&sent_to, "iss").as_deref(), Some(sandbox.issuer_url()), "RFC 9207");
    field(&sent_to, "code").expect("a code")
}

async fn token(sandbox: &Sandbox, fields: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}/token", sandbox.issuer_url());
    let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("client_id", "daypass")]).collect();
    let answer = browser().post(url).form(&fields).send().await.expect("the issuer answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn redeem(sandbox: &Sandbox, code: &str) -> (u16, Value) {
    let fields =
        [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    token(sandbox, &fields).await
}

async fn refresh(sandbox: &Sandbox, token_value: &str) -> (u16, Value) {
    token(sandbox, &[("grant_type", "refresh_token"), ("refresh_token", token_value)]).await
}

#[tokio::test]
async fn a_code_becomes_an_id_token_that_a_second_implementation_verifies() {
    let sandbox = account().await;
    let (status, tokens) = redeem(&sandbox, &code(&sandbox).await).await;
    assert_eq!(status, 200, "{tokens}");
    let jwks = reqwest::get(format!("{}/jwks", sandbox.issuer_url())).await.expect("an answer");
    let jwks: CoreJsonWebKeySet = jwks.json().await.expect("a key set");
    let issuer = IssuerUrl::new(sandbox.issuer_url().into()).expect("a URL");
    let verifier = CoreIdTokenVerifier::new_public_client(ClientId::new("daypass".into()), issuer, jwks)
        .set_allowed_algs([CoreJwsSigningAlgorithm::EcdsaP256Sha256]);
    let id_token = CoreIdToken::from_str(tokens["id_token"].as_str().expect("a token")).expect("a JWT");
    let claims = id_token.claims(&verifier, &Nonce::new("the-nonce".into())).expect("it verifies");
    assert_eq!(claims.email().map(|email| email.as_str()), Some("ana@acme.dev"));
    assert_ne!(claims.subject().as_str(), "ana@acme.dev", "the subject is the issuer's own id of her");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_to_the_application_or_to_the_person() {
    let sandbox = account().await;
    let told_to_application = [
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "email", "invalid_scope"),
    ];
    for (name, value, error) in told_to_application {
        let answer = open_page(&sandbox, &[(name, value)]).await;
        let sent_to = location(&answer);
        assert_eq!(field(&sent_to, "error").as_deref(), Some(error), "{name}={value}");
        assert_eq!(field(&sent_to, "state").as_deref(), Some("the-state"));
    }
    let told_to_person = [
        ("client_id", "somebody"),
        ("redirect_uri", "http://127.0.0.1:49152/other"),
        ("redirect_uri", "http://localhost:49152/callback"),
        ("redirect_uri", "https://127.0.0.1:49152/callback"),
        ("redirect_uri", "http://127.0.0.1.evil.example/callback"),
    ];
    for (name, value) in told_to_person {
        let answer = open_page(&sandbox, &[(name, value)]).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}={value} must not be redirected");
    }
}

#[tokio::test]
async fn declining_is_told_as_access_denied() {
    let sandbox = account().await;
    let page = open_page(&sandbox, &[]).await.text().await.expect("a page");
    let sent_to = press(&sandbox, &page, ("decision", "deny")).await;
    assert_eq!(field(&sent_to, "error").as_deref(), Some("access_denied"));
    assert!(field(&sent_to, "code").is_none());
}

#[tokio::test]
async fn a_wrong_verifier_redirect_or_late_code_is_an_invalid_grant() {
    let sandbox = account().await;
    let good = ("redirect_uri", REDIRECT);
    let other_verifier = "b-verifier-of-forty-three-characters-or-more-0";
    let cases = [
        [good, ("code_verifier", other_verifier)],
        [("redirect_uri", "http://127.0.0.1:1/callback"), ("code_verifier", VERIFIER)],
    ];
    for [redirect, verifier] in cases {
        let code = code(&sandbox).await;
        let fields = [("grant_type", "authorization_code"), ("code", &code), redirect, verifier];
        let (status, body) = token(&sandbox, &fields).await;
        assert_eq!((status, body["error"].as_str()), (400, Some("invalid_grant")), "{redirect:?} {verifier:?}");
    }
    let late = code(&sandbox).await;
    sandbox.clock().advance(std::time::Duration::from_secs(61));
    assert_eq!(redeem(&sandbox, &late).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn a_code_used_twice_ends_the_sign_in() {
    let sandbox = account().await;
    let code = code(&sandbox).await;
    let (_, tokens) = redeem(&sandbox, &code).await;
    assert_eq!(redeem(&sandbox, &code).await.1["error"], "invalid_grant");
    let refresh_token = tokens["refresh_token"].as_str().expect("offline_access was asked");
    assert_eq!(refresh(&sandbox, refresh_token).await.1["error"], "invalid_grant", "somebody else has the code");
}

#[tokio::test]
async fn refresh_tokens_rotate_and_reuse_ends_the_sign_in() {
    let sandbox = account().await;
    let (_, first) = redeem(&sandbox, &code(&sandbox).await).await;
    let old = first["refresh_token"].as_str().expect("offline_access was asked");
    let (status, second) = refresh(&sandbox, old).await;
    assert_eq!(status, 200, "{second}");
    let new = second["refresh_token"].as_str().expect("a newer one");
    assert_ne!(old, new);
    assert_eq!(refresh(&sandbox, old).await.1["error"], "invalid_grant", "an old one was used again");
    assert_eq!(refresh(&sandbox, new).await.1["error"], "invalid_grant", "so the newer one is not trusted either");
}

#[tokio::test]
async fn a_revoked_sign_in_refreshes_nothing() {
    let sandbox = account().await;
    let (_, tokens) = redeem(&sandbox, &code(&sandbox).await).await;
    let refresh_token = tokens["refresh_token"].as_str().expect("offline_access was asked");
    let url = format!("{}/revoke", sandbox.issuer_url());
    let revoked = browser().post(url).form(&[("token", refresh_token)]).send().await.expect("an answer");
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(refresh(&sandbox, refresh_token).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let sandbox = account().await;
    let page = open_page(&sandbox, &[("scope", "openid")]).await.text().await.expect("a page");
    let sent_to = press(&sandbox, &page, ("person", "ana")).await;
    let (_, tokens) = redeem(&sandbox, &field(&sent_to, "code").expect("a code")).await;
    assert!(tokens["id_token"].is_string() && tokens["refresh_token"].is_null(), "{tokens}");
}
