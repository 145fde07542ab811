//! A small query beside a bulk copy through a narrow way.

use std::time::{Duration, Instant};

use ssm_proto::{Channel, Config, Read, StreamId};

use crate::{
    agent::Agent,
    conversation::{Ask, Conversation},
    network::{Chance, Way, Weather},
    pattern,
    server::Server,
    start_of_time,
};

const ONE_WAY: Duration = Duration::from_millis(20);
const BYTES_PER_SECOND: u32 = 250_000;
const BULK: usize = 40_000_000;

#[test]
fn a_query_beside_a_bulk_copy_is_answered_within_a_tenth_of_a_second_for_as_long_as_the_copy_takes() {
    let mut bench = Bench::new();
    let mut delays = Vec::new();
    for _ in 0..70 {
        bench.run_until(bench.now + Duration::from_secs(1));
        delays.push(bench.query() - 2 * ONE_WAY);
    }
    assert!(!bench.bulk.is_over, "the copy was to take longer than the queries");
    // The copy opens its window by doubling it, and sees what that does one round trip later.
    let (first, later) = delays.split_at(3);
    assert!(first.iter().all(|delay| *delay < Duration::from_millis(300)), "{first:?}");
    assert!(later.iter().all(|delay| *delay < Duration::from_millis(100)), "{later:?}");
}

#[test]
fn a_bulk_copy_uses_nine_tenths_of_a_narrow_way() {
    let mut bench = Bench::new();
    bench.run_until(bench.now + Duration::from_secs(5));
    let before = bench.agent.server.received_bytes();
    bench.run_until(bench.now + Duration::from_secs(20));
    let rate = (bench.agent.server.received_bytes() - before) / 20;
    // A message of 1024 bytes has a header of 120.
    assert!(rate > 200_000, "{rate} bytes a second");
}

struct Bench {
    now: Instant,
    client: Channel,
    agent: Agent,
    to_agent: Way,
    to_client: Way,
    bulk: Conversation,
    query: StreamId,
    asked: usize,
    chance: Chance,
}

impl Bench {
    fn new() -> Self {
        let (now, mut chance) = (start_of_time(), Chance::new(1));
        let weather = Weather::clear(ONE_WAY);
        let mut client = Channel::new(Config::default(), [1; 32], now, 1);
        let query = client.open_stream().expect("ids");
        let ask = Ask::Echo { length: usize::try_from(u32::MAX).expect("32 bits fit") };
        client.write(query, &ask.to_bytes()).expect("open");
        Self {
            now,
            agent: Agent::new(now, Server::new(Chance::new(2), false), &mut chance),
            to_agent: Way::narrow(weather, BYTES_PER_SECOND, now),
            to_client: Way::new(weather),
            bulk: Conversation::open(Ask::Upload { length: BULK }, &mut client),
            query,
            asked: 0,
            client,
            chance,
        }
    }

    /// How long it takes until one byte is back.
    fn query(&mut self) -> Duration {
        let asked_at = self.now;
        self.client.write(self.query, &[pattern(self.asked)]).expect("it is open");
        self.asked += 1;
        let mut answer = [0; 4];
        while self.client.read(self.query, &mut answer) == Read::Blocked {
            self.step(asked_at + Duration::from_secs(10));
            assert!(self.now < asked_at + Duration::from_secs(10), "no answer");
        }
        self.now - asked_at
    }

    fn run_until(&mut self, until: Instant) {
        while self.now < until {
            self.step(until);
        }
    }

    fn step(&mut self, until: Instant) {
        while let Some(message) = self.to_agent.arrive(self.now) {
            self.agent.handle_frame(message, self.now);
        }
        self.agent.handle_timeout(self.now);
        while let Some(message) = self.to_client.arrive(self.now) {
            self.client.handle_frame(message, self.now).expect("it is whole");
        }
        self.client.handle_timeout(self.now);
        while self.client.poll_event().is_some() {}
        self.bulk.go_on(&mut self.client, self.now, 1);
        while let Some(message) = self.client.poll_transmit(self.now) {
            self.to_agent.send(message, self.now, &mut self.chance);
        }
        while let Some(message) = self.agent.poll_transmit() {
            self.to_client.send(message, self.now, &mut self.chance);
        }
        let client = self.client.poll_timeout().map(|(at, _)| at);
        let arrivals = [self.to_agent.next_arrival(), self.to_client.next_arrival()];
        let next = [client, self.agent.poll_timeout()].into_iter().chain(arrivals).flatten().min().unwrap_or(until);
        self.now = next.min(until).max(self.now + Duration::from_micros(1));
    }
}
