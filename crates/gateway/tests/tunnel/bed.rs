//! A data channel, a Target behind it, and sessions that lead there.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use gateway::{
    Config, Pool, PoolConfig, ResumedSession, SessionError, Sessions, StartedSession, Tunnel, TunnelConfig,
    TunnelError, TunnelEvent,
};
use sandbox::{
    clock::Clock,
    data_channel::{AgentConfig, DataChannels, PortProperties, Vpc},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, mpsc},
    time::timeout,
};

pub(crate) const HOST: &str = "orders.abc.eu-west-1.rds.amazonaws.com";
pub(crate) const PORT: u16 = 5432;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Bed {
    pub(crate) channels: DataChannels,
    pub(crate) sessions: TestSessions,
    pub(crate) vpc: Vpc,
}

impl Bed {
    /// The Target echoes.
    pub(crate) async fn echoing() -> Self {
        Self::echoing_with(AgentConfig { pacing: false, ..AgentConfig::default() }).await
    }

    pub(crate) async fn echoing_with(config: AgentConfig) -> Self {
        let bed = Self::new(config);
        bed.echo().await;
        bed
    }

    pub(crate) async fn echo(&self) {
        self.target(|mut client| async move {
            let (mut from, mut to) = split(&mut client);
            drop(copy(&mut from, &mut to).await);
        })
        .await;
    }

    /// The Target echoes to its first client and says nothing to the others, as a host that hangs.
    pub(crate) async fn target_that_answers_once(&self) {
        let clients = AtomicUsize::new(0);
        self.target(move |mut client| {
            let first = clients.fetch_add(1, SeqCst) == 0;
            async move {
                let (mut from, mut to) = split(&mut client);
                if first {
                    drop(copy(&mut from, &mut to).await);
                } else {
                    drop(copy(&mut from, &mut tokio::io::sink()).await);
                }
            }
        })
        .await;
    }

    /// The Target answers each byte with an `a`, but only when it is told to.
    pub(crate) async fn target_that_waits(&self) -> Arc<Notify> {
        let told = Arc::new(Notify::new());
        let answer = Arc::clone(&told);
        self.target(move |mut client| {
            let answer = Arc::clone(&answer);
            async move {
                while client.read_u8().await.is_ok() {
                    answer.notified().await;
                    drop(client.write_all(b"a").await);
                }
            }
        })
        .await;
        told
    }

    pub(crate) fn new(config: AgentConfig) -> Self {
        let vpc = Vpc::new();
        let channels = DataChannels::start(Clock::real(), config, vpc.clone()).expect("loopback has free ports");
        let sessions = TestSessions::of(&channels);
        Self { channels, sessions, vpc }
    }

    /// Serves the Target's connections with `serve`.
    pub(crate) async fn target<F>(&self, serve: impl Fn(TcpStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
        self.route(listener.local_addr().expect("it is bound"));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client));
            }
        });
    }

    pub(crate) fn route(&self, address: SocketAddr) {
        self.vpc.route(HOST, PORT, address);
    }

    pub(crate) async fn open(&self) -> (Tunnel, Events) {
        let (tunnel, events) = self.try_open(tunnel_config()).await;
        (tunnel.expect("the data channel is there"), events)
    }

    pub(crate) async fn pool(&self) -> (Pool, Events) {
        self.pool_with(PoolConfig { tunnel: tunnel_config(), ..PoolConfig::default() }).await
    }

    pub(crate) async fn pool_with(&self, config: PoolConfig) -> (Pool, Events) {
        let (told, events) = mpsc::unbounded_channel();
        let pool = in_time(Pool::open(self.sessions.clone(), config, told)).await;
        // The first session was asked for: what is told from now on is another one.
        self.sessions.asked.notified().await;
        (pool.expect("the data channel is there"), Events(events))
    }

    pub(crate) async fn try_open(&self, config: TunnelConfig) -> (Result<Tunnel, TunnelError>, Events) {
        let (told, events) = mpsc::unbounded_channel();
        let tunnel = in_time(Tunnel::open(self.sessions.clone(), config, told)).await;
        (tunnel, Events(events))
    }

    /// The session most recently started.
    pub(crate) fn session_id(&self) -> String {
        session_id(self.started())
    }

    /// Sessions so far.
    pub(crate) fn started(&self) -> usize {
        self.sessions.started.load(SeqCst)
    }
}

