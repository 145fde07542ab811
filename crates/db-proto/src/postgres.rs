//! PostgreSQL's start-up and login (protocol 3.0 and 3.2) up to the first `ReadyForQuery`.
//!
//! [`ClientLogin`] speaks to a server, [`ServerLogin`] to a client. A client proves
//! itself by a cleartext password over TLS (what RDS asks members of `rds_iam` for), SCRAM-SHA-256 or MD5; a server asks for
//! the first two. [`Replies`] follows what a server says after the login. Source: chapter "Frontend/Backend
//! Protocol" of the PostgreSQL manual; bounds as in libpq's `fe-connect.c` and the server's `auth.c`.

mod client;
mod error_response;
mod replies;
mod scram;
mod server;
mod startup;
mod wire;

pub use client::{ClientEvent, ClientLogin, ClientLoginError, LoggedIn, LoginOptions, Transport};
pub use error_response::ErrorResponse;
pub use replies::Replies;
pub use scram::{NONCE_LENGTH, ScramError, ScramVerifier};
pub use server::{ClearPassword, ServerEvent, ServerLogin, ServerLoginError, TlsOffer};
pub use startup::{CancelKey, ParameterError, Startup, StartupParameters};
pub use wire::Malformed;

/// The message that ends a session in good order.
pub const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

/// Major version of the protocol, in the upper half of a start-up message's code.
const PROTOCOL_MAJOR: u32 = 3;
/// Newest minor version understood. 3.1 was never released; 3.2 lengthens the cancel key.
const NEWEST_MINOR: u32 = 2;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

#[cfg(test)]
mod tests;
