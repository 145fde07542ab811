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

    pub(crate) fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }

    pub(crate) fn ms(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.up_to(limit))
    }

    fn per_mille(&mut self, share: u64) -> bool {
        self.up_to(999) < share
    }
}

/// What can go wrong in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    delay: Duration,
    jitter_us: u64,
    loss_per_mille: u64,
    doubling_per_mille: u64,
    /// Of the client's acknowledgements alone.
    lost_receipts_per_mille: u64,
    /// The client's websocket breaks now and then.
    pub(crate) client_cuts: bool,
    /// The SSM agent's websocket breaks now and then.
    pub(crate) agent_cuts: bool,
    /// While one end is away the service keeps what is for it.
    pub(crate) service_keeps: bool,
    /// The service pauses one end while the other is away, and at odd moments.
    pub(crate) pauses: bool,
    /// How long the client's machine sleeps, if it does.
    pub(crate) sleep: Option<Duration>,
}

impl Weather {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        Self {
            delay: Duration::from_millis([0, 1, 20, 80][chance.below(4)]),
            jitter_us: [0, 0, 500, 30_000][chance.below(4)],
            loss_per_mille: [0, 0, 5, 50][chance.below(4)],
            doubling_per_mille: [0, 20][chance.below(2)],
            lost_receipts_per_mille: [0, 0, 10, 300][chance.below(4)],
            client_cuts: chance.one_in(2),
            agent_cuts: chance.one_in(3),
            service_keeps: chance.one_in(2),
            pauses: chance.one_in(3),
            sleep: [None, None, Some(Duration::from_secs(90)), Some(Duration::from_secs(1200))][chance.below(4)],
        }
    }

    /// Nothing but a delay.
    pub(crate) fn clear(delay: Duration) -> Self {
        Self {
            delay,
            jitter_us: 0,
            loss_per_mille: 0,
            doubling_per_mille: 0,
            lost_receipts_per_mille: 0,
            client_cuts: false,
            agent_cuts: false,
            service_keeps: true,
            pauses: false,
            sleep: None,
        }
    }
}

/// One direction.
pub(crate) struct Way {
    weather: Weather,
    on_the_way: BTreeMap<(Instant, u64), Bytes>,
    sent: u64,
    /// Bytes a second through its narrowest place, and when that is free again.
    bottleneck: Option<(u32, Instant)>,
}

impl Way {
    pub(crate) fn new(weather: Weather) -> Self {
        Self { weather, on_the_way: BTreeMap::new(), sent: 0, bottleneck: None }
    }

    pub(crate) fn narrow(weather: Weather, bytes_per_second: u32, now: Instant) -> Self {
        Self { bottleneck: Some((bytes_per_second, now)), ..Self::new(weather) }
    }

    pub(crate) fn send(&mut self, message: Bytes, now: Instant, chance: &mut Chance) {
        if chance.per_mille(self.weather.doubling_per_mille) {
            self.put(message.clone(), now, chance);
        }
        let is_receipt = message.get(4..15) == Some(&b"acknowledge"[..]);
        let receipt_lost = is_receipt && chance.per_mille(self.weather.lost_receipts_per_mille);
        if !chance.per_mille(self.weather.loss_per_mille) && !receipt_lost {
            self.put(message, now, chance);
        }
    }

    pub(crate) fn arrive(&mut self, now: Instant) -> Option<Bytes> {
        let first = self.on_the_way.first_entry()?;
        if first.key().0 <= now { Some(first.remove()) } else { None }
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn lose_everything(&mut self) {
        self.on_the_way.clear();
    }

    fn put(&mut self, message: Bytes, now: Instant, chance: &mut Chance) {
        let mut leaves_at = now;
        if let Some((bytes_per_second, free_at)) = &mut self.bottleneck {
            let length = u32::try_from(message.len()).expect("messages are small");
            *free_at = now.max(*free_at) + Duration::from_secs(1) * length / *bytes_per_second;
            leaves_at = *free_at;
        }
        let jitter = Duration::from_micros(chance.up_to(self.weather.jitter_us));
        self.on_the_way.insert((leaves_at + self.weather.delay + jitter, self.sent), message);
        self.sent += 1;
    }
}
