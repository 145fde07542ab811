//! What a Gateway carries through a Tunnel, beside what the same client and Target do over a direct loopback connection.
//!
//! Three parties, each on threads of its own: the far end (data channel and SSM agent) on one, the Gateway on one, and the
//! database client, which is the main thread with a blocking socket. The Target runs beside them. Every figure is the median
//! of a few rounds; rounds over the Tunnel and over its peer alternate. MB are millions of bytes.
//!
//! Printed as `cargo xtask bench` reads it; whether a goal is met is told, never asserted.

#![expect(clippy::print_stdout, reason = "the figures are read from standard output")]

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use gateway::{
    Listener, Observer, Pool, PoolConfig, ResumedSession, Route, SessionError, Sessions, StartedSession, Traffic,
    Tunnel, TunnelConfig, serve,
};
use sandbox::{
    clock::Clock,
    data_channel::{AgentConfig, DataChannels, PortProperties, Vpc},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

const HOST: &str = "orders.abc.eu-west-1.rds.amazonaws.com";
const PORT: u16 = 5432;
const ROUNDS: usize = 5;
const BULK: u64 = 16 * 1024 * 1024;
/// At one KiB a millisecond.
const PACED_BULK: u64 = 512 * 1024;
const ECHOES: u64 = 400;
const ECHOED: usize = 100;
const PACED_MESSAGE: f64 = 1024.0;
/// A socket that moves nothing for so long fails the run.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let target = target().expect("loopback has free ports");
    let upload = without_delay(target);
    for (delay, goal) in [(20, Some(Goal::AtLeast(10.0))), (80, None)] {
        with_delay(target, Duration::from_millis(delay), upload, goal);
    }
    paced(target);
}

/// Returns the upload's rate in MB/s. The far end's CPU time is the peer of the Gateway's.
fn without_delay(target: SocketAddr) -> f64 {
    let path = Path::open(target, AgentConfig { pacing: false, ..AgentConfig::default() });
    let spent_before = path.cpu_times();
    let (upload, direct) = rates(path.gateway, target, Verb::Take, BULK);
    let spent = path.cpu_times();
    figure("tunnel upload", upload, "MB/s", Some(direct), Some(Goal::AtLeast(30.0)));
    if let (Some(before), Some(after)) = (spent_before, spent) {
        let per_gb = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e9 / carried(BULK);
        let (near, far) = (per_gb(before.near, after.near), per_gb(before.far, after.far));
        figure("tunnel upload, CPU of the gateway for a GB", near, "s", Some(far), Some(Goal::AtMost(15.0)));
    }
    let (download, direct) = rates(path.gateway, target, Verb::Give, BULK);
    figure("tunnel download", download, "MB/s", Some(direct), None);
    let (through, direct) = echoes(path.gateway, target);
    let goal = Some(Goal::AtMost(0.3));
    figure("tunnel echo of 100 bytes, added at p50", through.p50 - direct.p50, "ms", Some(direct.p50), goal);
    figure("tunnel echo of 100 bytes, added at p99", through.p99 - direct.p99, "ms", Some(direct.p99), None);
    path.first_byte();
    upload
}

/// `undelayed` is the upload's rate without delay. What may be unacknowledged is sent once in a round trip at most.
fn with_delay(target: SocketAddr, one_way_delay: Duration, undelayed: f64, goal: Option<Goal>) {
    let path = Path::open(target, AgentConfig { pacing: false, one_way_delay, ..AgentConfig::default() });
    let (upload, _) = rates(path.gateway, target, Verb::Take, BULK);
    let name = format!("tunnel upload, {} ms one way", one_way_delay.as_millis());
    figure(&name, upload, "MB/s", Some(undelayed), goal);
    path.first_byte();
}

/// The SSM agent sleeps a millisecond after each message; its timer, not the arithmetic, says how long that takes.
fn paced(target: SocketAddr) {
    let path = Path::open(target, AgentConfig::default());
    let allowed = PACED_MESSAGE / path.far_sleep().as_secs_f64() / 1e6;
    let (download, _) = rates(path.gateway, target, Verb::Give, PACED_BULK);
    figure("tunnel download, paced", download, "MB/s", Some(allowed), Some(Goal::AtLeast(allowed * 0.95)));
}

