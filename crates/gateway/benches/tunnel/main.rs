//! What a Gateway carries, beside what the protocol, the SSM agent or the machine allow at most in the same run.
//!
//! Three parties, each on threads of its own: the far end (data channel and SSM agent) on one, the Gateway on one, and the
//! database client, which is the main thread with a blocking socket. The Target runs beside them. Every figure is the median
//! of a few rounds; rounds over the Tunnel and over its peer alternate. MB are millions of bytes. A floor that is made of
//! delays is made of delays as the far end's timers keep them.
//!
//! Printed as `cargo xtask bench` reads it; whether a goal is met is told, never asserted.

mod client;
mod idle;
mod measured;
mod path;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sandbox::data_channel::AgentConfig;
use ssm_proto::frame::{Frame, MessageType, PayloadType};

use client::{Client, Verb};
use measured::{Goal, figure};
use path::{Path, Sharing};

const ROUNDS: usize = 5;
/// With a delay most of the time is the delay's.
const DELAYED_ROUNDS: usize = 3;
const BULK: u64 = 16 * 1024 * 1024;
const ENDLESS: u64 = u64::MAX;
const PACED_MESSAGE: f64 = 1024.0;
/// What may be unacknowledged, so what can be uploaded in one round trip.
const UNACKNOWLEDGED: f64 = 2.0 * 1024.0 * 1024.0;
const CLIENTS: usize = 8;
/// Moved by a download before the next one begins, so that it is known as one.
const BEGUN: u64 = 192 * 1024;
/// How long eight downloads are watched.
const WATCHED: Duration = Duration::from_secs(4);

fn main() {
    if idle::is_child() {
        return idle::child();
    }
    let target = client::target().expect("loopback has free ports");
    let upload = without_delay(target);
    for delay in [20, 80] {
        with_delay(target, delay, upload);
    }
    for delay in [0, 20, 80] {
        paced(target, delay);
    }
    idle::memory(target);
}

/// Returns the upload's rate in MB/s.
fn without_delay(target: SocketAddr) -> f64 {
    let path = Path::open(target, AgentConfig { pacing: false, ..AgentConfig::default() }, Sharing::One);
    let spent_before = path.gateway_time();
    let (upload, direct) = rates(&path, target, Verb::Take, BULK, ROUNDS);
    let spent = path.gateway_time();
    figure("tunnel upload, no delay", upload, "MB/s", Some(direct), Some(Goal::AtLeast(30.0)));
    if let (Some(before), Some(after)) = (spent_before, spent) {
        let per_gb = (after - before).as_secs_f64() * 1e9 / (BULK as f64 * (ROUNDS + 1) as f64);
        let (name, goal) = ("tunnel upload, CPU of the gateway for a GB", Some(Goal::AtMost(15.0)));
        figure(name, per_gb, "s", Some(framing_time()), goal);
    }
    let (download, direct) = rates(&path, target, Verb::Give, BULK, ROUNDS);
    figure("tunnel download, no delay, unpaced", download, "MB/s", Some(direct), None);
    echoes(&path, target, Some(Goal::AtMost(0.3)));
    first_byte(&path);
    drop(path);
    let pool = Path::open(target, AgentConfig { pacing: false, ..AgentConfig::default() }, Sharing::Pool);
    let (eight, _) = steady_download(&pool, CLIENTS);
    figure(&format!("pool, {CLIENTS} downloads, no delay, unpaced"), eight, "MB/s", Some(direct), None);
    upload
}

/// `undelayed` is the upload's rate without delay.
fn with_delay(target: SocketAddr, milliseconds: u64, undelayed: f64) {
    let one_way_delay = Duration::from_millis(milliseconds);
    let agent = AgentConfig { pacing: false, one_way_delay, ..AgentConfig::default() };
    let path = Path::open(target, agent, Sharing::One);
    let (upload, direct) = rates(&path, target, Verb::Take, BULK, DELAYED_ROUNDS);
    let allowed = (UNACKNOWLEDGED / (one_way_delay * 2).as_secs_f64() / 1e6).min(undelayed);
    let goal = (milliseconds == 20).then_some(Goal::AtLeast(10.0));
    figure(&format!("tunnel upload, {milliseconds} ms one way"), upload, "MB/s", Some(allowed), goal);
    let (download, _) = rates(&path, target, Verb::Give, BULK, DELAYED_ROUNDS);
    figure(&format!("tunnel download, {milliseconds} ms one way, unpaced"), download, "MB/s", Some(direct), None);
    echoes(&path, target, None);
    first_byte(&path);
}

/// The SSM agent sleeps a millisecond after each message; its timer, not the arithmetic, says how long that takes.
fn paced(target: SocketAddr, milliseconds: u64) {
    let agent = AgentConfig { one_way_delay: Duration::from_millis(milliseconds), ..AgentConfig::default() };
    let path = Path::open(target, agent.clone(), Sharing::One);
    let (one, allowed) = steady_download(&path, 1);
    let goal = Some(Goal::AtLeast(allowed * 0.95));
    figure(&format!("tunnel download, {milliseconds} ms one way, paced"), one, "MB/s", Some(allowed), goal);
    let (upload, direct) = rates(&path, target, Verb::Take, BULK, DELAYED_ROUNDS);
    figure(&format!("tunnel upload, {milliseconds} ms one way, paced"), upload, "MB/s", Some(direct), None);
    echoes(&path, target, None);
    drop(path);
    let pool = Path::open(target, agent, Sharing::Pool);
    let (eight, allowed) = steady_download(&pool, CLIENTS);
    let (allowed, goal) = (allowed * CLIENTS as f64, Some(Goal::AtLeast(one * 6.0)));
    let name = format!("pool, {CLIENTS} downloads, {milliseconds} ms one way, paced");
    figure(&name, eight, "MB/s", Some(allowed), goal);
}

