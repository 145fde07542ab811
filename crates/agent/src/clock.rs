//! The only place that reads a clock.

use std::time::Duration;

use model::{MonoTime, Now, WallTime};

/// How long the loop sleeps at most before it looks at the clock again. The runtime's timers stand still while the computer
/// sleeps and the calendar clock can be set by hand; a grant must end on time all the same.
const LONGEST_NAP: Duration = Duration::from_secs(20);

/// Where `now` comes from, and how to wait for it.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The computer's own clocks.
    #[default]
    System,
    /// The runtime's clock, which tests pause and move: it starts at this instant on the calendar.
    Runtime {
        /// The runtime's instant that stands for `wall`.
        origin: Option<tokio::time::Instant>,
        /// The calendar at `origin`.
        wall: WallTime,
    },
}

impl Clock {
    /// A clock that follows the runtime's, beginning now at `wall`.
    #[must_use]
    pub fn runtime(wall: WallTime) -> Self {
        Self::Runtime { origin: Some(tokio::time::Instant::now()), wall }
    }

    /// What both clocks say.
    #[must_use]
    pub fn now(&self) -> Now {
        match self {
            Self::System => Now { mono: since_boot(), wall: WallTime(jiff::Timestamp::now()) },
            Self::Runtime { origin, wall } => {
                let elapsed = origin.map(|origin| origin.elapsed()).unwrap_or_default();
                Now { mono: MonoTime(elapsed), wall: *wall + elapsed }
            }
        }
    }

    /// Waits until `deadline`, or for as long as one may without looking at the clock again; for ever when there is none.
    pub async fn nap(&self, deadline: Option<MonoTime>) {
        match deadline {
            Some(deadline) => tokio::time::sleep((deadline - self.now().mono).min(LONGEST_NAP)).await,
            None => std::future::pending().await,
        }
    }
}

/// Time since boot, sleep included.
#[cfg(target_os = "linux")]
fn since_boot() -> MonoTime {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    MonoTime(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
}

/// Time since the first call, by a clock that stands still during sleep on some systems; [`LONGEST_NAP`] bounds the harm,
/// because deadlines are checked against the calendar.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> MonoTime {
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    MonoTime(ORIGIN.get_or_init(std::time::Instant::now).elapsed())
}
