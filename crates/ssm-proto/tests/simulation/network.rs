//! A network that delays, loses, doubles and reorders, and the dice.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % (limit + 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.up_to(limit - 1)).expect("small numbers only")
    }

    fn per_mille(&mut self, share: u64) -> bool {
        self.up_to(999) < share
    }
}

/// What this run's network does.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    delay: Duration,
    jitter_us: u64,
    loss_per_mille: u64,
    doubling_per_mille: u64,
    pub(crate) cuts: bool,
    /// The service tells the client to pause, and half the time forgets to tell it to go on.
    pub(crate) pauses: bool,
    /// The machine sleeps for a minute and a half.
    pub(crate) sleeps: bool,
}

impl Weather {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        Self {
            delay: Duration::from_millis([0, 1, 20, 80][chance.below(4)]),
            jitter_us: [0, 0, 500, 30_000][chance.below(4)],
            loss_per_mille: [0, 0, 5, 50][chance.below(4)],
            doubling_per_mille: [0, 20][chance.below(2)],
            cuts: chance.below(2) == 1,
            pauses: chance.below(3) == 1,
            sleeps: chance.below(4) == 1,
        }
    }
}

pub(crate) struct Network {
    pub(crate) weather: Weather,
    pub(crate) to_agent: Way,
    pub(crate) to_client: Way,
}

impl Network {
    pub(crate) fn new(weather: Weather) -> Self {
        Self { weather, to_agent: Way::new(weather), to_client: Way::new(weather) }
    }

    pub(crate) fn lose_everything(&mut self) {
        self.to_agent.on_the_way.clear();
        self.to_client.on_the_way.clear();
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        let first = |way: &Way| way.on_the_way.first_key_value().map(|((at, _), _)| *at);
        [first(&self.to_agent), first(&self.to_client)].into_iter().flatten().min()
    }
}

pub(crate) struct Way {
    weather: Weather,
    on_the_way: BTreeMap<(Instant, u64), Bytes>,
    sent: u64,
}

impl Way {
    fn new(weather: Weather) -> Self {
        Self { weather, on_the_way: BTreeMap::new(), sent: 0 }
    }

    pub(crate) fn send(&mut self, message: Bytes, now: Instant, chance: &mut Chance) {
        if chance.per_mille(self.weather.doubling_per_mille) {
            self.put(message.clone(), now, chance);
        }
        if !chance.per_mille(self.weather.loss_per_mille) {
            self.put(message, now, chance);
        }
    }

    pub(crate) fn arrive(&mut self, now: Instant) -> Option<Bytes> {
        let first = self.on_the_way.first_entry()?;
        if first.key().0 <= now { Some(first.remove()) } else { None }
    }

    fn put(&mut self, message: Bytes, now: Instant, chance: &mut Chance) {
        let jitter = Duration::from_micros(chance.up_to(self.weather.jitter_us));
        self.on_the_way.insert((now + self.weather.delay + jitter, self.sent), message);
        self.sent += 1;
    }
}
