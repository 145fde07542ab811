//! Makes guessing the local password slow.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::Mutex, time::sleep};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(8);

/// Counts wrong passwords. Who gives one waits before he is told, one after the other, so that many connections guess no
/// faster than one; the right password never waits.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    failures: AtomicU32,
    turn: Mutex<()>,
}

impl Guard {
    /// Wrong passwords in a row, this one included.
    pub(crate) fn wrong(&self) -> u32 {
        self.failures.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Returns when the client may be told.
    pub(crate) async fn hold_back(&self, failures: u32) {
        let _turn = self.turn.lock().await;
        sleep(FIRST.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST)).await;
    }

    pub(crate) fn right(&self) {
        self.failures.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_connections_guess_no_faster_than_one() {
        let guard = Guard::default();
        let start = Instant::now();
        join_all((0..20).map(|_| async {
            let failures = guard.wrong();
            guard.hold_back(failures).await;
        }))
        .await;
        assert!(start.elapsed() > Duration::from_secs(110), "{:?}", start.elapsed());
        guard.right();
        let start = Instant::now();
        let failures = guard.wrong();
        guard.hold_back(failures).await;
        assert_eq!((failures, start.elapsed()), (1, FIRST), "who mistypes once hardly notices");
    }
}
