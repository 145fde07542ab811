//! How far AWS's clock is from ours, learnt from the Date header of every answer.
//!
//! The SDK corrects a skew of its own accord, but client by client, only when a signature was refused, and never for a
//! DbAuthToken. Here one [`ClockSkew`] serves all of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_smithy_types::date_time::{DateTime, Format};
use model::WallTime;
use tokio::sync::watch;

use crate::{AwsConfig, AwsError};

/// Below this a difference is rounding and travel time: it is taken as none.
const NEGLIGIBLE: u64 = 5;
/// A newly measured difference replaces the known one only if it is at least this far from it, so that the value is calm.
const NOTICEABLE: u64 = 3;
/// An answer that took longer says too little about the instant it was written.
const SLOWEST: Duration = Duration::from_secs(10);

/// How many seconds AWS's clock is ahead of this computer's. Clones share one value.
#[derive(Clone, Debug)]
pub struct ClockSkew(Arc<watch::Sender<i32>>);

impl Default for ClockSkew {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl ClockSkew {
    /// Seconds to add to this computer's clock to get AWS's; 0 while nothing else was measured.
    #[must_use]
    pub fn seconds(&self) -> i32 {
        *self.0.borrow()
    }

    /// Follows the value as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<i32> {
        self.0.subscribe()
    }

    /// What AWS's clock shows.
    #[must_use]
    pub fn now(&self) -> WallTime {
        let since_epoch = TimeSource::now(self).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallTime::from_unix_seconds(0) + since_epoch
    }

    /// Takes in what an answer's Date header said while this computer's clock went from `sent` to `received`.
    pub(crate) fn observe(&self, date: &str, sent: SystemTime, received: SystemTime) {
        let Ok(written) = DateTime::from_str(date, Format::HttpDate) else { return };
        let Ok(travel) = received.duration_since(sent) else { return };
        if travel > SLOWEST {
            return;
        }
        let between = (sent + travel / 2).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // A Date header leaves out the fraction of its second: on average half of one.
        let ahead = written.as_secs_f64() + 0.5 - between.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float cast saturates, and 68 years of skew are as wrong as more"
        )]
        let measured = ahead.round() as i32;
        self.settle(measured);
    }

    fn settle(&self, measured: i32) {
        let measured = if u64::from(measured.unsigned_abs()) <= NEGLIGIBLE { 0 } else { measured };
        self.0.send_if_modified(|known| {
            let differs = u64::from(known.abs_diff(measured)) >= NOTICEABLE;
            if differs {
                tracing::info!(seconds = measured, "AWS's clock differs from this computer's");
                *known = measured;
            }
            differs
        });
    }
}

impl TimeSource for ClockSkew {
    fn now(&self) -> SystemTime {
        let (ours, by) = (SystemTime::now(), self.seconds());
        let distance = Duration::from_secs(u64::from(by.unsigned_abs()));
        if by < 0 { ours.checked_sub(distance) } else { ours.checked_add(distance) }.unwrap_or(ours)
    }
}

/// Asks the STS endpoint of `config` an unsigned question, only for the Date header of its answer. It needs no credentials and
/// doubles as the proof that AWS can be reached.
///
/// # Errors
/// [`AwsError::Unreachable`] when there is no answer within the time an ordinary call has.
pub async fn measure(config: &AwsConfig) -> Result<i32, AwsError> {
    let endpoint = config.endpoint_of("sts");
    let unreachable = |cause: String| AwsError::Unreachable { endpoint: endpoint.clone(), cause };
    let request = HttpRequest::get(&endpoint).map_err(|e| unreachable(e.to_string()))?;
    let sent = SystemTime::now();
    let answer = tokio::time::timeout(SLOWEST, config.connector().call(request)).await;
    let answer = answer.map_err(|_| unreachable(format!("no answer within {} s", SLOWEST.as_secs())))?;
    let answer = answer.map_err(|e| unreachable(crate::error::chain(&e)))?;
    if let Some(date) = answer.headers().get("date") {
        config.skew().observe(date, sent, SystemTime::now());
    }
    Ok(config.skew().seconds())
}

/// Reads the Date header of every answer, also of refusals.
#[derive(Debug)]
pub(crate) struct SkewMeter(pub(crate) ClockSkew);

#[derive(Debug)]
struct Sent(SystemTime);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for SkewMeter {
    fn name(&self) -> &'static str {
        "SkewMeter"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Sent(SystemTime::now()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let (Some(date), Some(Sent(sent))) = (date, config.load::<Sent>()) {
            self.0.observe(date, *sent, SystemTime::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 22 Nov 2026 10:00:00 GMT";

    fn at(seconds_after_date: i64) -> SystemTime {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_341_600);
        let distance = Duration::from_secs(seconds_after_date.unsigned_abs());
        if seconds_after_date < 0 { date - distance } else { date + distance }
    }

    fn measured(sent: i64, received: i64) -> i32 {
        let skew = ClockSkew::default();
        skew.observe(DATE, at(sent), at(received));
        skew.seconds()
    }

    #[test]
    fn a_slow_clock_is_measured_from_the_middle_of_the_round_trip() {
        assert!((599..=601).contains(&measured(-601, -599)), "{}", measured(-601, -599));
        assert!((-601..=-599).contains(&measured(599, 601)), "{}", measured(599, 601));
    }

    #[test]
    fn a_few_seconds_are_no_skew() {
        assert_eq!(measured(3, 4), 0);
        assert_eq!(measured(-4, -4), 0);
    }

    #[test]
    fn a_slow_answer_a_jumping_clock_and_a_broken_header_measure_nothing() {
        assert_eq!(measured(600, 611), 0, "eleven seconds under way");
        assert_eq!(measured(611, 600), 0, "the clock went backwards meanwhile");
        let skew = ClockSkew::default();
        skew.observe("yesterday", at(600), at(600));
        assert_eq!(skew.seconds(), 0);
    }

    #[test]
    fn the_value_stays_calm_and_heals() {
        let skew = ClockSkew::default();
        let mut seen = skew.watch();
        skew.settle(600);
        assert!(seen.has_changed().expect("the sender lives") && *seen.borrow_and_update() == 600);
        skew.settle(602);
        assert!(!seen.has_changed().expect("the sender lives"), "two seconds are noise");
        skew.settle(1);
        assert_eq!(skew.seconds(), 0, "the clock was set right");
    }

    #[test]
    fn now_is_on_aws_clock() {
        let skew = ClockSkew::default();
        skew.settle(-7_200);
        let ours = WallTime(jiff::Timestamp::now());
        assert!((7_199..=7_201).contains(&skew.now().until(ours).as_secs()));
    }
}
