//! What happens to this computer and tears connections that look alive: it sleeps, and its network changes.
//!
//! Three sources behind one seam. Sleep comes from logind on Linux; elsewhere, and where there is no bus, it is noticed up to
//! 15 seconds after waking by a clock that went on while the program stood still, which also finds a program that was stopped
//! for a while. Addresses come from the kernel (`if-watch`: rtnetlink, System Configuration, IP Helper).

mod addresses;
mod jump;
#[cfg(target_os = "linux")]
mod logind;

use std::time::Duration;

use model::MonoTime;
use tokio::sync::mpsc;

use crate::Clock;

/// Changes that may wait; they are told apart by kind alone, so that more are of no use.
const QUEUE: usize = 16;
/// Two sources that tell of one awakening do so within this time.
const SAME_AWAKENING: Duration = Duration::from_secs(20);

/// Something that happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// The computer is about to sleep.
    GoingToSleep,
    /// It has other addresses than before, and they have settled.
    NetworkChanged,
    /// It slept, or the program was stopped, and goes on.
    Woke,
}

/// What is heard of this computer's surroundings from here on.
#[derive(Debug)]
pub(crate) struct Surroundings {
    changes: mpsc::Receiver<Change>,
    clock: Clock,
    woke_at: Option<MonoTime>,
}

impl Surroundings {
    /// Begins to listen. A source that this system does not have is named in the log once.
    pub(crate) fn listen(clock: &Clock) -> Self {
        let (tell, changes) = mpsc::channel(QUEUE);
        #[cfg(target_os = "linux")]
        tokio::spawn(logind::listen(tell.clone()));
        tokio::spawn(addresses::listen(tell.clone()));
        tokio::spawn(jump::listen(clock.clone(), tell));
        Self { changes, clock: clock.clone(), woke_at: None }
    }

    /// The next change.
    pub(crate) async fn next(&mut self) -> Change {
        loop {
            match self.changes.recv().await {
                Some(change) if self.is_news(change) => return change,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn is_news(&mut self, change: Change) -> bool {
        if change != Change::Woke {
            return true;
        }
        let now = self.clock.now().mono;
        self.woke_at.replace(now).is_none_or(|before| now - before >= SAME_AWAKENING)
    }
}

#[cfg(test)]
mod tests {
    use model::WallTime;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_awakening_that_two_sources_tell_of_is_one_change() {
        let (tell, changes) = mpsc::channel(QUEUE);
        let clock = Clock::runtime(WallTime::from_unix_seconds(0));
        let mut surroundings = Surroundings { changes, clock, woke_at: None };
        for change in [Change::GoingToSleep, Change::Woke, Change::Woke, Change::NetworkChanged] {
            tell.try_send(change).expect("there is room");
        }
        assert_eq!(surroundings.next().await, Change::GoingToSleep);
        assert_eq!(surroundings.next().await, Change::Woke);
        assert_eq!(surroundings.next().await, Change::NetworkChanged);
        tokio::time::advance(SAME_AWAKENING).await;
        tell.try_send(Change::Woke).expect("there is room");
        assert_eq!(surroundings.next().await, Change::Woke, "it slept again");
    }
}