#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// Prints one measurement.
fn figure(name: &str, value: f64, unit: &str, baseline: Option<f64>, goal: Option<Goal>) {
    let (limit, met) = match goal {
        Some(Goal::AtLeast(limit)) => (Some(limit), Some(value >= limit)),
        Some(Goal::AtMost(limit)) => (Some(limit), Some(value <= limit)),
        None => (None, None),
    };
    let line = json!({
        "name": name, "value": value, "unit": unit, "baseline": baseline, "goal": limit, "goal_met": met,
    });
    println!("{line}");
}

/// Bytes of all rounds and the one that warms up.
fn carried(length: u64) -> f64 {
    length as f64 * (ROUNDS + 1) as f64
}

/// MB/s through the Gateway and directly. One connection serves all rounds; the first warms up.
fn rates(gateway: SocketAddr, target: SocketAddr, verb: Verb, length: u64) -> (f64, f64) {
    let (mut through, mut direct) = (Client::connect(gateway), Client::connect(target));
    through.carry(verb, length);
    let rounds = (0..ROUNDS).map(|_| (through.carry(verb, length), direct.carry(verb, length)));
    let (through, direct): (Vec<Duration>, Vec<Duration>) = rounds.unzip();
    let rate = |took: Vec<Duration>| length as f64 / 1e6 / Percentiles::of(took).p50 * 1e3;
    (rate(through), rate(direct))
}

/// Of round trips through the Gateway and directly.
fn echoes(gateway: SocketAddr, target: SocketAddr) -> (Percentiles, Percentiles) {
    let (mut through, mut direct) = (Client::connect(gateway), Client::connect(target));
    through.echo();
    let rounds = (0..ROUNDS).map(|_| (through.echo(), direct.echo()));
    let (through, direct): (Vec<Vec<Duration>>, Vec<Vec<Duration>>) = rounds.unzip();
    (Percentiles::of(through.concat()), Percentiles::of(direct.concat()))
}

/// In milliseconds.
struct Percentiles {
    p50: f64,
    p99: f64,
}

impl Percentiles {
    fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let at = |percent: usize| {
            let sample = samples.get((samples.len() * percent / 100).min(samples.len() - 1));
            sample.expect("every figure has samples").as_secs_f64() * 1e3
        };
        Self { p50: at(50), p99: at(99) }
    }
}

/// A database client.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("the socket is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
        stream.set_write_timeout(Some(PATIENCE)).expect("the socket is open");
        Self(stream)
    }

    /// Until the last byte is known to be there.
    fn carry(&mut self, verb: Verb, length: u64) -> Duration {
        let begun = Instant::now();
        let carried = self.0.write_all(&ask(verb, length)).and_then(|()| match verb {
            Verb::Take => pour(&mut self.0, length).and_then(|()| self.0.read_exact(&mut [0])),
            Verb::Give | Verb::Echo => drain(&mut self.0, length),
        });
        carried.expect("bytes flow");
        begun.elapsed()
    }

    fn echo(&mut self) -> Vec<Duration> {
        self.0.write_all(&ask(Verb::Echo, ECHOES)).expect("bytes flow");
        let one = |_| {
            let begun = Instant::now();
            let sent = self.0.write_all(&[7; ECHOED]);
            sent.and_then(|()| self.0.read_exact(&mut [0; ECHOED])).expect("the Target answers");
            begun.elapsed()
        };
        (0..ECHOES).map(one).collect()
    }
}

/// What a client asks of the Target.
#[derive(Clone, Copy)]
enum Verb {
    /// Take so many bytes, then say one.
    Take = 1,
    /// Say so many bytes.
    Give = 2,
    /// Say so many messages back.
    Echo = 3,
}

fn ask(verb: Verb, count: u64) -> [u8; 9] {
    let mut question = [verb as u8; 9];
    question[1..].copy_from_slice(&count.to_be_bytes());
    question
}

fn target() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes ends its thread with an error.
            thread::spawn(move || answer(client));
        }
    });
    Ok(address)
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    loop {
        let mut question = [0; 9];
        client.read_exact(&mut question)?;
        let [verb, count @ ..] = question;
        let count = u64::from_be_bytes(count);
        if verb == Verb::Take as u8 {
            drain(&mut client, count)?;
            client.write_all(&[1])?;
        } else if verb == Verb::Give as u8 {
            pour(&mut client, count)?;
        } else {
            let mut message = [0; ECHOED];
            for _ in 0..count {
                client.read_exact(&mut message)?;
                client.write_all(&message)?;
            }
        }
    }
}

