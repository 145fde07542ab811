//! The client against a model of the SSM agent over a bad network, on virtual time.
//!
//! The model is written from the source of aws/amazon-ssm-agent and shares only the frame codec: it resends its oldest
//! message alone, throws away stream bytes that come before the handshake is complete, acknowledges nothing until it is ready,
//! stops reading while a destination does not read, connects one stream at a time, and knows no half-close. Every run repeats
//! from its seed: `SSM_PROTO_SEED=17` plays that one, `SSM_PROTO_SEEDS=20000` the first so many.

mod agent;
mod conversation;
mod fairness;
mod network;
mod server;

use std::time::{Duration, Instant};

use agent::Agent;
use conversation::Conversation;
use network::{Chance, Way, Weather};
use server::Server;
use ssm_proto::{Channel, Config, Event, frame::MessageType};

const SEEDS: u64 = 200;
/// A message that the SSM agent lost costs it a tenth of a second, and thousands may be lost with a websocket.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);
const RECEIVE_LIMIT: usize = 8 * 1024 * 1024;
const SEND_LIMIT: usize = 64 * 1024;
const STREAMS: u64 = 5;
/// 2 MiB unacknowledged, 16 MiB out of order, and what the two limits say, with a message more for each.
const MEMORY: usize = (2 + 16) * 1024 * 1024 + RECEIVE_LIMIT + 5 * (SEND_LIMIT + 1024) + 64 * 1024;

#[test]
fn every_byte_arrives_in_order_whatever_the_network_does() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SSM_PROTO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SSM_PROTO_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let _named = Named(seed);
        Run::new(seed).play();
    }
}

/// Names the seed of a run that fails, wherever it does.
struct Named(u64);

impl Drop for Named {
    #[expect(clippy::print_stderr, reason = "it is what one needs to play the failure again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed: SSM_PROTO_SEED={}", self.0);
        }
    }
}

/// One client, one SSM agent, one network, and a few connections.
struct Run {
    seed: u64,
    chance: Chance,
    now: Instant,
    end: Instant,
    weather: Weather,
    client: Channel,
    client_link: Link,
    agent: Agent,
    agent_link: Link,
    to_agent: Way,
    to_client: Way,
    conversations: Vec<Conversation>,
    next_pause: Instant,
    agent_starts_at: Option<Instant>,
    next_hold_up: Instant,
    asleep_until: Option<Instant>,
    sleeps_at: Option<Instant>,
    ready: bool,
}

