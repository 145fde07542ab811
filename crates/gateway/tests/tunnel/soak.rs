//! What a tunnel goes through in a long life. `cargo xtask soak tunnel` runs the same with larger numbers.

#![expect(clippy::print_stdout, reason = "a long run says how far it is")]

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use gateway::{ResumedSession, SessionError, Sessions, StartedSession, Tunnel, TunnelEvent, TunnelStream};
use sandbox::data_channel::{AgentConfig, DataChannels, Side};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    time::{Instant, advance, pause, resume, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::bed::{Bed, Events, TestSessions, echo, in_time, pattern};

/// What is asked for at a time when downloading. A cut loses at most so much of it, and the SSM agent sends one lost message
/// of 1 KiB again every 100 ms.
const BLOCK: usize = 32 * 1024;
/// For one block, however often it is cut on its way.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_arrives_while_either_leg_or_both_are_cut_again_and_again() {
    let blocks = from_environment("DAYPASS_SOAK_MIB", 8) * MIB / BLOCK as u64;
    let cuts = from_environment("DAYPASS_SOAK_CUTS", 6);
    let bed = Bed::new(AgentConfig { pacing: false, ..AgentConfig::default() });
    bed.target(serve).await;
    let (tunnel, events) = bed.open().await;
    let tunnel = Arc::new(tunnel);
    let storm = Storm::over(&bed, cuts, 2 * blocks);
    let (up, down) = (tunnel.connect().await.expect("it is open"), tunnel.connect().await.expect("it is open"));
    let _healing = Healing::begin(Arc::clone(&tunnel), events);
    tokio::join!(upload(up, blocks, &storm), download(down, blocks, &storm));
    assert_eq!(storm.made.load(SeqCst), cuts, "the storm is over when all bytes are there");
    storm.tell();
}

#[tokio::test]
async fn the_hourly_goodbye_may_come_any_number_of_times() {
    let times: usize = from_environment("DAYPASS_SOAK_BYES", 12);
    let bed = Bed::echoing().await;
    let (tunnel, events) = bed.open().await;
    let tunnel = Arc::new(tunnel);
    let mut stream = tunnel.connect().await.expect("it is open");
    let mut healing = Healing::begin(Arc::clone(&tunnel), events);
    let bytes = pattern(20_000);
    for time in 1..=times {
        let before = *healing.healed.borrow();
        let (echoed, ()) = tokio::join!(echo(&mut stream, &bytes), async {
            tokio::task::yield_now().await;
            bed.channels.say_bye(&bed.session_id());
        });
        assert!(echoed == bytes, "goodbye {time}");
        in_time(healing.healed.wait_for(|healed| *healed > before)).await.expect("the tunnel lives");
        if time.is_multiple_of(100) {
            println!("{time} of {times} goodbyes");
        }
    }
    assert_eq!(echo(&mut stream, b"still the same").await, b"still the same");
}

#[test]
fn a_connection_goes_on_after_a_sleep_of_twenty_minutes() {
    for cut_meanwhile in [false, true] {
        let far = Runtime::new().expect("threads can be started");
        let bed = far.block_on(Bed::echoing());
        let near = Builder::new_current_thread().enable_all().build().expect("threads can be started");
        near.block_on(async {
            let (told, events) = tokio::sync::mpsc::unbounded_channel();
            let mut events = Events(events);
            let sessions = Far { inner: bed.sessions.clone(), runtime: far.handle().clone() };
            let tunnel = in_time(Tunnel::open(sessions, gateway::TunnelConfig::default(), told)).await;
            let tunnel = tunnel.expect("the data channel is there");
            let mut stream = tunnel.connect().await.expect("it is open");
            assert_eq!(echo(&mut stream, b"before").await, b"before");
            if cut_meanwhile {
                bed.channels.cut(&bed.session_id(), Side::Client);
            }
            pause();
            advance(Duration::from_secs(20 * 60)).await;
            resume();
            assert_eq!(echo(&mut stream, b"after").await, b"after", "cut meanwhile: {cut_meanwhile}");
            if cut_meanwhile {
                events.until(|event| matches!(event, TunnelEvent::Healed { .. })).await;
            }
        });
    }
}

/// Sessions whose far end stays in a runtime of its own, so that it does not sleep along.
struct Far {
    inner: TestSessions,
    runtime: Handle,
}

