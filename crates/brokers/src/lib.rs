//! Who grants access: an SSM runbook, or nobody.
//!
//! A Broker decides and enforces; Daypass asks, looks, passes a Review on, and ends. Absent on purpose: state. What a request
//! became is what the Broker says when it is looked at.

mod automation;
mod broker;
mod decisions;
mod progress;
mod watch;

pub use automation::Automation;
pub use broker::{Ask, Broker, BrokerError, Placed};
pub use watch::{Nudge, Watch};
