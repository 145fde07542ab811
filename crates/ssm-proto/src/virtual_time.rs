//! Time in the tests of this crate.

use std::time::Instant;

/// Where virtual time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; time moves on as the test says"
)]
pub(crate) fn start_of_time() -> Instant {
    Instant::now()
}
