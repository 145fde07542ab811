//! Session Manager data channel: frames, handshake, acknowledgements, multiplexing; never does IO.
//!
//! [`Channel`] is the client's end: the caller feeds it websocket messages and the time, and carries away what it wants to
//! send. What is absent on purpose: sockets, async, randomness and clocks. Bytes go in, bytes come out, `now` and the seed
//! are arguments, so that every run can be repeated from its seed on virtual time.

mod channel;
mod config;
pub mod frame;
mod handshake;
mod ids;
mod incoming;
mod mux;
mod outgoing;
mod round_trip;
#[cfg(test)]
mod virtual_time;
mod window;

pub use channel::{Channel, Event};
pub use config::Config;
pub use handshake::{AgentVersion, Refusal};
pub use mux::{Read, StreamEnded, StreamId};
