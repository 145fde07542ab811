//! From a StreamUrl to an open websocket.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::SinkExt;
use hyper_util::client::{
    legacy::connect::{HttpConnector, proxy::Tunnel as ProxyTunnel},
    proxy::matcher::Matcher,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, http::Uri, protocol::WebSocketConfig},
};
use tokio_util::either::Either;
use tower_service::Service;
use url::Url;

pub(crate) type Websocket = WebSocketStream<Either<TcpStream, TlsStream<TcpStream>>>;

/// More than any data channel message; the SSM agent accepts 64 KiB and sends about 1 KiB.
const LONGEST_MESSAGE: usize = 1024 * 1024;

/// Which HTTP proxy the websocket goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say; loopback hosts are always reached directly.
    #[default]
    FromEnvironment,
    /// None.
    Direct,
}

/// Why there is no websocket.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The URL is not `wss:`, or is plain to a host that is not loopback.
    #[error("the stream URL's host `{host}` would be reached without TLS: only wss: is used outside this machine")]
    Plain {
        /// Of the URL.
        host: String,
    },
    /// The URL cannot be used.
    #[error("the stream URL is not usable: {cause}")]
    Url {
        /// What is wrong with it; its query is left out.
        cause: String,
    },
    /// No TCP connection.
    #[error("cannot connect to {host}: {cause}")]
    Connect {
        /// The service's or the HTTP proxy's.
        host: String,
        /// From the system or the HTTP proxy.
        cause: String,
    },
    /// No TLS.
    #[error("TLS with {host} failed: {cause}; check that no inspection proxy changes its certificate")]
    Tls {
        /// Of the URL.
        host: String,
        /// From rustls or the system.
        cause: io::Error,
    },
    /// No websocket.
    #[error("{host} did not open a websocket: {cause}")]
    Websocket {
        /// Of the URL.
        host: String,
        /// From the handshake.
        cause: Box<tungstenite::Error>,
    },
    /// Too slow.
    #[error("{host} did not open a websocket in {seconds} s")]
    TimedOut {
        /// Of the URL.
        host: String,
        /// Waited.
        seconds: u64,
    },
}

/// How to dial.
#[derive(Debug)]
pub(crate) struct Dialer {
    proxy: Proxy,
    tls: OnceLock<Arc<ClientConfig>>,
    timeout: Duration,
}

impl Dialer {
    pub(crate) fn new(proxy: Proxy, tls: Option<Arc<ClientConfig>>, timeout: Duration) -> Self {
        Self { proxy, tls: tls.map_or_else(OnceLock::new, OnceLock::from), timeout }
    }

    /// Opens a websocket and sends `opening`, the data channel's first message, on it. It holds a token.
    pub(crate) async fn dial(&self, stream_url: &str, opening: String) -> Result<Websocket, DialError> {
        let url = Url::parse(stream_url).map_err(|cause| DialError::Url { cause: cause.to_string() })?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let seconds = self.timeout.as_secs();
        let open = self.open(&url, &host, opening);
        timeout(self.timeout, open).await.unwrap_or(Err(DialError::TimedOut { host, seconds }))
    }

    async fn open(&self, url: &Url, host: &str, opening: String) -> Result<Websocket, DialError> {
        let secure = is_secure(url)?;
        let tcp = self.connect(url, host).await?;
        tcp.set_nodelay(true).map_err(|cause| connect_error(host, &cause))?;
        let stream = if secure { Either::Right(self.encrypt(tcp, host).await?) } else { Either::Left(tcp) };
        let mut bounds = WebSocketConfig::default();
        bounds.max_message_size = Some(LONGEST_MESSAGE);
        bounds.max_frame_size = Some(LONGEST_MESSAGE);
        let failed = |cause| DialError::Websocket { host: host.to_owned(), cause: Box::new(cause) };
        let (mut websocket, _) = client_async_with_config(url.as_str(), stream, Some(bounds)).await.map_err(failed)?;
        websocket.send(Message::text(opening)).await.map_err(failed)?;
        Ok(websocket)
    }

    async fn connect(&self, url: &Url, host: &str) -> Result<TcpStream, DialError> {
        let port = url.port_or_known_default().unwrap_or(443);
        if self.proxy == Proxy::FromEnvironment && !is_loopback(url) {
            // The matcher knows http and https alone.
            let target: Uri = format!("https://{host}:{port}/")
                .parse()
                .map_err(|cause: tungstenite::http::uri::InvalidUri| DialError::Url { cause: cause.to_string() })?;
            if let Some(intercept) = Matcher::from_env().intercept(&target) {
                let mut tunnel = ProxyTunnel::new(intercept.uri().clone(), HttpConnector::new());
                if let Some(authorization) = intercept.basic_auth() {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                let proxy_host = intercept.uri().host().unwrap_or_default().to_owned();
                let connection = tunnel.call(target).await.map_err(|cause| connect_error(&proxy_host, &cause))?;
                return Ok(connection.into_inner());
            }
        }
        let bare = host.trim_matches(['[', ']']);
        TcpStream::connect((bare, port)).await.map_err(|cause| connect_error(host, &cause))
    }

    async fn encrypt(&self, tcp: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, DialError> {
        let tls_error = |cause| DialError::Tls { host: host.to_owned(), cause };
        let config = match self.tls.get() {
            Some(config) => config,
            None => {
                let config = platform_roots().map_err(|cause| tls_error(io::Error::other(cause)))?;
                self.tls.get_or_init(|| Arc::new(config))
            }
        };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|cause| tls_error(io::Error::other(cause)))?;
        TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(tls_error)
    }
}

fn platform_roots() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_platform_verifier()?.with_no_client_auth())
}

fn is_secure(url: &Url) -> Result<bool, DialError> {
    match url.scheme() {
        "wss" => Ok(true),
        "ws" if is_loopback(url) => Ok(false),
        "ws" => Err(DialError::Plain { host: url.host_str().unwrap_or_default().to_owned() }),
        other => Err(DialError::Url { cause: format!("its scheme is `{other}`, not wss") }),
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(model::is_loopback_host)
}

fn connect_error(host: &str, cause: &dyn std::error::Error) -> DialError {
    DialError::Connect { host: host.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_websockets_are_refused_unless_the_host_is_loopback() {
        for (url, secure) in [
            ("wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s?cell-number=AAEA", Some(true)),
            ("ws://127.0.0.1:4000/v1", Some(false)),
            ("ws://localhost:4000/v1", Some(false)),
            ("ws://[::1]:4000/v1", Some(false)),
            ("ws://127.0.0.1.example.com/v1", None),
            ("ws://10.0.0.1/v1", None),
            ("http://127.0.0.1/v1", None),
        ] {
            let parsed = Url::parse(url).expect("a URL");
            assert_eq!(is_secure(&parsed).ok(), secure, "{url}");
        }
    }
}