fn pour(to: &mut TcpStream, mut length: u64) -> io::Result<()> {
    let chunk = [7; 64 * 1024];
    while length > 0 {
        let part = chunk.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        to.write_all(&chunk[..part])?;
        length -= part as u64;
    }
    Ok(())
}

fn drain(from: &mut TcpStream, mut length: u64) -> io::Result<()> {
    let mut chunk = [0; 64 * 1024];
    while length > 0 {
        let part = chunk.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let taken = from.read(&mut chunk[..part])?;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length -= taken as u64;
    }
    Ok(())
}

/// A Gateway with an open Tunnel to the Target.
struct Path {
    gateway: SocketAddr,
    agent: AgentConfig,
    sessions: SandboxSessions,
    /// Dropped before `far`, as the client goes first.
    near: Runtime,
    far: Runtime,
}

struct CpuTimes {
    near: Duration,
    far: Duration,
}

impl Path {
    fn open(target: SocketAddr, agent: AgentConfig) -> Self {
        let (near, far) = (one_thread(), one_thread());
        let vpc = Vpc::new();
        vpc.route(HOST, PORT, target);
        let channels = {
            let _far = far.enter();
            DataChannels::start(Clock::real(), agent.clone(), vpc).expect("loopback has free ports")
        };
        let sessions = SandboxSessions { channels, far: far.handle().clone(), started: Arc::default() };
        let route = near.block_on(open_route(sessions.clone()));
        let listener = near.block_on(Listener::bind(None)).expect("some port is free");
        let gateway = listener.local_addr().expect("it is bound");
        let observer = Observer { traffic: Arc::new(Traffic::default()), events: mpsc::unbounded_channel().0 };
        near.spawn(serve(listener, Arc::new(route), CancellationToken::new(), observer));
        Self { gateway, agent, sessions, near, far }
    }

    /// Prints how long a new session takes to carry the Target's first byte.
    ///
    /// The floor: the HandshakeRequest comes, is answered, and its completion comes; meanwhile the port gets ready; then the
    /// first byte goes and comes back. The SSM agent does not tell when its port is ready: without a delay to hide that, the
    /// rest is the time until the next try, and there is no goal.
    fn first_byte(&self) {
        let took = (0..ROUNDS).map(|_| self.near.block_on(self.near.spawn(first_byte(self.sessions.clone()))));
        let took = took.collect::<Result<Vec<_>, _>>().expect("the Target answers");
        let (delay, port_start) = (self.agent.one_way_delay, self.agent.port_start_delay);
        let floor = (delay * 4).max(delay * 2 + port_start) + delay;
        let goal = (!delay.is_zero()).then(|| Goal::AtMost((floor + delay * 2).as_secs_f64() * 1e3));
        let name = format!("tunnel first byte of a new session, {} ms one way", delay.as_millis());
        figure(&name, Percentiles::of(took).p50, "ms", Some(floor.as_secs_f64() * 1e3), goal);
    }

    /// How long the far end's timer makes of a millisecond.
    fn far_sleep(&self) -> Duration {
        const SLEEPS: u32 = 200;
        let sleeping = self.far.spawn(async {
            let begun = Instant::now();
            for _ in 0..SLEEPS {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            begun.elapsed() / SLEEPS
        });
        self.far.block_on(sleeping).expect("timers work")
    }

    /// What both ends' threads have spent; `None` where the system does not tell.
    fn cpu_times(&self) -> Option<CpuTimes> {
        let spent_by = |runtime: &Runtime| runtime.block_on(runtime.spawn(async { thread_cpu_time() })).ok().flatten();
        Some(CpuTimes { near: spent_by(&self.near)?, far: spent_by(&self.far)? })
    }
}

fn one_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads can be started")
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

async fn open_route(sessions: SandboxSessions) -> Route {
    let events = mpsc::unbounded_channel().0;
    Pool::open(sessions, PoolConfig::default(), events).await.expect("the data channel is there").into()
}

async fn open_tunnel(sessions: SandboxSessions) -> Tunnel {
    let events = mpsc::unbounded_channel().0;
    Tunnel::open(sessions, TunnelConfig::default(), events).await.expect("the data channel is there")
}

async fn first_byte(sessions: SandboxSessions) -> Duration {
    let begun = Instant::now();
    let tunnel = open_tunnel(sessions).await;
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
struct SandboxSessions {
    channels: DataChannels,
    far: Handle,
    started: Arc<AtomicU64>,
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