impl Sessions for Far {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        let inner = self.inner.clone();
        self.runtime.spawn(async move { inner.start().await }).await.expect("it does not panic")
    }

    async fn resume(&self, session_id: &str) -> Result<Option<ResumedSession>, SessionError> {
        self.inner.resume(session_id).await
    }

    async fn terminate(&self, session_id: &str) -> Result<(), SessionError> {
        self.inner.terminate(session_id).await
    }
}

fn from_environment<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Cuts at even distances of bytes: the client's leg, the SSM agent's, both, and again.
struct Storm {
    channels: DataChannels,
    session_id: String,
    begun: Instant,
    cuts: usize,
    blocks: u64,
    moved: AtomicU64,
    made: AtomicUsize,
}

impl Storm {
    fn over(bed: &Bed, cuts: usize, blocks: u64) -> Self {
        let (channels, session_id) = (bed.channels.clone(), bed.session_id());
        let (moved, made) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { channels, session_id, begun: Instant::now(), cuts, blocks, moved, made }
    }

    fn block_moved(&self) {
        let moved = self.moved.fetch_add(1, SeqCst) + 1;
        let between = self.blocks / (self.cuts as u64 + 1);
        if !moved.is_multiple_of(between) || moved / between > self.cuts as u64 {
            return;
        }
        let sides: &[Side] = match moved / between % 3 {
            0 => &[Side::Client, Side::Agent],
            1 => &[Side::Client],
            _ => &[Side::Agent],
        };
        sides.iter().for_each(|side| self.channels.cut(&self.session_id, *side));
        if (self.made.fetch_add(1, SeqCst) + 1).is_multiple_of(10) {
            self.tell();
        }
    }

    fn tell(&self) {
        let moved = self.moved.load(SeqCst) * BLOCK as u64 / MIB;
        let (made, cuts, seconds) = (self.made.load(SeqCst), self.cuts, self.begun.elapsed().as_secs());
        println!("{moved} MiB both ways together, {made} of {cuts} cuts, {seconds} s");
    }
}

/// As if the network said after each loss that it is there again: so many in a minute are not worth waiting for.
struct Healing {
    healed: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

impl Healing {
    fn begin(tunnel: Arc<Tunnel>, mut events: Events) -> Self {
        let (count, healed) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Some(event) = events.0.recv().await {
                // A websocket that was given up for a new one is not to be given up again.
                if matches!(&event, TunnelEvent::Broken { cause, .. } if !cause.contains("was asked for")) {
                    tunnel.reconnect();
                } else if matches!(event, TunnelEvent::Healed { .. }) {
                    count.send_modify(|healed| *healed += 1);
                }
            }
        });
        Self { healed, _task: AbortOnDropHandle::new(task) }
    }
}

/// Everything at once, as fast as the channel takes it.
async fn upload(mut stream: TunnelStream, blocks: u64, storm: &Storm) {
    stream.write_u64(blocks).await.expect("it is open");
    for number in 0..blocks {
        let sent = timeout(PATIENCE, stream.write_all(&block(number))).await;
        sent.unwrap_or_else(|_| panic!("block {number} is not taken")).expect("it stays open");
        storm.block_moved();
    }
    let right = timeout(PATIENCE, stream.read_u64()).await.expect("the target has seen all").expect("it stays open");
    assert_eq!(right, blocks, "each block came once, whole and in its place");
}

/// Block by block, as a client reads rows.
async fn download(mut stream: TunnelStream, blocks: u64, storm: &Storm) {
    stream.write_u64(u64::MAX).await.expect("it is open");
    let mut received = vec![0; BLOCK];
    for number in 0..blocks {
        stream.write_u64(number).await.expect("it stays open");
        let read = timeout(PATIENCE, stream.read_exact(&mut received)).await;
        read.unwrap_or_else(|_| panic!("block {number} does not come")).expect("it stays open");
        assert!(received == block(number), "block {number} is another one");
        storm.block_moved();
    }
}

/// Takes so many blocks and says how many were right, or gives each that is asked for.
async fn serve(mut client: TcpStream) {
    let blocks = client.read_u64().await.expect("each says what it wants");
    if blocks == u64::MAX {
        while let Ok(number) = client.read_u64().await {
            drop(client.write_all(&block(number)).await);
        }
        return;
    }
    let (mut right, mut received) = (0, vec![0; BLOCK]);
    for number in 0..blocks {
        client.read_exact(&mut received).await.expect("all come");
        right += u64::from(received == block(number));
    }
    client.write_u64(right).await.expect("it is waited for");
}

/// The same at both ends, and unlike any other one (SplitMix64).
fn block(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0xD129_0C5B_0F6A_1E35);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    (0..BLOCK / 8).flat_map(|_| next()).collect()
}
