//! Local listener, tunnel, connections.
//!
//! A [`Route`] leads to a Target: a [`Pool`] of Session Manager sessions, each of them a [`Tunnel`] that lives over as many
//! websockets as it takes, or a [`Direct`] dial. A [`Front`] logs database clients in at its [`Doors`], and at the Target for
//! them; [`serve`] hands the connections to a [`Listener`] their streams as they are. Nothing here knows AWS: whoever opens a
//! Pool brings the [`Sessions`], and a Front its [`Logins`]. Nothing here binds an address that is not loopback.

mod connections;
mod dial;
mod direct;
mod front;
mod link;
mod listener;
mod pool;
mod port_holder;
mod rds_roots;
mod route;
mod session;
mod sessions;
mod stream;
mod tunnel;

pub use connections::{ConnectionEvent, Observer, Traffic, serve};
pub use dial::{DialError, Proxy};
pub use direct::{Direct, DirectError};
pub use front::{
    CertificateError, Credential, Door, DoorError, Doors, Duplex, Ending, Front, FrontConfig, FrontEvent, FrontLimits,
    Logins, MysqlSettings, NoCredential, Origin, Reason, TurnedAway, Upstream, UpstreamStream,
};
pub use listener::{BindError, Holder, Listener};
pub use pool::{FirstWord, MoveCause, Pool, PoolConfig, PoolStream};
pub use rds_roots::{RDS_ROOTS_PEM, RootsError, rds_roots};
pub use route::{Demand, Route, RouteStream};
pub use sessions::{ResumedSession, SessionError, Sessions, StartedSession};
pub use ssm_proto::{AgentVersion, Config, Refusal};
pub use stream::TunnelStream;
pub use tunnel::{EndCause, Tunnel, TunnelConfig, TunnelError, TunnelEvent};
