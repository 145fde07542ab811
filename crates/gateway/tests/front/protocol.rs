//! The ways a connection may begin.

use std::sync::{Arc, Mutex};

use db_proto::postgres::{
    CancelKey, ClientEvent, ClientLogin, LoggedIn, LoginOptions, StartupParameters, TERMINATE, Transport,
};
use futures_util::{FutureExt, future::BoxFuture};
use gateway::{Demand, Route, TunnelError, Upstream, UpstreamStream};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::bed::{Bed, Database, PASSWORD, TOKEN, TestLogins, config, direct, out, program, secret, token, words};

#[tokio::test]
async fn connections_begin_in_every_way_the_protocol_knows() {
    let database = Database::start().await;
    let bed = Bed::at(&database, TestLogins::with([token("app_ro", TOKEN)])).await;

    let encrypted = tls(&bed, &[b"postgresql"]).await.expect("TLS without asking first");
    let session = log_in(encrypted, false).await;
    assert!(session.parameters.iter().any(|(name, _)| name == "server_version"), "{session:?}");
    let told = match tls(&bed, &[]).await {
        Ok(mut stream) => stream.read(&mut [0]).await.map(|length| length > 0).unwrap_or(false),
        Err(_) => false,
    };
    assert!(!told, "who opens with TLS has to say for which protocol");

    let session = log_in(tcp(&bed).await, true).await;
    assert!(session.cancel_key.is_some(), "protocol 3.2 is spoken before a server of 3.0");

    let mut stream = tcp(&bed).await;
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 48]).await.expect("GSSENCRequest");
    let mut answer = [0];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"N", "encryption by Kerberos is declined");
    log_in(stream, false).await;

    let mut stream = tcp(&bed).await;
    let foreign = CancelKey::new(1, vec![7; 4]).expect("four bytes fit");
    stream.write_all(&foreign.cancel_request()).await.expect("it reads");
    assert_eq!(stream.read(&mut [0]).await.expect("it closes"), 0);
}

async fn tcp(bed: &Bed) -> TcpStream {
    TcpStream::connect(("127.0.0.1", bed.port())).await.expect("it listens")
}

async fn tls(bed: &Bed, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(bed.front.authority_pem().as_bytes()).expect("PEM");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp(bed).await).await
}

async fn log_in(mut stream: impl AsyncRead + AsyncWrite + Unpin, newest: bool) -> LoggedIn {
    let parameters = StartupParameters::new("app_ro", "shop").expect("plain words");
    let options = LoginOptions { nonce: Some([4; 18]), newest };
    let mut machine = ClientLogin::with(parameters, Transport::Plain, options);
    let mut buffer = [0; 4096];
    loop {
        if let Some(bytes) = machine.poll_transmit() {
            stream.write_all(&bytes).await.expect("it reads");
        }
        match machine.poll_event() {
            Some(ClientEvent::PasswordWanted) => machine.password(PASSWORD.as_bytes()),
            Some(ClientEvent::LoggedIn(session)) => {
                stream.write_all(&TERMINATE).await.expect("it reads");
                return session;
            }
            Some(ClientEvent::Failed(error)) => panic!("{error}"),
            Some(ClientEvent::StartTls) => panic!("it was not asked for"),
            None => match stream.read(&mut buffer).await.expect("it answers") {
                0 => machine.closed(),
                length => machine.receive(&buffer[..length]),
            },
        }
    }
}

/// A way that notes what it is asked for.
struct Noted {
    way: Route,
    demands: Mutex<Vec<Demand>>,
}

impl Upstream for Noted {
    fn connect(&self, demand: Demand) -> BoxFuture<'_, Result<UpstreamStream, TunnelError>> {
        self.demands.lock().expect("no panic").push(demand);
        async move { Ok(Box::new(self.way.connect(demand).await?) as UpstreamStream) }.boxed()
    }
}

#[tokio::test]
async fn copies_of_whole_databases_ask_for_a_way_of_their_own() {
    let database = Database::start().await;
    let way = Route::from(direct(database.endpoint.address()));
    let noted = Arc::new(Noted { way, demands: Mutex::default() });
    let upstream: Arc<dyn Upstream> = Arc::<Noted>::clone(&noted);
    let logins = TestLogins::with([token("app_ro", TOKEN)]);
    let bed = Bed::with(config(&database.authority), upstream, logins).await;

    let mut dump = program("pg_dump");
    dump.args(["--schema-only", "--table", "orders", &bed.dsn("")]);
    assert!(out(&dump.output().await.expect("pg_dump is installed")).contains("CREATE TABLE public.orders"));
    assert_eq!(out(&bed.psql(&bed.dsn(""), "SELECT 1").await), "1");
    assert_eq!(*noted.demands.lock().expect("no panic"), [Demand::Bulk, Demand::Interactive]);

    let said = words(&bed.psql(&bed.dsn("replication=database"), "SELECT 1").await);
    assert!(said.contains("replication connection cannot be logged in with an IAM token"), "{said}");
    *bed.logins.credentials.lock().expect("no panic") = vec![Ok(secret("app_ro", "irrelevant"))];
    let said = words(&bed.psql(&bed.dsn("replication=true"), "IDENTIFY_SYSTEM").await);
    assert!(!said.contains("IAM token cannot"), "a secret is let through to the server's own answer: {said}");
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let database = Database::start().await;
    let mut bed = Bed::at(&database, TestLogins::with([token("app_ro", TOKEN)])).await;
    assert_eq!(out(&bed.psql(&bed.dsn(""), "SELECT 1").await), "1");
    let mut shown = format!("{:?} {:?}", bed.front, bed.logins.credentials);
    let secrets = [PASSWORD, TOKEN];
    let at_the_server = "SELECT query FROM pg_stat_activity UNION SELECT setting FROM pg_settings";
    shown.push_str(&out(&bed.psql(&bed.dsn(""), at_the_server).await));
    bed.logged_in().await;
    while let Ok(event) = bed.events.try_recv() {
        shown.push_str(&format!("{event:?}"));
    }
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}