/// One end's websocket.
struct Link {
    next_cut: Option<Instant>,
    /// Until then that end writes into a websocket that is gone.
    noticed_at: Instant,
    back_at: Option<Instant>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let now = start_of_time();
        let weather = Weather::draw(&mut chance);
        let config = Config {
            linger: Duration::from_secs(120),
            payload_size: [64, 1000, 1024, 1536][chance.below(4)],
            receive_limit: RECEIVE_LIMIT,
            send_limit: SEND_LIMIT,
            ..Config::default()
        };
        let mut client = Channel::new(config, [u8::try_from(seed % 251).expect("below 251"); 32], now, 1);
        let conversations =
            (0..1 + chance.below(STREAMS)).map(|_| Conversation::draw(&mut client, now, &mut chance)).collect();
        let server = Server::new(Chance::new(chance.up_to(u64::MAX - 1)), chance.one_in(2));
        let client_link = Link::new(weather.client_cuts, now, &mut chance);
        let agent_link = Link::new(weather.agent_cuts, now, &mut chance);
        Self {
            seed,
            now,
            end: now + PATIENCE,
            weather,
            client,
            client_link,
            agent: Agent::new(now, server, &mut chance),
            agent_link,
            to_agent: Way::new(weather),
            to_client: Way::new(weather),
            conversations,
            next_pause: now + chance.ms(2000),
            agent_starts_at: None,
            next_hold_up: now + chance.ms(20_000),
            asleep_until: None,
            sleeps_at: weather.sleep.map(|_| now + chance.ms(1500)),
            ready: false,
            chance,
        }
    }

    fn play(mut self) {
        let mut steps = 0_u64;
        while !self.conversations.iter().all(|conversation| conversation.is_over) {
            self.step();
            steps += 1;
            assert!(self.now < self.end, "{}: wedged after {steps} steps", self.story());
            assert!(steps < 3_000_000, "{}: busy without progress", self.story());
            let held = self.client.buffered_bytes();
            assert!(held <= MEMORY, "{}: {held} bytes are held", self.story());
        }
        let silent = self.conversations.iter().all(Conversation::heard_nothing);
        assert!(self.ready || silent, "{}: bytes came before the handshake was complete", self.story());
        assert_eq!(self.agent.early_bytes, 0, "{}: the SSM agent threw away early bytes", self.story());
        for (nth, conversation) in self.conversations.iter().enumerate().filter(|(_, one)| !one.gave_up) {
            let id = u32::try_from(3 + 2 * nth).expect("few streams");
            let refused = self.agent.server.refused.contains(&id);
            assert_eq!(conversation.refused, refused, "{}: {conversation:?}", self.story());
        }
    }

    fn step(&mut self) {
        self.cut_client();
        self.cut_agent();
        self.pause();
        self.hold_up();
        self.sleep();
        while let Some(message) = self.next_for_agent() {
            self.agent.handle_frame(message, self.now);
        }
        self.agent.handle_timeout(self.now);
        if self.asleep_until.is_none() {
            self.live();
        }
        self.carry();
        self.advance();
    }

    fn live(&mut self) {
        while let Some(message) = self.next_for_client() {
            self.client.handle_frame(message, self.now).expect("the network loses messages whole");
        }
        if self.client.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.client.handle_timeout(self.now);
        }
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Ready { .. } => self.ready = true,
                Event::Readable(_) | Event::Writable(_) => {}
                Event::ConnectRefused(stream) => {
                    let refused = self.conversations.iter_mut().find(|one| one.stream == stream);
                    refused.expect("it was opened").refused = true;
                }
                Event::Closed { .. } | Event::Failed(_) | Event::Overflowed(_) => {
                    panic!("{}: {event:?}", self.story());
                }
            }
        }
        for conversation in &mut self.conversations {
            conversation.go_on(&mut self.client, self.now, self.seed);
        }
    }

    /// What an end sends while its websocket is away is lost.
    fn carry(&mut self) {
        let writes =
            self.asleep_until.is_none() && (self.client_link.is_up() || self.now < self.client_link.noticed_at);
        while let Some(message) = writes.then(|| self.client.poll_transmit(self.now)).flatten() {
            if self.client_link.is_up() {
                self.to_agent.send(message, self.now, &mut self.chance);
            }
        }
        while let Some(message) = self.agent.poll_transmit() {
            if self.agent_link.is_up() {
                self.to_client.send(message, self.now, &mut self.chance);
            }
        }
    }

    fn next_for_agent(&mut self) -> Option<bytes::Bytes> {
        Self::arrival(&mut self.to_agent, &self.agent_link, self.weather.service_keeps, self.now)
    }

    fn next_for_client(&mut self) -> Option<bytes::Bytes> {
        Self::arrival(&mut self.to_client, &self.client_link, self.weather.service_keeps, self.now)
    }

    fn arrival(way: &mut Way, link: &Link, service_keeps: bool, now: Instant) -> Option<bytes::Bytes> {
        while !link.is_up() {
            if service_keeps || way.arrive(now).is_none() {
                return None;
            }
        }
        way.arrive(now)
    }

    /// A cut loses what is on its way to that end, and half the time what it sent. The client comes back with everything it
    /// has not heard of.
    fn cut_client(&mut self) {
        if self.client_link.is_back(self.now) && self.asleep_until.is_none() {
            self.client_link.back_at = None;
            self.client.reconnected(self.now);
            self.agent.paused = false;
        }
        if self.client_link.breaks(2000, self.now, &mut self.chance) {
            self.to_client.lose_everything();
            if self.chance.one_in(2) {
                self.to_agent.lose_everything();
            }
            self.agent.paused = self.weather.pauses;
        }
    }

    fn cut_agent(&mut self) {
        if self.agent_link.is_back(self.now) {
            self.agent_link.back_at = None;
            self.agent.reconnected();
            self.tell_client(MessageType::StartPublication);
        }
        if self.agent_link.breaks(6000, self.now, &mut self.chance) {
            self.to_agent.lose_everything();
            if self.chance.one_in(2) {
                self.to_client.lose_everything();
            }
            self.tell_client(MessageType::PausePublication);
        }
    }

    /// The service loses no order to the SSM agent; the client must bear it if one to itself is lost.
    fn pause(&mut self) {
        if self.agent_starts_at.is_some_and(|at| at <= self.now) {
            self.agent_starts_at = None;
            self.agent.paused = false;
        }
        if self.weather.pauses && self.now >= self.next_pause {
            self.next_pause = self.now + Duration::from_millis(500) + self.chance.ms(5000);
            let order = [MessageType::PausePublication, MessageType::StartPublication][self.chance.below(2)].clone();
            self.tell_client(order);
            if self.chance.one_in(2) {
                self.agent.paused = true;
                self.agent_starts_at = Some(self.now + self.chance.ms(8000));
            }
        }
    }

    fn tell_client(&mut self, order: MessageType) {
        if self.weather.pauses {
            self.to_client.send(agent::service_message(order), self.now, &mut self.chance);
        }
    }

    /// The destination does not read for a while.
    fn hold_up(&mut self) {
        if self.now >= self.next_hold_up {
            self.next_hold_up = self.now + Duration::from_secs(60) + self.chance.ms(60_000);
            self.agent.hold_up(self.now + self.chance.ms(8000));
        }
    }

    /// The machine stands still while everything else goes on; its websocket may not live to see it wake.
    fn sleep(&mut self) {
        if self.asleep_until.is_some_and(|until| until <= self.now) {
            self.asleep_until = None;
        }
        if let (Some(at), Some(length)) = (self.sleeps_at, self.weather.sleep)
            && at <= self.now
        {
            self.sleeps_at = None;
            self.asleep_until = Some(self.now + length);
            if self.chance.one_in(2) {
                self.client_link.next_cut = Some(self.now + length / 2);
            }
        }
    }

    fn advance(&mut self) {
        let awake = self.asleep_until.is_none();
        let arrival =
            |way: &Way, link: &Link| way.next_arrival().filter(|_| link.is_up() || !self.weather.service_keeps);
        let conversations = self.conversations.iter().filter_map(Conversation::next_timeout).min();
        let next = [
            self.client.poll_timeout().map(|(at, _)| at).filter(|_| awake),
            conversations.filter(|_| awake),
            arrival(&self.to_client, &self.client_link).filter(|_| awake),
            arrival(&self.to_agent, &self.agent_link),
            self.agent.poll_timeout(),
            self.asleep_until,
            self.sleeps_at,
            self.client_link.next(awake),
            self.agent_link.next(true),
            self.weather.pauses.then_some(self.next_pause),
            self.agent_starts_at,
            Some(self.next_hold_up),
        ];
        let next = next.into_iter().flatten().min().unwrap_or(self.end);
        self.now = next.max(self.now + Duration::from_micros(1));
    }

    fn story(&self) -> String {
        format!("seed {} ({:?}, {:?})", self.seed, self.weather, self.conversations)
    }
}

impl Link {
    fn new(breaks: bool, now: Instant, chance: &mut Chance) -> Self {
        let soon = [300, 3000][chance.below(2)];
        Self { next_cut: breaks.then(|| now + chance.ms(soon)), noticed_at: now, back_at: None }
    }

    fn is_up(&self) -> bool {
        self.back_at.is_none()
    }

    fn is_back(&self, now: Instant) -> bool {
        self.back_at.is_some_and(|at| at <= now)
    }

    fn breaks(&mut self, longest_ms: u64, now: Instant, chance: &mut Chance) -> bool {
        let breaks = self.is_up() && self.next_cut.is_some_and(|at| at <= now);
        if breaks {
            let unnoticed = [0, 3000][chance.below(2)];
            self.noticed_at = now + chance.ms(unnoticed);
            self.back_at = Some(self.noticed_at + chance.ms(longest_ms));
            let calm = [3000, 60_000][chance.below(2)];
            self.next_cut = Some(now + Duration::from_millis(500) + chance.ms(calm));
        }
        breaks
    }

    fn next(&self, awake: bool) -> Option<Instant> {
        let back_at = self.back_at.filter(|_| awake);
        if self.is_up() { self.next_cut } else { back_at }
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
