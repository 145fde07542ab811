//! What can be made to go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::Deserialize;

/// A part of the sandbox that can be stopped.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Telling of tasks; sessions through them go on.
    Ecs,
    /// The identity provider.
    Oidc,
    /// Describing databases; the databases themselves go on.
    Rds,
    /// Reading and rotating secrets.
    SecretsManager,
    /// Systems Manager: sessions and automation.
    Ssm,
    /// Handing out credentials.
    Sts,
}

/// The knobs.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Knobs>);

#[derive(Default)]
struct Knobs {
    stopped: BTreeSet<Service>,
    throttled: BTreeMap<String, u32>,
}

impl Faults {
    pub(crate) fn stop(&self, service: Service) {
        self.knobs().stopped.insert(service);
    }

    pub(crate) fn restart(&self, service: Service) {
        self.knobs().stopped.remove(&service);
    }

    pub(crate) fn is_stopped(&self, service: Service) -> bool {
        self.knobs().stopped.contains(&service)
    }

    /// The next `times` calls of `operation` are throttled.
    pub(crate) fn throttle(&self, operation: &str, times: u32) {
        self.knobs().throttled.insert(operation.to_owned(), times);
    }

    /// Whether this call is one of those; counts it.
    pub(crate) fn takes_throttle(&self, operation: &str) -> bool {
        match self.knobs().throttled.get_mut(operation) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    fn knobs(&self) -> std::sync::MutexGuard<'_, Knobs> {
        self.0.lock().expect("nothing panics while it holds the knobs")
    }
}
