//! The websocket inside TLS, as AWS has it.

use std::{net::SocketAddr, sync::Arc};

use gateway::{ResumedSession, SessionError, Sessions, StartedSession, TunnelConfig, TunnelError, TunnelEvent};
use jiff::Timestamp;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use sandbox::{
    data_channel::{PortProperties, Side},
    tls::{CertificateAuthority, ServerCertificate},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::bed::{Bed, Events, HOST, PORT, TestSessions, echo, in_time, pattern};

#[tokio::test]
async fn bytes_flow_inside_tls_and_so_does_the_next_websocket() {
    let bed = Bed::echoing().await;
    let authority = authority("Acme");
    let front = TlsFront::start(&bed, certificate(&authority, "localhost")).await;
    let (tunnel, mut events) = open(&bed, &front.origin("localhost"), Some(trusting(&authority))).await;
    let tunnel = tunnel.expect("the certificate is good");
    let mut stream = tunnel.connect().await.expect("it is open");
    let bytes = pattern(200_000);
    assert!(echo(&mut stream, &bytes).await == bytes, "they come back as they went");

    bed.channels.cut(&bed.session_id(), Side::Client);

    events.until(|event| matches!(event, TunnelEvent::Healed { .. })).await;
    assert_eq!(echo(&mut stream, b"after").await, b"after");
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_is_refused_and_the_session_ended() {
    let bed = Bed::echoing().await;
    let (known, foreign) = (authority("Acme"), authority("Somebody else"));
    let expired = known.expired_certificate(&["localhost"], Timestamp::now()).expect("a name");
    for (case, offered, roots) in [
        ("another authority", certificate(&foreign, "localhost"), Some(trusting(&known))),
        ("an authority the system does not know", certificate(&known, "localhost"), None),
        ("another name", certificate(&known, "ssmmessages.eu-west-1.amazonaws.com"), Some(trusting(&known))),
        ("a time that is over", expired, Some(trusting(&known))),
    ] {
        let front = TlsFront::start(&bed, offered).await;
        let (tunnel, _events) = open(&bed, &front.origin("localhost"), roots).await;
        let error = tunnel.expect_err(case);
        assert!(matches!(error, TunnelError::Dial(_)), "{case}: {error:?}");
        assert!(error.to_string().contains("TLS with localhost failed"), "{case}: {error}");
        assert!(!bed.channels.is_open(&bed.session_id()), "{case}: nobody would ever use it");
    }
}

#[tokio::test]
async fn a_resumed_session_is_not_followed_to_a_plain_address_outside_this_machine() {
    let bed = Bed::echoing().await;
    let sessions = Elsewhere { inner: bed.sessions.clone(), started: None, resumed: "ws://10.1.2.3".to_owned() };
    let (told, events) = mpsc::unbounded_channel();
    let opened = in_time(gateway::Tunnel::open(sessions, TunnelConfig::default(), told)).await;
    let _tunnel = opened.expect("the first address is on loopback");
    bed.channels.cut(&bed.session_id(), Side::Client);
    let told = |event: &TunnelEvent| format!("{event:?}").contains("`10.1.2.3` would be reached without TLS");
    Events(events).until(told).await;
}

async fn open(
    bed: &Bed,
    origin: &str,
    tls: Option<Arc<ClientConfig>>,
) -> (Result<gateway::Tunnel, TunnelError>, Events) {
    let sessions =
        Elsewhere { inner: bed.sessions.clone(), started: Some(origin.to_owned()), resumed: origin.to_owned() };
    let (told, events) = mpsc::unbounded_channel();
    let tunnel = in_time(gateway::Tunnel::open(sessions, TunnelConfig { tls, ..TunnelConfig::default() }, told)).await;
    (tunnel, Events(events))
}

/// The bed's sessions with stream URLs that lead somewhere else: `wss://localhost:4443`.
struct Elsewhere {
    inner: TestSessions,
    started: Option<String>,
    resumed: String,
}

impl Sessions for Elsewhere {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        let started = self.inner.start().await?;
        let Some(origin) = &self.started else { return Ok(started) };
        Ok(StartedSession { stream_url: at(origin, &started.stream_url), ..started })
    }

    async fn resume(&self, session_id: &str) -> Result<Option<ResumedSession>, SessionError> {
        let resumed = self.inner.resume(session_id).await?;
        Ok(resumed.map(|resumed| ResumedSession {
            stream_url: resumed.stream_url.map(|url| at(&self.resumed, &url)),
            ..resumed
        }))
    }

    async fn terminate(&self, session_id: &str) -> Result<(), SessionError> {
        self.inner.terminate(session_id).await
    }
}

/// `url`, which leads to the data channels, moved to `origin`.
pub(crate) fn at(origin: &str, url: &str) -> String {
    let (_, path) = url.split_once("/v1/").expect("it leads to a data channel");
    format!("{origin}/v1/{path}")
}

/// Does TLS in front of a bed's data channels.
pub(crate) struct TlsFront {
    pub(crate) address: SocketAddr,
}

impl TlsFront {
    pub(crate) async fn start(bed: &Bed, certificate: ServerCertificate) -> Self {
        let behind = channels_address(bed);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = certificate.acceptor();
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut channels = TcpStream::connect(behind).await.expect("they listen");
                    // A leg that is cut ends with an error, and that is the end of it.
                    drop(copy_bidirectional(&mut client, &mut channels).await);
                });
            }
        });
        Self { address }
    }

    fn origin(&self, host: &str) -> String {
        format!("wss://{host}:{}", self.address.port())
    }
}

fn channels_address(bed: &Bed) -> SocketAddr {
    let probe = bed.channels.open("probe", PortProperties { host: Some(HOST.to_owned()), port: PORT });
    bed.channels.terminate("probe");
    let authority = probe.stream_url.split('/').nth(2).expect("scheme, nothing, authority");
    authority.parse().expect("the sandbox listens at an address")
}

pub(crate) fn authority(name: &str) -> CertificateAuthority {
    CertificateAuthority::new(name, Timestamp::now()).expect("keys can be made")
}

pub(crate) fn certificate(authority: &CertificateAuthority, name: &str) -> ServerCertificate {
    authority.certificate(&[name], Timestamp::now()).expect("a name")
}

fn trusting(authority: &CertificateAuthority) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.ca_der().clone()).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("the provider knows them");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}
