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
