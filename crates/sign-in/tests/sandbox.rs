//! A sign-in at the sandbox's identity provider: its real page, its real tokens.

use model::WallTime;
use sandbox::{Sandbox, SandboxConfig};
use secrets::Secret;
use sign_in::{Clock, Oidc, OidcProvider, SignInError, SignedIn};

async fn company() -> (Sandbox, Oidc) {
    let sandbox =
        Sandbox::start(SandboxConfig { with_postgres: false, ..SandboxConfig::default() }).await.expect("a sandbox");
    let clock = sandbox.clock().clone();
    let provider = OidcProvider { issuer: sandbox.issuer_url().to_owned(), client_id: "daypass".into() };
    let oidc = Oidc::new(provider, Clock::new(move || WallTime(clock.now()))).expect("loopback is accepted");
    (sandbox, oidc)
}

/// Opens the page, presses a button (`person=ana`, `decision=deny`), and follows to wherever that leads.
async fn press(authorize_url: &str, issuer: &str, button: (&str, &str)) -> String {
    let browser = reqwest::Client::builder().no_proxy().build().expect("a client");
    let page = browser.get(authorize_url).send().await.expect("it listens").text().await.expect("a page");
    let (_, rest) = page.split_once("name=\"request\" value=\"").expect("the form names its request");
    let (request, _) = rest.split_once('"').expect("an attribute ends");
    let form = [("request", request), button];
    let answer = browser.post(format!("{issuer}/sign-in")).form(&form).send().await.expect("it listens");
    answer.text().await.expect("a page")
}

async fn sign_in(sandbox: &Sandbox, oidc: &Oidc, button: (&str, &str)) -> Result<SignedIn, SignInError> {
    let pending = oidc.begin().await.expect("the provider is there");
    let url = pending.authorize_url.clone();
    let (outcome, page) = tokio::join!(pending.finish(), press(&url, sandbox.issuer_url(), button));
    assert!(page.contains("You can close this tab"), "{page}");
    outcome
}

#[tokio::test]
async fn a_person_signs_in_renews_and_signs_out() {
    let (sandbox, oidc) = company().await;
    let signed_in = sign_in(&sandbox, &oidc, ("person", "ana")).await.expect("ana presses her button");
    assert_eq!(signed_in.subject, "ana@acme.dev");
    assert_eq!(sign_in::session_name(&signed_in.subject), "ana@acme.dev");

    let first = signed_in.refresh_token.expect("offline access is offered");
    let renewed = oidc.refresh("ana@acme.dev", &first).await.expect("it is fresh");
    assert!(renewed.id_token_expires_at >= signed_in.id_token_expires_at);
    let second = renewed.refresh_token.expect("it is replaced");
    assert_ne!(first, second, "the provider rotates its refresh tokens");

    oidc.revoke(&second).await.expect("the provider takes it");
    let ended = oidc.refresh("ana@acme.dev", &second).await.expect_err("it was revoked");
    assert!(matches!(ended, SignInError::Ended { .. }), "{ended}");
}

#[tokio::test]
async fn a_stolen_refresh_token_ends_the_sign_in_for_both() {
    let (sandbox, oidc) = company().await;
    let signed_in = sign_in(&sandbox, &oidc, ("person", "ana")).await.expect("ana presses her button");
    let first = signed_in.refresh_token.expect("offline access is offered");
    let second = oidc.refresh("ana@acme.dev", &first).await.expect("it is fresh").refresh_token.expect("replaced");
    for token in [first, second] {
        let ended = oidc.refresh("ana@acme.dev", &token).await.expect_err("used twice");
        assert!(matches!(ended, SignInError::Ended { .. }), "{ended}");
    }
}

#[tokio::test]
async fn pressing_deny_cancels() {
    let (sandbox, oidc) = company().await;
    let outcome = sign_in(&sandbox, &oidc, ("decision", "deny")).await.expect_err("nobody signed in");
    assert_eq!(outcome, SignInError::Cancelled { issuer: sandbox.issuer_url().to_owned() });
}

#[tokio::test]
async fn a_refresh_token_nobody_issued_renews_nothing() {
    let (_sandbox, oidc) = company().await;
    let nonsense = Secret::from("not-a-token");
    let refused = oidc.refresh("ana@acme.dev", &nonsense).await.expect_err("unknown");
    assert!(matches!(refused, SignInError::Ended { .. } | SignInError::Refused { .. }), "{refused}");
}
