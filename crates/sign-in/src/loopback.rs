//! Where the browser brings the answer: a listener on 127.0.0.1 that takes one, from nobody but the browser.
//!
//! Any page and any program on this computer can reach it. So it answers to its exact Host alone (a rebound DNS name has
//! another), to GET on one path, to navigations and not to scripts, and it takes no answer whose `state` it does not know; such an
//! answer neither ends nor spoils the sign-in that is under way.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use oauth2::CsrfToken;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

use crate::SignInError;

const PATH: &str = "/callback";
/// Where the browser is sent at once, so that no history keeps the address with the code in it.
const DONE: &str = "/done";
/// How long the page at [`DONE`] is waited for.
const PARTING: Duration = Duration::from_secs(5);

/// What the identity provider told the browser to bring.
#[derive(Debug, Deserialize)]
pub(crate) struct Brought {
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) error_description: Option<String>,
    pub(crate) iss: Option<String>,
    state: Option<String>,
}

/// The listener, until it is dropped or has its answer.
#[derive(Debug)]
pub(crate) struct Loopback {
    address: SocketAddr,
    brought: oneshot::Receiver<Brought>,
    strays: Arc<AtomicU32>,
    page_shown: Arc<Notify>,
    /// Dropping it ends the listener.
    open: oneshot::Sender<()>,
}

#[derive(Clone, Debug)]
struct Waiting {
    address: SocketAddr,
    state: Arc<str>,
    take: Arc<Mutex<Option<oneshot::Sender<Brought>>>>,
    strays: Arc<AtomicU32>,
    page_shown: Arc<Notify>,
}

impl Loopback {
    /// Listens on a free port of 127.0.0.1 for the answer that carries `state`.
    pub(crate) async fn open(state: &CsrfToken) -> Result<Self, SignInError> {
        let no_port = |e: std::io::Error| SignInError::NoPort { cause: e.to_string() };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let (take, brought) = oneshot::channel();
        let (open, closing) = oneshot::channel::<()>();
        let waiting = Waiting {
            address,
            state: state.secret().as_str().into(),
            take: Arc::new(Mutex::new(Some(take))),
            strays: Arc::default(),
            page_shown: Arc::default(),
        };
        let (strays, page_shown) = (waiting.strays.clone(), waiting.page_shown.clone());
        let server = axum::serve(listener, router(waiting)).with_graceful_shutdown(async move {
            let _closed = closing.await;
        });
        tokio::spawn(async move { server.await });
        Ok(Self { address, brought, strays, page_shown, open })
    }

    /// What the identity provider is told to redirect to.
    pub(crate) fn redirect_uri(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Answers that were refused since they belong to no or to another sign-in.
    pub(crate) fn strays(&self) -> Arc<AtomicU32> {
        self.strays.clone()
    }

    /// Waits for the answer; none when the listener ended.
    pub(crate) async fn brought(self) -> Option<Brought> {
        let brought = self.brought.await.ok()?;
        let (page_shown, open) = (self.page_shown, self.open);
        tokio::spawn(async move {
            let _shown = tokio::time::timeout(PARTING, page_shown.notified()).await;
            drop(open);
        });
        Some(brought)
    }
}

fn router(waiting: Waiting) -> Router {
    let guarded = middleware::from_fn_with_state(waiting.clone(), guard);
    Router::new().route(PATH, get(take)).route(DONE, get(done)).layer(guarded).with_state(waiting)
}

/// Lets nothing in but a navigation of a browser, and gives nothing out that could be kept or framed.
async fn guard(State(waiting): State<Waiting>, request: Request, next: Next) -> Response {
    let mut response = if is_navigation(request.headers(), waiting.address) && request.method() == "GET" {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "This address is for signing in to Daypass only.").into_response()
    };
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}

fn is_navigation(headers: &HeaderMap, address: SocketAddr) -> bool {
    let is =
        |name: &str, expected: &str| headers.get(name).is_some_and(|value| value.as_bytes() == expected.as_bytes());
    let by_script = headers.contains_key(header::ORIGIN)
        || headers.contains_key("sec-fetch-mode") && !is("sec-fetch-mode", "navigate");
    is("host", &address.to_string()) && !by_script
}

async fn take(State(waiting): State<Waiting>, Query(brought): Query<Brought>) -> Response {
    let state = brought.state.as_deref().unwrap_or_default();
    if !bool::from(state.as_bytes().ct_eq(waiting.state.as_bytes())) {
        waiting.strays.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::BAD_REQUEST, page("This answer belongs to another sign-in. Start again in Daypass."))
            .into_response();
    }
    let taker = waiting.take.lock().unwrap_or_else(PoisonError::into_inner).take();
    match taker {
        Some(taker) => {
            // A receiver that is gone gave the sign-in up; the person is told the same.
            drop(taker.send(brought));
            (StatusCode::SEE_OTHER, [(header::LOCATION, DONE)]).into_response()
        }
        None => {
            (StatusCode::GONE, page("This sign-in has its answer already. You can close this tab.")).into_response()
        }
    }
}

async fn done(State(waiting): State<Waiting>) -> Html<String> {
    waiting.page_shown.notify_one();
    page("Daypass has its answer. You can close this tab.")
}

fn page(text: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Daypass</title>\
         <body style=\"font:15px system-ui;margin:20vh auto;max-width:30em;text-align:center\"><p>{text}</p></body></html>"
    ))
}
