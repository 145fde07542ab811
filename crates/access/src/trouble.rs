//! What is wrong without being the answer to a command.

use std::collections::BTreeMap;

use model::{ErrorView, RequestId};

use crate::Access;

/// AWS refuses signatures from clocks that are further off.
const TOLERATED_SKEW_SECONDS: u32 = 300;

/// Where a warning comes from, in the order they are shown. The newest of each replaces the one before.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Trouble {
    Catalog,
    Request(RequestId),
    Review(String),
}

pub(crate) type Troubles = BTreeMap<Trouble, ErrorView>;

impl Access {
    pub(crate) fn warnings(&self) -> Vec<ErrorView> {
        self.clock_trouble().into_iter().chain(self.troubles.values().cloned()).collect()
    }

    fn clock_trouble(&self) -> Option<ErrorView> {
        let skew = self.clock.skew_seconds();
        let direction = if skew > 0 { "behind" } else { "ahead of" };
        (skew.unsigned_abs() > TOLERATED_SKEW_SECONDS).then(|| {
            ErrorView::new(
                "clock-off",
                format!(
                    "this computer's clock is {} seconds {direction} AWS's, which refuses more than 300",
                    skew.unsigned_abs()
                ),
                "Set the clock, or switch on its synchronisation",
            )
        })
    }
}
