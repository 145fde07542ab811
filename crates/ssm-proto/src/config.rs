//! What a caller chooses.

use std::time::Duration;

/// Most bytes in one message: the third-party clients have used this for years, the session-manager-plugin sends 1024.
const LONGEST_PAYLOAD: usize = 1536;
/// A frame of the multiplexed stream needs its header and one byte.
const SHORTEST_PAYLOAD: usize = 9;

/// How a [`crate::Channel`] behaves. Memory is bounded by 2 MiB unacknowledged, 16 MiB out of order, `receive_limit` unread, and
/// `send_limit` for each stream, and one message beyond each: see [`crate::Channel::buffered_bytes`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Four numbers; at least 1.1.70 makes the SSM agent multiplex, above 1.2.331.0 it needs no keepalive.
    pub client_version: String,
    /// How long a stream whose writing side was finished waits, without hearing anything, for the far end.
    pub linger: Duration,
    /// From [`crate::Channel::new`] to HandshakeComplete.
    pub handshake_timeout: Duration,
    /// Bytes in one message; anything outside 9 to 1536 is taken for the nearest of these.
    pub payload_size: usize,
    /// Bytes received but not read, over all streams.
    pub receive_limit: usize,
    /// The document names a host, which old SSM agents do not understand.
    pub remote_host: bool,
    /// Bytes written but not yet in a message, for each stream.
    pub send_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            client_version: "1.2.707.0".to_owned(),
            linger: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(45),
            payload_size: 1024,
            receive_limit: 64 * 1024 * 1024,
            remote_host: true,
            send_limit: 256 * 1024,
        }
    }
}

impl Config {
    pub(crate) fn within_range(self) -> Self {
        Self { payload_size: self.payload_size.clamp(SHORTEST_PAYLOAD, LONGEST_PAYLOAD), ..self }
    }
}
