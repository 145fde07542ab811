//! The client against a model of the SSM agent over a bad network, on virtual time.
//!
//! The model is written from the behaviour of aws/amazon-ssm-agent and shares only the frame codec: it resends its oldest
//! message alone, throws away stream bytes that come before the handshake is complete, acknowledges nothing until it is ready,
//! knows no half-close, and echoes what each stream sends. Every run repeats from its seed.

mod agent;
mod network;

use std::time::{Duration, Instant};

use agent::Agent;
use network::{Chance, Network, Weather};
use ssm_proto::{Channel, Config, Event, Read, StreamId, frame::MessageType};

const SEEDS: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn every_byte_arrives_in_order_whatever_the_network_does() {
    let seeds = std::env::var("SSM_PROTO_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        Run::new(seed).play();
    }
}

/// One client, one SSM agent, one network, a few streams that each send a known pattern and expect it back.
struct Run {
    seed: u64,
    chance: Chance,
    now: Instant,
    end: Instant,
    client: Channel,
    agent: Agent,
    network: Network,
    conversations: Vec<Conversation>,
    next_cut: Instant,
    next_pause: Instant,
    sleeps_at: Option<Instant>,
    online_at: Option<Instant>,
    ready: bool,
}

struct Conversation {
    stream: StreamId,
    length: usize,
    written: usize,
    read: usize,
    finished: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let now = start_of_time();
        let weather = Weather::draw(&mut chance);
        let payload_size = [64, 1000, 1024, 1536][chance.below(4)];
        let config = Config { payload_size, ..Config::default() };
        let mut client = Channel::new(config, [u8::try_from(seed % 251).expect("below 251"); 32], now, 1);
        let streams = 1 + chance.below(4);
        let conversations = (0..streams).map(|_| Conversation::open(&mut client, &mut chance)).collect();
        Self {
            seed,
            now,
            end: now + PATIENCE,
            client,
            agent: Agent::new(now, &mut chance),
            next_cut: now + Duration::from_millis(chance.up_to(3000)),
            next_pause: now + Duration::from_millis(chance.up_to(2000)),
            sleeps_at: weather.sleeps.then(|| now + Duration::from_millis(chance.up_to(1000))),
            network: Network::new(weather),
            conversations,
            online_at: None,
            ready: false,
            chance,
        }
    }

    fn play(mut self) {
        let mut steps = 0_u64;
        while !self.conversations.iter().all(Conversation::is_complete) {
            self.step();
            steps += 1;
            assert!(self.now < self.end, "seed {}: wedged after {steps} steps: {:?}", self.seed, self.progress());
            assert!(steps < 5_000_000, "seed {}: busy without progress: {:?}", self.seed, self.progress());
        }
        assert!(self.ready, "seed {}: bytes came before the handshake was complete", self.seed);
        assert_eq!(self.agent.early_bytes, 0, "seed {}: the SSM agent threw away early bytes", self.seed);
    }

    fn step(&mut self) {
        self.cut_or_heal();
        self.pause_or_sleep();
        while let Some(message) = self.network.to_agent.arrive(self.now) {
            self.agent.handle_frame(message, self.now);
        }
        while let Some(message) = self.network.to_client.arrive(self.now) {
            self.client.handle_frame(message, self.now).expect("the network loses messages whole");
        }
        if self.client.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.client.handle_timeout(self.now);
        }
        self.agent.handle_timeout(self.now);
        self.converse();
        self.carry();
        self.advance();
    }

    fn converse(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Ready { .. } => self.ready = true,
                Event::Readable(_) | Event::Writable(_) => {}
                Event::Closed { .. } | Event::ConnectRefused(_) | Event::Failed(_) | Event::Overflowed(_) => {
                    panic!("seed {}: {event:?}", self.seed);
                }
            }
        }
        for conversation in &mut self.conversations {
            conversation.go_on(&mut self.client, self.now, self.seed);
        }
    }

    fn carry(&mut self) {
        if self.online_at.is_some() {
            return;
        }
        while let Some(message) = self.client.poll_transmit(self.now) {
            self.network.to_agent.send(message, self.now, &mut self.chance);
        }
        while let Some(message) = self.agent.poll_transmit(self.now) {
            self.network.to_client.send(message, self.now, &mut self.chance);
        }
    }

    /// A cut loses everything on its way. The client comes back with everything it has not heard of.
    fn cut_or_heal(&mut self) {
        if self.online_at.is_some_and(|at| at <= self.now) {
            self.online_at = None;
            self.client.reconnected(self.now);
        }
        if self.network.weather.cuts && self.now >= self.next_cut {
            self.network.lose_everything();
            self.online_at = Some(self.now + Duration::from_millis(self.chance.up_to(2000)));
            self.next_cut = self.now + Duration::from_millis(2000 + self.chance.up_to(20_000));
        }
    }

    fn pause_or_sleep(&mut self) {
        if self.sleeps_at.is_some_and(|at| at <= self.now) {
            self.sleeps_at = None;
            self.now += Duration::from_secs(90);
        }
        if self.network.weather.pauses && self.now >= self.next_pause {
            self.next_pause = self.now + Duration::from_millis(500 + self.chance.up_to(5000));
            let order = [MessageType::PausePublication, MessageType::StartPublication][self.chance.below(2)].clone();
            self.client.handle_frame(agent::service_message(order), self.now).expect("it is a message");
        }
    }

    fn advance(&mut self) {
        let client = self.client.poll_timeout().map(|(at, _)| at);
        let events = [client, self.agent.poll_timeout(), self.network.next_arrival(), self.online_at];
        let next = events.into_iter().flatten().min().unwrap_or(self.end);
        let next = if self.network.weather.cuts { next.min(self.next_cut) } else { next };
        let next = if self.network.weather.pauses { next.min(self.next_pause) } else { next };
        self.now = next.max(self.now + Duration::from_micros(1));
    }

    fn progress(&self) -> Vec<(usize, usize, usize)> {
        self.conversations.iter().map(|one| (one.length, one.written, one.read)).collect()
    }
}

