//! HTTP to an identity provider: no redirects, no plain addresses, bounded answers.

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use oauth2::http::Response;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use url::Url;

const LIMIT: Duration = Duration::from_secs(15);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const LARGEST: usize = 1024 * 1024;

/// The client every call to one identity provider goes through.
#[derive(Clone, Debug)]
pub(crate) struct Fetch(reqwest::Client);

/// An answer that did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("it leads to {0}, which is neither https nor on this computer")]
    Plain(String),
    #[error("{0}")]
    Failed(String),
    #[error("its answer is larger than {LARGEST} bytes")]
    TooLarge,
}

impl Fetch {
    /// HTTPS_PROXY and NO_PROXY hold, but never for an issuer on loopback.
    pub(crate) fn for_issuer(issuer: &str) -> Result<Self, FetchError> {
        let builder = reqwest::Client::builder().redirect(Policy::none()).timeout(LIMIT).connect_timeout(CONNECT_LIMIT);
        let loopback = Url::parse(issuer).is_ok_and(|url| is_loopback(&url));
        let builder = if loopback { builder.no_proxy() } else { builder };
        Ok(Self(builder.build().map_err(failed)?))
    }

    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let url = request.uri().to_string();
        if !is_safe(&url) {
            return Err(FetchError::Plain(url));
        }
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let mut answer = self.0.execute(request).await.map_err(failed)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        response.body(body).map_err(|e| FetchError::Failed(e.to_string()))
    }
}

impl<'c> AsyncHttpClient<'c> for Fetch {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.fetch(request))
    }
}

/// Whether tokens may go there: https, or http to this computer.
pub(crate) fn is_safe(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        _ => false,
    })
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(model::is_loopback_host)
}

fn failed(error: reqwest::Error) -> FetchError {
    FetchError::Failed(causes(&error.without_url()))
}

/// An error and what caused it, in one line, without repetitions.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_nowhere_in_the_clear_but_to_this_computer() {
        for url in
            ["https://login.acme.dev/token", "http://127.0.0.1:4000/token", "http://[::1]:4000", "http://localhost:1"]
        {
            assert!(is_safe(url), "{url}");
        }
        for url in
            ["http://login.acme.dev", "http://127.0.0.1.evil.dev", "http://localhost.evil.dev", "file:///etc", "token"]
        {
            assert!(!is_safe(url), "{url}");
        }
    }
}