/// MB/s through the Gateway and directly. One connection serves all rounds; the first warms up.
fn rates(path: &Path, target: SocketAddr, verb: Verb, length: u64, rounds: usize) -> (f64, f64) {
    let (mut through, mut direct) = (Client::connect(path.gateway), Client::connect(target));
    through.carry(verb, length);
    let rounds = (0..rounds).map(|_| (through.carry(verb, length), direct.carry(verb, length)));
    let (through, direct): (Vec<Duration>, Vec<Duration>) = rounds.unzip();
    let rate = |took: Vec<Duration>| length as f64 / 1e6 / Percentiles::of(took).p50 * 1e3;
    (rate(through), rate(direct))
}

/// MB/s of so many downloads together, each begun when the one before it was known as one, once all have begun; and what the
/// far end's pacing allows one session meanwhile.
fn steady_download(path: &Path, clients: usize) -> (f64, f64) {
    let (moved, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let (sender, begun) = std::sync::mpsc::channel();
        let (gateway, moved, over) = (path.gateway, Arc::clone(&moved), Arc::clone(&over));
        tasks.push(thread::spawn(move || {
            let mut own = 0;
            Client::connect(gateway).download(ENDLESS, |length| {
                moved.fetch_add(length, Relaxed);
                own += length;
                if own >= BEGUN {
                    // Only the first time is waited for.
                    let _ = sender.send(());
                }
                !over.load(Relaxed)
            });
        }));
        begun.recv_timeout(client::PATIENCE).expect("a download begins");
    }
    let (from, since) = (moved.load(Relaxed), Instant::now());
    let paces = path.far_paces(WATCHED);
    let rate = |bytes: f64| bytes / 1e6 / since.elapsed().as_secs_f64();
    let rates = (rate((moved.load(Relaxed) - from) as f64), rate(PACED_MESSAGE * f64::from(paces)));
    over.store(true, Relaxed);
    tasks.into_iter().for_each(|task| task.join().expect("a download ends"));
    rates
}

/// Prints what the Gateway adds to a round trip of 100 bytes, beside the round trip without it.
fn echoes(path: &Path, target: SocketAddr, goal: Option<Goal>) {
    let delay = path.agent.one_way_delay;
    let (rounds, count) = if delay.is_zero() { (ROUNDS, 400) } else { (1, 25) };
    let (mut through, mut direct) = (Client::connect(path.gateway), Client::connect(target));
    through.echo(count);
    let rounds = (0..rounds).map(|_| (through.echo(count), direct.echo(count)));
    let (through, direct): (Vec<Vec<Duration>>, Vec<Vec<Duration>>) = rounds.unzip();
    let (through, direct) = (Percentiles::of(through.concat()), Percentiles::of(direct.concat()));
    let delays = far_delay(path, delay) * 2.0;
    // One message a pace: an answer waits for the end of the pace of the one before.
    let pace = if path.agent.pacing { far_delay(path, Duration::from_millis(1)) } else { 0.0 };
    let pacing = if path.agent.pacing { "paced" } else { "unpaced" };
    let name = format!("tunnel echo of 100 bytes, {} ms one way, {pacing}, added", delay.as_millis());
    let floor = |direct: f64| (direct + delays).max(pace);
    figure(&format!("{name} at p50"), through.p50 - floor(direct.p50), "ms", Some(floor(direct.p50)), goal);
    figure(&format!("{name} at p99"), through.p99 - floor(direct.p99), "ms", Some(floor(direct.p99)), None);
}

/// Prints how long a new session takes to carry the Target's first byte.
///
/// The floor: the HandshakeRequest comes, is answered, and its completion comes; meanwhile the port gets ready; then the
/// first byte goes and comes back. The SSM agent does not tell when its port is ready: without a delay to hide that, the
/// rest is the time until the next try, and there is no goal.
fn first_byte(path: &Path) {
    let took = (0..ROUNDS).map(|_| path.first_byte()).collect();
    let one_way_delay = path.agent.one_way_delay;
    let (delay, port_start) = (far_delay(path, one_way_delay), far_delay(path, path.agent.port_start_delay));
    let floor = (delay * 4.0).max(delay * 2.0 + port_start) + delay;
    let goal = (!one_way_delay.is_zero()).then_some(Goal::AtMost(floor + delay * 2.0));
    let name = format!("tunnel first byte of a new session, {} ms one way", one_way_delay.as_millis());
    figure(&name, Percentiles::of(took).p50, "ms", Some(floor), goal);
}

/// Milliseconds that the far end's timer makes of `delay`.
fn far_delay(path: &Path, delay: Duration) -> f64 {
    if delay.is_zero() { 0.0 } else { Percentiles::of(path.far_sleeps(delay, 15)).p50 }
}

/// Seconds that it takes to put a GB into messages of 1 KiB with their digests, and nothing else.
fn framing_time() -> f64 {
    const MESSAGES: i64 = 64 * 1024;
    let payload = Bytes::from_static(&[7; 1024]);
    let begun = Instant::now();
    for sequence_number in 0..MESSAGES {
        let frame = Frame {
            message_type: MessageType::InputStreamData,
            sequence_number,
            flags: 0,
            message_id: [7; 16],
            created_at_ms: 1,
            payload_type: Some(PayloadType::Output),
            payload: payload.clone(),
        };
        std::hint::black_box(frame.encode());
    }
    begun.elapsed().as_secs_f64() * 1e9 / (MESSAGES as f64 * 1024.0)
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
