//! Whole sign-ins, against a small identity provider and a browser that is an HTTP client.

mod provider;

use model::WallTime;
use provider::{NOW, Provider, Quirks};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use sign_in::{Clock, Oidc, OidcProvider, PendingSignIn, SignInError, SignedIn};

/// Goes where the provider sends it; returns the last status and page.
async fn browse(url: String) -> (u16, String) {
    let answer =
        reqwest::Client::builder().no_proxy().build().expect("a client").get(url).send().await.expect("it listens");
    (answer.status().as_u16(), answer.text().await.expect("a page"))
}

async fn begin(provider: &Provider) -> (PendingSignIn, String, String) {
    let pending = provider.oidc().begin().await.expect("the provider is there");
    let (redirect_uri, state) = provider.sign_in_page(&pending.authorize_url);
    (pending, redirect_uri, state)
}

/// A whole sign-in in which the person does what is right.
async fn sign_in(quirks: Quirks) -> Result<SignedIn, SignInError> {
    let provider = Provider::start(quirks).await;
    let (pending, redirect_uri, state) = begin(&provider).await;
    let answer = format!("{redirect_uri}?code=right-code&state={state}&iss={}", provider.issuer);
    let (outcome, (status, _)) = tokio::join!(pending.finish(), browse(answer));
    assert_eq!(status, 200, "the person sees a page, whatever comes of it");
    outcome
}

