//! Local listener, tunnel, connections.
//!
//! A [`Tunnel`] keeps one Session Manager session at a time alive over as many websockets as it takes; [`serve`] hands each
//! connection to a [`Listener`] a stream of it. Nothing here knows AWS: whoever opens a Tunnel brings the [`Sessions`]. Nothing
//! here binds an address that is not loopback.

mod connections;
mod dial;
mod link;
mod listener;
mod login;
mod port_holder;
mod session;
mod sessions;
mod stream;
mod tunnel;

pub use connections::{ConnectionEvent, Observer, Traffic, serve};
pub use dial::{DialError, Proxy};
pub use listener::{BindError, Holder, Listener};
pub use login::{Login, LoginError, prove_login};
pub use sessions::{ResumedSession, SessionError, Sessions, StartedSession};
pub use ssm_proto::{AgentVersion, Config, Refusal};
pub use stream::TunnelStream;
pub use tunnel::{EndCause, Tunnel, TunnelConfig, TunnelError, TunnelEvent};
