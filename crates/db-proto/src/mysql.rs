//! MySQL's and MariaDB's start-up and login (protocol 10, 4.1 and later), and as much of what follows as a gateway has to know.
//!
//! [`ClientLogin`] speaks to a server, [`ServerLogin`] to a client. After the login bytes are passed on: a [`CommandPhase`]
//! walks the packet headers of both directions, so that it is known whether a transaction is open, and hands out the few
//! commands that concern the login itself. [`Decompressor`] and [`Compressor`] are the compressed packets of the upstream
//! side. Sources: the protocol pages of the MySQL source documentation ("Connection Phase", "Command Phase", "Compressed
//! Packet") and of the MariaDB knowledge base; where they disagree with the programs, the programs are followed and it is
//! said there.

mod capabilities;
mod client;
mod command_phase;
mod compression;
mod err_packet;
mod greeting;
mod kill;
mod login_request;
mod ok_packet;
mod packet;
mod proof;
mod server;

pub use capabilities::Capabilities;
pub use client::{ClientEvent, ClientLogin, ClientLoginError, Credential, LoggedIn, LoginOptions, Transport};
pub use command_phase::{Activity, CommandPhase, FromClient, ServerFault};
pub use compression::{Compression, CompressionError, Compressor, Decompressor};
pub use err_packet::ErrPacket;
pub use greeting::Greeting;
pub use login_request::LoginRequest;
pub use packet::{Malformed, PacketReader, put_packet};
pub use proof::{AuthPlugin, Verifier};
pub use server::{ServerEvent, ServerLogin, ServerLoginError, ServerStart};

/// Bits of the status field in OK and EOF packets.
pub mod status {
    /// A transaction is open.
    pub const IN_TRANSACTION: u16 = 0x0001;
    /// Each statement is its own transaction.
    pub const AUTOCOMMIT: u16 = 0x0002;
    /// Another result follows this one.
    pub const MORE_RESULTS: u16 = 0x0008;
    /// The rows are fetched through a cursor and do not follow.
    pub const CURSOR: u16 = 0x0040;
    /// The transaction is read-only.
    pub const IN_READ_ONLY_TRANSACTION: u16 = 0x2000;
}

/// Whether the payload of a packet is an OK packet with `header` 0x00.
pub fn is_ok(payload: &[u8]) -> bool {
    payload.first() == Some(&0)
}

/// The packet that ends a session in good order.
pub const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

#[cfg(test)]
mod tests;
