//! When to look again.

use std::sync::Arc;
use std::time::Duration;

use model::Progress;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::BrokerError;

/// The longest wait after failures. Account-wide, AWS takes three looks a second.
const SLOWEST: Duration = Duration::from_secs(300);
/// The wait between looks while something is about to happen.
const SOON: Duration = Duration::from_secs(2);
/// For how long after a nudge something is expected to happen.
const EXPECTANT: Duration = Duration::from_secs(30);

/// Follows one request: looks at it time and again, and reports what is new.
#[derive(Debug)]
pub struct Watch {
    interval: Duration,
    nudge: Arc<Notify>,
    expectant_until: Option<Instant>,
    last_look: Option<Instant>,
    reported: Option<Progress>,
    failures: u32,
}

/// Makes a [`Watch`] look at once, and often for a while: something was just done about its request.
#[derive(Clone, Debug)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Has the watch look now.
    pub fn nudge(&self) {
        self.0.notify_one();
    }
}

impl Watch {
    /// Looks about every `interval`, a fifth more or less, so that a team's agents do not look all at once.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        let nudge = Arc::new(Notify::new());
        Self { interval, nudge, expectant_until: None, last_look: None, reported: None, failures: 0 }
    }

    /// The handle that hurries this watch.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        Nudge(self.nudge.clone())
    }

    /// Waits until `look` sees something that was not reported yet. What AWS cannot answer for now (throttled, unreachable) is
    /// asked again, ever more slowly. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The first error that waiting does not mend; a later call goes on.
    pub async fn next<F, Fut>(&mut self, mut look: F) -> Result<Progress, BrokerError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<Progress>, BrokerError>>,
    {
        loop {
            self.wait().await;
            self.last_look = Some(Instant::now());
            match look().await {
                Ok(seen) => {
                    self.failures = 0;
                    if let Some(progress) = seen.filter(|seen| self.reported.as_ref() != Some(seen)) {
                        self.reported = Some(progress.clone());
                        return Ok(progress);
                    }
                }
                Err(error) if error.is_transient() => {
                    self.failures = self.failures.saturating_add(1);
                    tracing::debug!(%error, failures = self.failures, "look again later");
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&mut self) {
        let Some(last_look) = self.last_look else { return };
        tokio::select! {
            () = tokio::time::sleep_until(last_look + self.pause()) => {}
            () = self.nudge.notified() => self.expectant_until = Some(Instant::now() + EXPECTANT),
        }
    }

    fn pause(&self) -> Duration {
        let expectant = self.expectant_until.is_some_and(|until| Instant::now() < until)
            || matches!(self.reported, Some(Progress::Approved { .. }));
        let calm = if expectant { self.interval.min(SOON) } else { self.interval };
        let backed_off = calm.saturating_mul(1 << self.failures.min(10));
        let jitter = rand::random_range(0.8..1.2);
        backed_off.min(SLOWEST.max(self.interval)).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws::AwsError;
    use model::EndReason;

    use super::*;

    type Seen = Result<Option<Progress>, BrokerError>;

    /// Answers the looks in turn, the last answer for ever, and writes down when it was looked at.
    struct Script {
        answers: Mutex<Vec<Seen>>,
        looks: Mutex<Vec<Duration>>,
        since: Instant,
    }

    impl Script {
        fn new(answers: Vec<Seen>) -> Self {
            Self { answers: Mutex::new(answers), looks: Mutex::default(), since: Instant::now() }
        }

        fn look(&self) -> std::future::Ready<Seen> {
            self.looks.lock().expect("unpoisoned").push(self.since.elapsed());
            let mut answers = self.answers.lock().expect("unpoisoned");
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            std::future::ready(answer)
        }

        fn gaps(&self) -> Vec<Duration> {
            self.looks.lock().expect("unpoisoned").windows(2).map(|pair| pair[1] - pair[0]).collect()
        }
    }

    fn throttled() -> Seen {
        Err(AwsError::Throttled { operation: "GetAutomationExecution", message: "Rate exceeded".into() }.into())
    }

    const ENDED: Progress = Progress::Ended { reason: EndReason::Expired };
    const INTERVAL: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn each_change_is_reported_once() {
        let approved = || Progress::Approved { by: None };
        let script = Script::new(vec![Ok(None), Ok(Some(approved())), Ok(Some(approved())), Ok(Some(ENDED))]);
        let mut watch = Watch::every(INTERVAL);
        assert_eq!(watch.next(|| script.look()).await, Ok(approved()));
        assert_eq!(watch.next(|| script.look()).await, Ok(ENDED));
        assert_eq!(script.gaps().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_at_once_and_then_about_every_interval() {
        let script = Script::new([vec![Ok(None); 20], vec![Ok(Some(ENDED))]].concat());
        Watch::every(INTERVAL).next(|| script.look()).await.expect("it ends");
        assert_eq!(script.looks.lock().expect("unpoisoned")[0], Duration::ZERO);
        let gaps = script.gaps();
        assert!(gaps.iter().all(|gap| (12.0..=18.1).contains(&gap.as_secs_f64())), "{gaps:?}");
        assert!(gaps.iter().any(|gap| *gap != gaps[0]), "without jitter a whole team looks at once: {gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_slows_it_down_and_an_answer_restores_the_pace() {
        let script = Script::new([vec![throttled(); 8], vec![Ok(None), Ok(None), Ok(Some(ENDED))]].concat());
        Watch::every(INTERVAL).next(|| script.look()).await.expect("it ends");
        let gaps = script.gaps();
        assert!(gaps[2] > Duration::from_secs(90) && gaps[7] > Duration::from_secs(239), "{gaps:?}");
        assert!(gaps.iter().all(|gap| *gap <= Duration::from_secs(361)), "{gaps:?}");
        assert!(gaps[9] < Duration::from_secs(19), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_approval_it_looks_often() {
        let approved = Progress::Approved { by: None };
        let script = Script::new(vec![Ok(Some(approved)), Ok(None), Ok(Some(ENDED))]);
        let mut watch = Watch::every(INTERVAL);
        watch.next(|| script.look()).await.expect("approved");
        watch.next(|| script.look()).await.expect("ended");
        assert!(script.gaps().iter().all(|gap| *gap < Duration::from_secs(3)), "{:?}", script.gaps());
    }

    #[tokio::test(start_paused = true)]
    async fn a_nudge_makes_it_look_now_and_often_for_a_while() {
        let script = Script::new([vec![Ok(None); 12], vec![Ok(Some(ENDED))]].concat());
        let mut watch = Watch::every(Duration::from_secs(600));
        let nudge = watch.nudge();
        let (ended, ()) = tokio::join!(watch.next(|| script.look()), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            nudge.nudge();
        });
        assert_eq!(ended, Ok(ENDED));
        let gaps = script.gaps();
        assert_eq!(gaps[0], Duration::from_secs(5));
        assert!(gaps[1..].iter().all(|gap| *gap < Duration::from_secs(3)), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_waiting_does_not_mend_is_returned_and_the_watch_goes_on_after_it() {
        let expired = AwsError::CredentialsExpired { operation: "GetAutomationExecution", message: "over".into() };
        let script = Script::new(vec![Err(expired.clone().into()), Ok(Some(ENDED))]);
        let mut watch = Watch::every(INTERVAL);
        assert_eq!(watch.next(|| script.look()).await, Err(BrokerError::Aws(expired)));
        assert_eq!(watch.next(|| script.look()).await, Ok(ENDED));
    }
}
