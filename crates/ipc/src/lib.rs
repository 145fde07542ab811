//! What crosses a process: messages, framing, the local socket, errors as a person sees them.
//!
//! One JSON text a line, each at most [`MESSAGE_LIMIT`] bytes. The agent is the [`Server`]; the command line is a
//! [`Client`]. Absent on purpose: any decision about access, and any secret but the password of this computer's own gateways,
//! which a person asks for by name.

mod client;
mod error;
mod line;
mod place;
mod server;
mod wire;

pub use client::Client;
pub use error::IpcError;
pub use line::{MESSAGE_LIMIT, Reader, Writer};
pub use place::SocketPath;
pub use server::{Connection, Server};
pub use wire::{Answer, ClientMessage, Outcome, PROTOCOL_VERSION, Private, Request, Rung, RungState, ServerMessage};
