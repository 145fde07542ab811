//! The end of a Grant, as connections see it.

use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep_until},
};

/// When the connections of a Front end, and what they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// No connection outlives it.
    pub at: Instant,
    /// What is told before: "your access to orders-prod ends at 15:42".
    pub notice: String,
    /// What has happened then: "your access to orders-prod ended at 15:42".
    pub cause: String,
    /// What can be done about it: "extend it in Daypass, or ask again with `daypass request orders-prod`".
    pub hint: String,
}

/// What is reckoned from the same end on a calendar at two moments differs by less.
const JITTER: Duration = Duration::from_secs(1);

impl Ending {
    /// Whether it is the same end in the same words.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let apart = self.at.max(other.at) - self.at.min(other.at);
        apart < JITTER && (&self.notice, &self.cause, &self.hint) == (&other.notice, &other.cause, &other.hint)
    }
}

/// What a connection does next about the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It tells its client that the end is near.
    Notice(Ending),
    /// It ends if it is in no transaction, or as soon as that is so.
    LastCall(Ending),
    /// It ends.
    Over(Ending),
}

/// One connection's view of the end, which may be moved or taken back.
#[derive(Clone, Debug)]
pub(crate) struct EndingWatch {
    ending: watch::Receiver<Option<Ending>>,
    notice: Duration,
    last_call: Duration,
    told: Option<Ending>,
    called: Option<Ending>,
}

impl EndingWatch {
    pub(crate) fn new(ending: watch::Receiver<Option<Ending>>, notice: Duration, last_call: Duration) -> Self {
        Self { ending, notice, last_call, told: None, called: None }
    }

    /// Waits for the next stage. Cancel-safe: a stage that nobody saw comes again.
    pub(crate) async fn next(&mut self) -> Stage {
        loop {
            let ending = self.ending.borrow_and_update().clone();
            let Some(ending) = ending else {
                self.changed().await;
                continue;
            };
            let (at, stage) = self.upcoming(&ending);
            tokio::select! {
                () = sleep_until(at) => return self.reach(stage),
                () = self.changed() => {}
            }
        }
    }

    /// Waits until the Grant is over.
    pub(crate) async fn over(&mut self) {
        while !matches!(self.next().await, Stage::Over(_)) {}
    }

    /// Whether new connections are turned away, and with what.
    pub(crate) fn closing(&self) -> Option<Ending> {
        let ending = self.ending.borrow().clone();
        ending.filter(|ending| Instant::now() + self.last_call >= ending.at)
    }

    /// Whether `ending` has been neither moved nor taken back.
    pub(crate) fn holds(&self, ending: &Ending) -> bool {
        self.ending.borrow().as_ref() == Some(ending)
    }

    fn upcoming(&self, ending: &Ending) -> (Instant, Stage) {
        let before = |lead: Duration| ending.at.checked_sub(lead).unwrap_or(ending.at);
        if self.called.as_ref() == Some(ending) {
            (ending.at, Stage::Over(ending.clone()))
        } else if self.told.as_ref() == Some(ending) || Instant::now() >= before(self.last_call) {
            (before(self.last_call), Stage::LastCall(ending.clone()))
        } else {
            (before(self.notice), Stage::Notice(ending.clone()))
        }
    }

    fn reach(&mut self, stage: Stage) -> Stage {
        match &stage {
            Stage::Notice(ending) => self.told = Some(ending.clone()),
            Stage::LastCall(ending) => self.called = Some(ending.clone()),
            Stage::Over(_) => {}
        }
        stage
    }

    /// Waits for another end; for ever when the Front is gone, which ends its connections by itself.
    async fn changed(&mut self) {
        if self.ending.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
