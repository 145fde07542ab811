//! The nouns every other crate speaks, parsed once at the edge.
//!
//! Absent on purpose: IO, async, JSON, randomness and every way to read a clock. Times come in as arguments and go out as
//! absolute instants; a countdown is a subtraction that only a view makes.

mod bastion;
mod command;
mod connection;
mod entitlement;
mod error_view;
mod gateway;
mod identity;
mod ids;
mod left_sessions;
mod loopback;
mod notice;
mod progress;
mod request;
mod snapshot;
mod target;
mod time;

pub use bastion::{Bastion, EcsTasks, SessionDocument};
pub use command::{Command, Decision};
pub use connection::{ConnectionForm, ConnectionStrings, ConnectionText};
pub use entitlement::{Entitlement, Gate, RoleName};
pub use error_view::ErrorView;
pub use gateway::{Gateway, OpeningStep, StepTime};
pub use identity::{Identity, IdentityProvider, SecretsKeptIn};
pub use ids::{AccountId, IdentityProviderId, InvalidId, Region, RequestId, SessionId, TargetId};
pub use left_sessions::{LeftSession, LeftSessionState, LeftSessions, SessionOrigin};
pub use loopback::is_loopback_host;
pub use notice::Notice;
pub use progress::Progress;
pub use request::{AccessRequest, EndReason, Grant, PendingReview, RequestState, Review};
pub use snapshot::{BindingLimit, LimitKind, Snapshot, TargetView};
pub use target::{Endpoint, Engine, Environment, Target};
pub use time::{AccessDuration, InvalidDuration, MonoTime, Now, WallTime};