fn claims(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Quirks {
    Quirks { claims: Some(Box::new(edit)), ..Quirks::default() }
}

#[tokio::test]
async fn a_person_signs_in() {
    let signed_in = sign_in(Quirks::default()).await.expect("all is right");
    assert_eq!(signed_in.subject, "ana@acme.dev");
    assert_eq!(signed_in.id_token_expires_at, WallTime::from_unix_seconds(NOW + 3_600));
    assert_eq!(signed_in.refresh_token.as_ref().map(|token| token.expose().as_str()), Some("canary-refresh-1"));
    let text = format!("{signed_in:?}");
    assert!(!text.contains("canary") && !text.contains(signed_in.id_token.expose()), "{text}");
}

#[tokio::test]
async fn an_unverified_address_is_nobody() {
    let signed_in =
        sign_in(claims(|claims| claims["email_verified"] = json!(false))).await.expect("the token is right");
    assert_eq!(signed_in.subject, "u-1");
}

#[tokio::test]
async fn an_id_token_that_proves_nothing_is_refused() {
    let wrong: [(&str, Quirks); 7] = [
        ("audience", claims(|claims| claims["aud"] = json!("someone-else"))),
        ("issuer", claims(|claims| claims["iss"] = json!("https://evil.example"))),
        ("nonce", claims(|claims| claims["nonce"] = json!("another"))),
        ("nonce", claims(|claims| drop(claims.as_object_mut().and_then(|c| c.remove("nonce"))))),
        ("Expired", claims(|claims| claims["exp"] = json!(NOW - 1))),
        ("Expired", claims(|claims| claims["iat"] = json!(NOW + 600))),
        ("ignature", Quirks { foreign_key: true, ..Quirks::default() }),
    ];
    for (what, quirks) in wrong {
        let error = sign_in(quirks).await.expect_err(what);
        assert!(matches!(&error, SignInError::Untrusted { cause, .. } if cause.contains(what)), "{what}: {error}");
    }
}

#[tokio::test]
async fn declining_in_the_browser_is_a_cancellation() {
    let provider = Provider::start(Quirks::default()).await;
    let (pending, redirect_uri, state) = begin(&provider).await;
    let answer = format!("{redirect_uri}?error=access_denied&state={state}&iss={}", provider.issuer);
    let (outcome, (status, page)) = tokio::join!(pending.finish(), browse(answer));
    assert_eq!(outcome.expect_err("declined"), SignInError::Cancelled { issuer: provider.issuer.clone() });
    assert!(status == 200 && page.contains("close this tab"), "{page}");
}

#[tokio::test]
async fn another_sign_ins_answer_is_refused_and_spoils_nothing() {
    let provider = Provider::start(Quirks::default()).await;
    let (pending, redirect_uri, state) = begin(&provider).await;
    let issuer = &provider.issuer;
    for stray in
        [format!("code=x&state=wrong&iss={issuer}"), "error=access_denied".into(), format!("code=x&state={state}x")]
    {
        assert_eq!(browse(format!("{redirect_uri}?{stray}")).await.0, 400, "{stray}");
    }
    let answer = format!("{redirect_uri}?code=right-code&state={state}&iss={issuer}");
    let (outcome, _) = tokio::join!(pending.finish(), browse(answer));
    outcome.expect("the right answer still counts");
}

#[tokio::test]
async fn an_answer_is_taken_once_and_its_page_does_not_repeat_it() {
    let provider = Provider::start(Quirks::default()).await;
    let (pending, redirect_uri, state) = begin(&provider).await;
    let answer = format!("{redirect_uri}?code=right-code&state={state}&iss={}", provider.issuer);
    let browser = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
    let first = browser.get(&answer).send().await.expect("it listens");
    assert_eq!((first.status().as_u16(), &first.headers()["location"]), (303, &"/done".parse().expect("a header")));
    assert_eq!(first.headers()["cache-control"], "no-store");
    assert!(first.headers()["content-security-policy"].to_str().expect("text").starts_with("default-src 'none'"));
    assert_eq!(browser.get(&answer).send().await.expect("it listens").status(), 410);
    pending.finish().await.expect("the first answer counts");
}

#[tokio::test]
async fn only_a_browser_that_navigates_to_the_exact_host_is_let_in() {
    let provider = Provider::start(Quirks::default()).await;
    let (_pending, redirect_uri, state) = begin(&provider).await;
    let answer = format!("{redirect_uri}?code=right-code&state={state}&iss={}", provider.issuer);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for request in [
        client.get(&answer).header("host", "localhost"),
        client.get(&answer).header("host", "evil.example"),
        client.get(&answer).header("origin", "https://evil.example"),
        client.get(&answer).header("sec-fetch-mode", "no-cors"),
        client.post(&answer),
        client.head(&answer),
    ] {
        let request = request.build().expect("a request");
        let told = format!("{request:?}");
        assert_eq!(client.execute(request).await.expect("it listens").status(), 403, "{told}");
    }
    let elsewhere = answer.replace("/callback", "/other");
    assert_eq!(client.get(elsewhere).send().await.expect("it listens").status(), 404);
}

#[tokio::test]
async fn an_answer_of_another_provider_is_refused() {
    let provider = Provider::start(Quirks::default()).await;
    for (iss, actual) in [("&iss=https://evil.example", "https://evil.example"), ("", "an issuer it does not name")] {
        let (pending, redirect_uri, state) = begin(&provider).await;
        let answer = format!("{redirect_uri}?code=right-code&state={state}{iss}");
        let (outcome, _) = tokio::join!(pending.finish(), browse(answer));
        let expected = SignInError::MixedUp { issuer: provider.issuer.clone(), actual: actual.into() };
        assert_eq!(outcome.expect_err("mixed up"), expected);
    }
    assert!(provider.forms.lock().expect("unpoisoned").is_empty(), "no code may be sent anywhere after that");
}

#[tokio::test]
async fn nobody_signing_in_times_out_and_closes_the_listener() {
    let provider = Provider::start(Quirks::default()).await;
    let (pending, redirect_uri, _) = begin(&provider).await;
    browse(format!("{redirect_uri}?code=x&state=wrong")).await;
    tokio::time::pause();
    let error = pending.finish().await.expect_err("nobody came");
    tokio::time::resume();
    assert_eq!(error, SignInError::TimedOut { issuer: provider.issuer.clone(), minutes: 5, strays: 1 });
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    client.get(&redirect_uri).send().await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn a_renewal_brings_the_next_refresh_token_and_the_same_person() {
    let provider = Provider::start(Quirks::default()).await;
    let (oidc, old) = (provider.oidc(), "canary-refresh-1".into());
    let renewed = oidc.refresh("ana@acme.dev", &old).await.expect("all is right");
    assert_eq!(renewed.refresh_token.map(|token| token.expose().clone()).as_deref(), Some("canary-refresh-2"));
    let error = oidc.refresh("ben@acme.dev", &old).await.expect_err("ana is not ben");
    assert!(matches!(error, SignInError::WrongPerson { .. }), "{error}");
    oidc.revoke(&old).await.expect("the provider takes it");
    let form = provider.forms.lock().expect("unpoisoned").pop().expect("it was asked");
    assert!(form.contains(&("token".into(), "canary-refresh-1".into())), "{form:?}");
}

#[tokio::test]
async fn a_refused_renewal_tells_who_can_mend_it() {
    let refusal = |status, code: &str| Quirks { token: Some((status, json!({ "error": code }))), ..Quirks::default() };
    let old = "canary".into();
    let ended = Provider::start(refusal(400, "invalid_grant"))
        .await
        .oidc()
        .refresh("ana@acme.dev", &old)
        .await
        .expect_err("ended");
    assert!(matches!(ended, SignInError::Ended { .. }) && !ended.is_transient(), "{ended}");
    let busy =
        Provider::start(refusal(503, "temporarily_unavailable")).await.oidc().refresh("ana@acme.dev", &old).await;
    assert!(busy.expect_err("busy").is_transient());
}

#[tokio::test]
async fn a_provider_that_is_none_is_told_from_one_that_is_away() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let issuer = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let clock = || Clock::new(|| WallTime::from_unix_seconds(NOW));
    let oidc = Oidc::new(OidcProvider { issuer, client_id: "daypass".into() }, clock()).expect("loopback is accepted");
    let away = oidc.begin().await.expect_err("nobody listens");
    assert!(matches!(&away, SignInError::Unreachable { .. }) && away.is_transient(), "{away}");

    let other =
        Quirks { discovery: Some(Box::new(|d| d["issuer"] = json!("https://other.example"))), ..Quirks::default() };
    let none = Provider::start(other).await.oidc().begin().await.expect_err("another issuer");
    assert!(matches!(none, SignInError::BadProvider { .. }), "{none}");
}

#[tokio::test]
async fn no_address_of_a_provider_may_be_plain() {
    let clock = Clock::new(|| WallTime::from_unix_seconds(NOW));
    let plain = OidcProvider { issuer: "http://login.acme.dev".into(), client_id: "daypass".into() };
    assert!(matches!(Oidc::new(plain, clock), Err(SignInError::PlainAddress { .. })));
    for (field, fails_at_begin) in [("authorization_endpoint", true), ("jwks_uri", true), ("token_endpoint", false)] {
        let quirks = Quirks {
            discovery: Some(Box::new(move |d| d[field] = json!("http://evil.example/x"))),
            ..Quirks::default()
        };
        let provider = Provider::start(quirks).await;
        let outcome = match provider.oidc().begin().await {
            Ok(_) => provider.oidc().refresh("ana@acme.dev", &"canary".into()).await.map(drop),
            Err(error) => {
                assert!(fails_at_begin, "{field}: {error}");
                Err(error)
            }
        };
        assert!(matches!(outcome, Err(SignInError::PlainAddress { .. })), "{field}: {outcome:?}");
    }
}

#[tokio::test]
async fn scopes_a_provider_does_not_list_are_not_asked_for() {
    let without = Quirks {
        discovery: Some(Box::new(|d| d["scopes_supported"] = json!(["openid", "email"]))),
        ..Quirks::default()
    };
    for (quirks, scope) in [(Quirks::default(), "openid+email+profile+offline_access"), (without, "openid+email")] {
        let pending = Provider::start(quirks).await.oidc().begin().await.expect("it is there");
        assert!(pending.authorize_url.contains(&format!("scope={scope}&")), "{}", pending.authorize_url);
    }
}

#[tokio::test]
async fn every_step_can_run_in_a_task_of_its_own() {
    let provider = Provider::start(Quirks::default()).await;
    let oidc = provider.oidc();
    let steps = tokio::spawn(async move {
        let pending = oidc.begin().await.expect("it is there");
        let old = "canary".into();
        drop(tokio::spawn(pending.finish()));
        oidc.revoke(&old).await.expect("the provider takes it");
        oidc.refresh("ana@acme.dev", &old).await.expect("all is right").subject
    });
    assert_eq!(steps.await.expect("nothing panics"), "ana@acme.dev");
}