pub(crate) struct Events(pub(crate) mpsc::UnboundedReceiver<TunnelEvent>);

impl Events {
    /// The next event that `wanted` wants; the others before it are passed over.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&TunnelEvent) -> bool) -> TunnelEvent {
        loop {
            let event = in_time(self.0.recv()).await.expect("the tunnel tells it before it ends");
            if wanted(&event) {
                return event;
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Option<TunnelEvent> {
        in_time(self.0.recv()).await
    }
}

/// Sessions of the sandbox's data channel, with faults on request.
#[derive(Clone)]
pub(crate) struct TestSessions {
    channels: DataChannels,
    started: Arc<AtomicUsize>,
    /// Answers of the next calls of `start` and `resume`, before the right ones.
    pub(crate) errors: Arc<Mutex<Vec<SessionError>>>,
    /// Replaces the stream URL.
    pub(crate) stream_url: Arc<Mutex<Option<String>>>,
    /// A session is being asked for.
    pub(crate) asked: Arc<Notify>,
    /// How many sessions may be started.
    gate: Arc<Semaphore>,
}

impl TestSessions {
    fn of(channels: &DataChannels) -> Self {
        Self {
            channels: channels.clone(),
            started: Arc::default(),
            errors: Arc::default(),
            stream_url: Arc::default(),
            asked: Arc::default(),
            gate: Arc::new(Semaphore::new(1000)),
        }
    }

    /// From now on nobody gets a session without a permit of what is returned.
    pub(crate) fn shut(&self) -> Arc<Semaphore> {
        self.gate.forget_permits(usize::MAX);
        Arc::clone(&self.gate)
    }

    fn next_error(&self) -> Result<(), SessionError> {
        self.errors.lock().expect("no test panics with it").pop().map_or(Ok(()), Err)
    }
}

impl Sessions for TestSessions {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        self.asked.notify_one();
        self.gate.acquire().await.expect("it is never closed").forget();
        self.next_error()?;
        let session_id = session_id(self.started.fetch_add(1, SeqCst) + 1);
        let properties = PortProperties { host: Some(HOST.to_owned()), port: PORT };
        let opened = self.channels.open(&session_id, properties);
        let replaced = self.stream_url.lock().expect("no test panics with it").clone();
        let stream_url = replaced.unwrap_or(opened.stream_url);
        Ok(StartedSession { session_id, stream_url, token: opened.token_value.into() })
    }

    async fn resume(&self, session_id: &str) -> Result<Option<ResumedSession>, SessionError> {
        self.next_error()?;
        let opened = self.channels.resume(session_id);
        Ok(opened
            .map(|opened| ResumedSession { stream_url: Some(opened.stream_url), token: opened.token_value.into() }))
    }

    async fn terminate(&self, session_id: &str) -> Result<(), SessionError> {
        self.channels.terminate(session_id);
        Ok(())
    }
}

pub(crate) fn tunnel_config() -> TunnelConfig {
    let channel = Config { linger: Duration::from_secs(1), ..Config::default() };
    // No ping may wake a tunnel that has forgotten a timer.
    let ping_interval = Duration::from_secs(3600);
    TunnelConfig { channel, ping_interval, ..TunnelConfig::default() }
}

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it does not take so long")
}

/// Sends `bytes` and reads as many back.
pub(crate) async fn echo(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), bytes: &[u8]) -> Vec<u8> {
    let (mut from, mut to) = split(stream);
    let mut back = vec![0; bytes.len()];
    let (sent, received) = in_time(async { tokio::join!(to.write_all(bytes), from.read_exact(&mut back)) }).await;
    sent.expect("the target is there");
    received.expect("the target answers");
    back
}

/// Bytes that tell their place, with line feeds among them.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| if at.is_multiple_of(3) { b'\n' } else { u8::try_from(at % 251).expect("below 251") })
        .collect()
}

pub(crate) fn session_id(number: usize) -> String {
    format!("dev-{number:017x}")
}
