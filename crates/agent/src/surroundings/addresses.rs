//! The addresses of this computer's network interfaces.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use futures_util::StreamExt as _;
use if_watch::{IfEvent, IpNet, tokio::IfWatcher};
use tokio::{sync::mpsc, time::Instant};

use super::Change;

/// Addresses come and go in bursts, as when a laptop changes from one network to another.
const QUIET: Duration = Duration::from_millis(500);
/// A burst without an end is told of all the same.
const LONGEST_BURST: Duration = Duration::from_secs(2);

/// Tells of each change once it has settled, until nobody listens.
pub(super) async fn listen(tell: mpsc::Sender<Change>) {
    let mut watcher = match IfWatcher::new() {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::info!(%error, "network changes cannot be watched; they are noticed by silence");
            return;
        }
    };
    let mut addresses = Addresses::new(Instant::now());
    loop {
        tokio::select! {
            event = watcher.next() => match event {
                Some(Ok(event)) => addresses.hear(event, Instant::now()),
                Some(Err(error)) => tracing::warn!(%error, "a network change was missed"),
                None => return,
            },
            () = addresses.quiet() => {
                if addresses.settle() {
                    tracing::info!("the network changed");
                    if tell.send(Change::NetworkChanged).await.is_err() {
                        return;
                    }
                }
            }
            () = tell.closed() => return,
        }
    }
}

/// What connections may use now, and what they might when it was last quiet.
struct Addresses {
    now: BTreeSet<IpNet>,
    /// None until the addresses that were there from the start are known.
    settled: Option<BTreeSet<IpNet>>,
    burst: Option<Burst>,
}

struct Burst {
    began: Instant,
    latest: Instant,
}

impl Addresses {
    fn new(now: Instant) -> Self {
        Self { now: BTreeSet::new(), settled: None, burst: Some(Burst { began: now, latest: now }) }
    }

    fn hear(&mut self, event: IfEvent, at: Instant) {
        let (IfEvent::Up(net) | IfEvent::Down(net)) = event;
        if !leads_anywhere(net.addr()) {
            return;
        }
        match event {
            IfEvent::Up(net) => self.now.insert(net),
            IfEvent::Down(net) => self.now.remove(&net),
        };
        self.burst.get_or_insert(Burst { began: at, latest: at }).latest = at;
    }

    /// Returns when the burst is over; never while there is none.
    async fn quiet(&self) {
        match &self.burst {
            Some(burst) => tokio::time::sleep_until((burst.latest + QUIET).min(burst.began + LONGEST_BURST)).await,
            None => std::future::pending().await,
        }
    }

    /// Whether the addresses differ from the last time.
    fn settle(&mut self) -> bool {
        self.burst = None;
        let before = self.settled.replace(self.now.clone());
        before.is_some_and(|before| before != self.now)
    }
}

/// Loopback leads nowhere, and link-local addresses come and go with every container.
fn leads_anywhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("an address with its prefix")
    }

    /// The addresses of a computer that has been on one network for a while.
    async fn settled() -> Addresses {
        let mut addresses = Addresses::new(Instant::now());
        addresses.hear(IfEvent::Up(net("192.168.1.7/24")), Instant::now());
        addresses.quiet().await;
        assert!(!addresses.settle(), "what was there from the start is no change");
        addresses
    }

    #[tokio::test(start_paused = true)]
    async fn a_move_to_another_network_is_one_change() {
        let mut addresses = settled().await;
        let start = Instant::now();
        for event in
            [IfEvent::Down(net("192.168.1.7/24")), IfEvent::Up(net("10.0.0.9/16")), IfEvent::Up(net("2001:db8::9/64"))]
        {
            tokio::time::advance(Duration::from_millis(300)).await;
            addresses.hear(event, Instant::now());
        }
        addresses.quiet().await;
        assert_eq!(start.elapsed(), Duration::from_millis(1400), "it waits until nothing more comes");
        assert!(addresses.settle());
        assert!(addresses.burst.is_none(), "nothing is left to tell");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_without_an_end_is_told_of_after_two_seconds() {
        let mut addresses = settled().await;
        let start = Instant::now();
        for host in 1..20 {
            tokio::time::advance(Duration::from_millis(100)).await;
            addresses.hear(IfEvent::Up(net(&format!("10.0.0.{host}/16"))), Instant::now());
        }
        addresses.quiet().await;
        assert_eq!(start.elapsed(), Duration::from_millis(100) + LONGEST_BURST);
        assert!(addresses.settle());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_back_at_once_and_a_containers_are_no_change() {
        let mut addresses = settled().await;
        addresses.hear(IfEvent::Down(net("192.168.1.7/24")), Instant::now());
        addresses.hear(IfEvent::Up(net("192.168.1.7/24")), Instant::now());
        addresses.quiet().await;
        assert!(!addresses.settle());
        for nowhere in ["127.0.0.2/8", "169.254.3.4/16", "::1/128", "fe80::42:acff:fe11:2/64"] {
            addresses.hear(IfEvent::Up(net(nowhere)), Instant::now());
            assert!(addresses.burst.is_none(), "{nowhere}");
        }
    }
}
