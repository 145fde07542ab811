//! Time as people read it. A countdown is only ever a subtraction made here.

use std::time::Duration;

use model::WallTime;

const MINUTE: Duration = Duration::from_secs(60);
/// In the last two minutes seconds are shown.
const FINE: Duration = Duration::from_secs(120);

/// `2 d 3 h`, `7 h 12 min`, `42 min`; `1 min 59 s` and `59 s` in the last two minutes.
pub(crate) fn words(left: Duration) -> String {
    let seconds = left.as_secs();
    let minutes = seconds / 60;
    let parts = match (left < FINE, minutes / 60) {
        (true, _) => [(minutes, "min"), (seconds % 60, "s")],
        (false, 0) => [(0, "h"), (minutes, "min")],
        (false, hours @ 1..24) => [(hours, "h"), (minutes % 60, "min")],
        (false, hours) => [(hours / 24, "d"), (hours % 24, "h")],
    };
    join(&parts)
}

/// How long until [`words`] reads differently; none when it has ended.
pub(crate) fn next_change(left: Duration) -> Option<Duration> {
    if left.is_zero() {
        return None;
    }
    let step = if left < FINE + MINUTE { Duration::from_secs(1) } else { MINUTE };
    Some(past(left, step) + Duration::from_millis(1))
}

/// How long until the words for a time that grows read differently.
pub(crate) fn next_growth(elapsed: Duration) -> Duration {
    let step = if elapsed < FINE { Duration::from_secs(1) } else { MINUTE };
    step.saturating_sub(past(elapsed, step)) + Duration::from_millis(1)
}

/// A broker's ISO 8601 duration in words; what is none stays as it is.
pub(crate) fn spoken(iso: &str) -> String {
    let Ok(duration) = iso.parse::<jiff::SignedDuration>() else { return iso.to_owned() };
    let seconds = duration.as_secs().unsigned_abs();
    join(&[(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")])
}

/// `15:42` in the person's own time zone.
pub(crate) fn clock_time(at: WallTime) -> String {
    at.0.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M").to_string()
}

/// Now, by the local calendar clock.
pub(crate) fn now() -> WallTime {
    WallTime(jiff::Timestamp::now())
}

fn past(time: Duration, step: Duration) -> Duration {
    let nanoseconds = time.as_nanos() % step.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

fn join(parts: &[(u64, &str)]) -> String {
    let spoken: Vec<String> =
        parts.iter().filter(|(amount, _)| *amount > 0).map(|(amount, unit)| format!("{amount} {unit}")).collect();
    if spoken.is_empty() {
        parts.last().map(|(_, unit)| format!("0 {unit}")).unwrap_or_default()
    } else {
        spoken.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_shown_and_seconds_in_the_last_two_minutes() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (119, "1 min 59 s"),
            (120, "2 min"),
            (42 * 60 + 59, "42 min"),
            (3_600, "1 h"),
            (7 * 3_600 + 12 * 60, "7 h 12 min"),
            (51 * 3_600, "2 d 3 h"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), text, "{seconds} s");
        }
    }

    #[test]
    fn the_words_change_exactly_when_they_are_said_to() {
        for milliseconds in [1, 999, 1_000, 59_500, 119_999, 120_000, 150_250, 179_999, 180_000, 2_567_123, 90_000_000]
        {
            let left = Duration::from_millis(milliseconds);
            let change = next_change(left).expect("time is left");
            let early = left.saturating_sub(change.saturating_sub(Duration::from_millis(1)));
            let late = left.saturating_sub(change);
            assert_eq!(words(left), words(early), "{milliseconds} ms: nothing changes before");
            let fine = left < FINE + MINUTE;
            assert!(fine || words(late) != words(left), "{milliseconds} ms: no minute passes unseen");
        }
        assert_eq!(next_change(Duration::ZERO), None);
    }

    #[test]
    fn durations_of_a_broker_are_spoken() {
        for (iso, text) in [("PT1H", "1 h"), ("PT2M", "2 min"), ("PT1H30M", "1 h 30 min"), ("soon", "soon")] {
            assert_eq!(spoken(iso), text);
        }
    }
}
