//! A clock that went on while the program did not.

use std::time::Duration;

use model::MonoTime;
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::Change;
use crate::Clock;

const BEAT: Duration = Duration::from_secs(15);

/// Tells of each awakening that it notices, until nobody listens.
pub(super) async fn listen(clock: Clock, tell: mpsc::Sender<Change>) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = clock.now().mono;
    while !tell.is_closed() {
        beat.tick().await;
        let now = clock.now().mono;
        if stood_still(last, now) {
            tracing::info!(seconds = (now - last).as_secs(), "the program stood still");
            if tell.send(Change::Woke).await.is_err() {
                return;
            }
        }
        last = now;
    }
}

/// Whether a beat came so late that the computer slept or the program was stopped: the timers of the runtime stand still
/// during sleep, and nothing fires in a program that is stopped.
fn stood_still(last: MonoTime, now: MonoTime) -> bool {
    now - last >= 2 * BEAT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_that_is_a_little_late_is_no_awakening() {
        let at = |seconds| MonoTime(Duration::from_secs(seconds));
        assert!(!stood_still(at(100), at(115)), "in time");
        assert!(!stood_still(at(100), at(129)), "the machine was busy");
        assert!(stood_still(at(100), at(190)), "it was stopped for 75 s");
    }
}
