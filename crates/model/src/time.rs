//! Instants and durations. Nothing here reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time since an arbitrary origin that also counts while the computer sleeps (CLOCK_BOOTTIME and its counterparts). It
/// orders and delays; it never decides when a Grant ends.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct MonoTime(pub Duration);

impl std::ops::Add<Duration> for MonoTime {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl std::ops::Sub for MonoTime {
    type Output = Duration;
    /// Zero when `earlier` is later: a delay is never negative.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// An instant on the calendar, in UTC. On the wire: RFC 3339.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(transparent)]
pub struct WallTime(#[cfg_attr(feature = "bindings", specta(type = String))] pub jiff::Timestamp);

impl WallTime {
    /// The instant this many whole seconds after 1970-01-01T00:00:00Z; out of range is clamped to the calendar's ends.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Self {
        let clamped = seconds.clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
        Self(jiff::Timestamp::from_second(clamped).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// How long until `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::try_from(later.0.duration_since(self.0)).unwrap_or(Duration::ZERO)
    }

    /// This instant moved by `by`, forwards or backwards; clamped to the calendar's ends.
    #[must_use]
    pub fn shifted(self, by: jiff::SignedDuration) -> Self {
        Self(self.0.saturating_add(by).unwrap_or(self.0))
    }
}

impl std::ops::Add<Duration> for WallTime {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        self.shifted(jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX))
    }
}

impl std::fmt::Display for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What both clocks said at one moment: `mono` for delays, `wall` for what people agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// Counts sleep, never jumps.
    pub mono: MonoTime,
    /// The local calendar clock, uncorrected.
    pub wall: WallTime,
}

/// How long access is asked for: whole seconds, from 1 second to 14 days. Written `2m`, `1h`, `1h30m`, `2d`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(try_from = "String", into = "String")]
pub struct AccessDuration(#[cfg_attr(feature = "bindings", specta(type = String))] u32);

/// A text that is not a duration of access.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{input}` is not a duration: write it like 30m, 1h, 1h30m or 2d (at most 14d)")]
pub struct InvalidDuration {
    /// What was given.
    pub input: String,
}

const LONGEST: u32 = 14 * 86_400;

impl AccessDuration {
    /// So many seconds.
    ///
    /// # Errors
    /// [`InvalidDuration`] for zero and for more than 14 days.
    pub fn from_seconds(seconds: u32) -> Result<Self, InvalidDuration> {
        if (1..=LONGEST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(InvalidDuration { input: format!("{seconds}s") })
        }
    }

    /// The length in seconds.
    #[must_use]
    pub fn as_seconds(self) -> u32 {
        self.0
    }

    /// The length as the standard library has it.
    #[must_use]
    pub fn as_std(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }

    /// ISO 8601, as a runbook's `aws:sleep` reads it: `PT2M`, `PT1H30M`.
    #[must_use]
    pub fn to_iso8601(self) -> String {
        let [days, hours, minutes, seconds] = self.parts();
        let mut text = String::from("P");
        if days > 0 {
            text.push_str(&format!("{days}D"));
        }
        if hours + minutes + seconds > 0 {
            text.push('T');
        }
        for (amount, unit) in [(hours, 'H'), (minutes, 'M'), (seconds, 'S')] {
            if amount > 0 {
                text.push_str(&format!("{amount}{unit}"));
            }
        }
        text
    }

    fn parts(self) -> [u32; 4] {
        [self.0 / 86_400, self.0 / 3_600 % 24, self.0 / 60 % 60, self.0 % 60]
    }
}

impl std::str::FromStr for AccessDuration {
    type Err = InvalidDuration;
    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration { input: text.to_owned() };
        let (mut total, mut amount) = (0_u32, None::<u32>);
        for c in text.trim().chars() {
            if let Some(digit) = c.to_digit(10) {
                let so_far = amount.unwrap_or(0).checked_mul(10).and_then(|a| a.checked_add(digit));
                amount = Some(so_far.ok_or_else(invalid)?);
                continue;
            }
            let unit = match c {
                'd' => 86_400,
                'h' => 3_600,
                'm' => 60,
                's' => 1,
                _ => return Err(invalid()),
            };
            let part = amount.take().and_then(|a| a.checked_mul(unit)).ok_or_else(invalid)?;
            total = total.checked_add(part).ok_or_else(invalid)?;
        }
        if amount.is_some() { Err(invalid()) } else { Self::from_seconds(total).map_err(|_| invalid()) }
    }
}

impl TryFrom<String> for AccessDuration {
    type Error = InvalidDuration;
    fn try_from(text: String) -> Result<Self, InvalidDuration> {
        text.parse()
    }
}

impl From<AccessDuration> for String {
    fn from(duration: AccessDuration) -> Self {
        duration.to_string()
    }
}

impl std::fmt::Display for AccessDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [days, hours, minutes, seconds] = self.parts();
        for (amount, unit) in [(days, 'd'), (hours, 'h'), (minutes, 'm'), (seconds, 's')] {
            if amount > 0 {
                write!(f, "{amount}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_back_as_it_was_written() {
        for (text, seconds, iso) in [
            ("2m", 120, "PT2M"),
            ("1h", 3_600, "PT1H"),
            ("1h30m", 5_400, "PT1H30M"),
            ("2d", 172_800, "P2D"),
            ("1d45s", 86_445, "P1DT45S"),
        ] {
            let duration: AccessDuration = text.parse().expect("a valid duration");
            assert_eq!((duration.as_seconds(), duration.to_string().as_str()), (seconds, text));
            assert_eq!(duration.to_iso8601(), iso);
        }
    }

    #[test]
    fn a_duration_that_is_none_is_refused() {
        for text in ["", "0m", "h", "10", "1w", "15d", "99999999999d", "-1h", "1h 30"] {
            assert_eq!(text.parse::<AccessDuration>(), Err(InvalidDuration { input: text.to_owned() }), "{text:?}");
        }
    }

    #[test]
    fn what_has_passed_is_zero_away() {
        let (early, late) = (WallTime::from_unix_seconds(100), WallTime::from_unix_seconds(160));
        assert_eq!(early.until(late), Duration::from_secs(60));
        assert_eq!(late.until(early), Duration::ZERO);
    }
}