impl Conversation {
    fn open(client: &mut Channel, chance: &mut Chance) -> Self {
        let length = [1, 1017, 5000, 60_000, 300_000][chance.below(5)];
        let stream = client.open_stream().expect("a new session has ids");
        Self { stream, length, written: 0, read: 0, finished: false }
    }

    fn is_complete(&self) -> bool {
        self.finished
    }

    fn go_on(&mut self, client: &mut Channel, now: Instant, seed: u64) {
        while self.written < self.length {
            let bytes: Vec<u8> = (self.written..self.length.min(self.written + 2048)).map(pattern).collect();
            let taken = client.write(self.stream, &bytes).expect("the far end echoes until it has everything");
            self.written += taken;
            if taken < bytes.len() {
                break;
            }
            if self.written == self.length {
                client.finish(self.stream, now);
            }
        }
        let mut buffer = [0; 4096];
        loop {
            match client.read(self.stream, &mut buffer) {
                Read::Bytes(length) => {
                    let right = buffer[..length].iter().enumerate().all(|(at, byte)| *byte == pattern(self.read + at));
                    assert!(right, "seed {seed}: {:?} differs after byte {}", self.stream, self.read);
                    self.read += length;
                    if self.read == self.length {
                        client.reset(self.stream);
                        self.finished = true;
                    }
                }
                Read::Blocked => return,
                Read::Finished | Read::Reset => {
                    return assert!(self.finished, "seed {seed}: {:?} ended after {} bytes", self.stream, self.read);
                }
            }
        }
    }
}

/// Line feeds are frequent in it, since one client is known to change them.
fn pattern(at: usize) -> u8 {
    if at.is_multiple_of(3) { b'\n' } else { u8::try_from(at % 251).expect("below 251") }
}

/// Where virtual time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; time moves on as the test says"
)]
fn start_of_time() -> Instant {
    Instant::now()
}
