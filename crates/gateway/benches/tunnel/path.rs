//! A Gateway on one thread and everything behind it on another.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gateway::{
    Listener, Observer, Pool, PoolConfig, ResumedSession, SessionError, Sessions, StartedSession, Traffic, Tunnel,
    TunnelConfig, serve,
};
use sandbox::{
    clock::Clock,
    data_channel::{AgentConfig, DataChannels, PortProperties, Vpc},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::client::{Verb, ask};

const HOST: &str = "orders.abc.eu-west-1.rds.amazonaws.com";
const PORT: u16 = 5432;

/// How many sessions the connections have between them.
#[derive(Clone, Copy)]
pub(crate) enum Sharing {
    One,
    Pool,
}

/// A Gateway that leads to the Target.
pub(crate) struct Path {
    pub(crate) gateway: SocketAddr,
    pub(crate) agent: AgentConfig,
    sessions: SandboxSessions,
    /// Dropped before `far`, as the client goes first.
    near: Runtime,
    far: Runtime,
}

impl Path {
    pub(crate) fn open(target: SocketAddr, agent: AgentConfig, sharing: Sharing) -> Self {
        let (near, far) = (one_thread(), one_thread());
        let sessions = SandboxSessions::start(target, agent.clone(), far.handle().clone());
        let gateway = near.block_on(near.spawn(listen(sessions.clone(), sharing))).expect("it does not panic");
        Self { gateway, agent, sessions, near, far }
    }

    /// Of one more session, which is ended again.
    pub(crate) fn first_byte(&self) -> Duration {
        let took = self.near.spawn(first_byte(self.sessions.clone()));
        self.near.block_on(took).expect("the Target answers")
    }

    /// How long the far end's timer makes of `time`, so many times.
    pub(crate) fn far_sleeps(&self, time: Duration, count: usize) -> Vec<Duration> {
        let sleeping = self.far.spawn(async move {
            let mut sleeps = Vec::new();
            while sleeps.len() < count {
                let begun = Instant::now();
                tokio::time::sleep(time).await;
                sleeps.push(begun.elapsed());
            }
            sleeps
        });
        self.far.block_on(sleeping).expect("timers work")
    }

    /// How often the far end's timer makes a millisecond within `time`, which is waited for.
    pub(crate) fn far_paces(&self, time: Duration) -> u32 {
        let pacing = self.far.spawn(async move {
            let (begun, mut paces) = (Instant::now(), 0);
            while begun.elapsed() < time {
                tokio::time::sleep(Duration::from_millis(1)).await;
                paces += 1;
            }
            paces
        });
        self.far.block_on(pacing).expect("timers work")
    }

    /// What the Gateway's thread has spent; `None` where the system does not tell.
    pub(crate) fn gateway_time(&self) -> Option<Duration> {
        self.near.block_on(self.near.spawn(async { thread_cpu_time() })).ok().flatten()
    }
}

pub(crate) fn one_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads can be started")
}

/// Serves connections from now on.
pub(crate) async fn listen(sessions: impl Sessions, sharing: Sharing) -> SocketAddr {
    let most_sessions = match sharing {
        Sharing::One => 1,
        Sharing::Pool => PoolConfig::default().most_sessions,
    };
    let config = PoolConfig { most_sessions, ..PoolConfig::default() };
    let pool = Pool::open(sessions, config, mpsc::unbounded_channel().0).await.expect("the data channel is there");
    let listener = Listener::bind(None).await.expect("some port is free");
    let gateway = listener.local_addr().expect("it is bound");
    let observer = Observer { traffic: Arc::new(Traffic::default()), events: mpsc::unbounded_channel().0 };
    tokio::spawn(serve(listener, Arc::new(pool.into()), CancellationToken::new(), observer));
    gateway
}

#[cfg(unix)]
fn thread_cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::try_from(time).expect("time spent is never negative"))
}

#[cfg(not(unix))]
fn thread_cpu_time() -> Option<Duration> {
    None
}

async fn first_byte(sessions: SandboxSessions) -> Duration {
    let begun = Instant::now();
    let events = mpsc::unbounded_channel().0;
    let tunnel = Tunnel::open(sessions, TunnelConfig::default(), events).await.expect("the data channel is there");
    let mut stream = tunnel.connect().await.expect("it is open");
    stream.write_all(&ask(Verb::Give, 1)).await.expect("there is room");
    stream.read_u8().await.expect("the Target answers");
    let took = begun.elapsed();
    drop(stream);
    tunnel.close().await;
    took
}

/// Sessions whose far end stays on the far end's thread.
#[derive(Clone)]
pub(crate) struct SandboxSessions {
    channels: DataChannels,
    far: Handle,
    started: Arc<AtomicU64>,
}

impl SandboxSessions {
    pub(crate) fn start(target: SocketAddr, agent: AgentConfig, far: Handle) -> Self {
        let vpc = Vpc::new();
        vpc.route(HOST, PORT, target);
        let channels = {
            let _far = far.enter();
            DataChannels::start(Clock::real(), agent, vpc).expect("loopback has free ports")
        };
        Self { channels, far, started: Arc::default() }
    }
}

impl Sessions for SandboxSessions {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        let _far = self.far.enter();
        let session_id = format!("dev-{:017x}", self.started.fetch_add(1, Relaxed));
        let opened = self.channels.open(&session_id, PortProperties { host: Some(HOST.to_owned()), port: PORT });
        Ok(StartedSession { session_id, stream_url: opened.stream_url, token: opened.token_value.into() })
    }

    async fn resume(&self, session_id: &str) -> Result<Option<ResumedSession>, SessionError> {
        let resumed = self
            .channels
            .resume(session_id)
            .map(|opened| ResumedSession { stream_url: Some(opened.stream_url), token: opened.token_value.into() });
        Ok(resumed)
    }

    async fn terminate(&self, session_id: &str) -> Result<(), SessionError> {
        let _far = self.far.enter();
        self.channels.terminate(session_id);
        Ok(())
    }
}
