//! One message of the data channel as it travels in one binary websocket frame, and the payloads it carries.
//!
//! Layout (big-endian, offsets in bytes): HeaderLength u32 at 0, MessageType 32 ASCII bytes at 4, SchemaVersion u32 at 36,
//! CreatedDate u64 at 40, SequenceNumber i64 at 48, Flags u64 at 56, MessageId at 64, PayloadDigest at 80, PayloadType u32
//! at 112, PayloadLength u32 at HeaderLength, then the payload up to the end of the frame. Source: `clientmessage.go` and
//! `messageparser.go` of aws/session-manager-plugin, `agentmessage.go` of aws/amazon-ssm-agent.
//!
//! Reading is lenient (any HeaderLength that fits, NUL or space padding, unknown types), writing is exact.

mod payload;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

pub use payload::{
    Acknowledgement, ActionStatus, ChannelClosed, Flag, HandshakeComplete, HandshakeRequest, HandshakeResponse,
    OpenDataChannel, PayloadError, ProcessedClientAction, RequestedClientAction, SessionTypeParameters, format_uuid,
    parse_uuid,
};

/// HeaderLength of every frame we write: the offset of PayloadLength.
pub const HEADER_LENGTH: usize = 116;
/// Bytes in front of the payload in every frame we write.
pub const PREFIX_LENGTH: usize = HEADER_LENGTH + 4;
/// SYN, set by the SSM agent on its first data message.
pub const FLAG_SYN: u64 = 1;
/// FIN.
pub const FLAG_FIN: u64 = 2;
/// Flags of every acknowledgement, in both directions.
pub const ACKNOWLEDGE_FLAGS: u64 = FLAG_SYN | FLAG_FIN;

const SCHEMA_VERSION: u32 = 1;
const DIGEST_END: usize = 112;

/// A message of the data channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub message_type: MessageType,
    /// Place in its direction's count, from 0; 0 on acknowledgements.
    pub sequence_number: i64,
    /// [`ACKNOWLEDGE_FLAGS`] on acknowledgements, 0 on client data.
    pub flags: u64,
    /// UUID in RFC order; on the wire its two halves are exchanged.
    pub message_id: [u8; 16],
    /// Milliseconds since the Unix epoch; never 0.
    pub created_at_ms: u64,
    /// `None` where the message has no such field (HeaderLength below 116) or it is 0, as on acknowledgements.
    pub payload_type: Option<PayloadType>,
    /// Up to the end of the frame. Never empty in what we send. The SSM agent reads such a message, with a complaint in its
    /// log; but neither program can write one (`putUInteger`, `putBytes`), so nobody has seen what the service makes of it.
    pub payload: Bytes,
}

impl Frame {
    /// The frame as one binary websocket message: HeaderLength 116, type padded with spaces, digest of the payload.
    pub fn encode(&self) -> Bytes {
        let mut message = BytesMut::with_capacity(PREFIX_LENGTH + self.payload.len());
        message.put_bytes(0, PREFIX_LENGTH);
        message.put_slice(&self.payload);
        self.seal(message)
    }

    /// Fills in the first [`PREFIX_LENGTH`] bytes of `message`, whose payload is already in place; `self.payload` is not used.
    pub(crate) fn seal(&self, mut message: BytesMut) -> Bytes {
        let digest = Sha256::digest(&message[PREFIX_LENGTH..]).into();
        let payload_length = message.len() - PREFIX_LENGTH;
        self.put_prefix(&mut &mut message[..PREFIX_LENGTH], payload_length, &digest);
        message.freeze()
    }

    /// Reads one binary websocket message; the payload shares its memory. Never panics.
    ///
    /// # Errors
    /// [`FrameError`] for what the session-manager-plugin also refuses: too short, no type, no date, wrong digest. Like it,
    /// this asks nothing of `start_publication` and `pause_publication` but their name (`Validate` in `messageparser.go`).
    pub fn decode(frame: impl Into<Bytes>) -> Result<Self, FrameError> {
        let bytes: Bytes = frame.into();
        let message_type = read_message_type(&bytes)?;
        let header_length = match read_header_length(&bytes) {
            Err(_) if message_type.is_publication_order() => return Ok(Self::publication_order(message_type)),
            checked => checked?,
        };
        let declared_length = read_u32(&bytes, header_length);
        let decoded = Self {
            sequence_number: i64::from_be_bytes(array(&bytes, 48)),
            flags: u64::from_be_bytes(array(&bytes, 56)),
            message_id: swap_halves(array(&bytes, 64)),
            created_at_ms: u64::from_be_bytes(array(&bytes, 40)),
            payload_type: if header_length < HEADER_LENGTH { None } else { PayloadType::read(read_u32(&bytes, 112)) },
            payload: bytes.slice(header_length + 4..),
            message_type,
        };
        decoded.validate(declared_length, &array(&bytes, 80))?;
        Ok(decoded)
    }

    /// Its other fields cannot be read, and nobody needs them.
    fn publication_order(message_type: MessageType) -> Self {
        Self {
            message_type,
            sequence_number: 0,
            flags: 0,
            message_id: [0; 16],
            created_at_ms: 0,
            payload_type: None,
            payload: Bytes::new(),
        }
    }

    fn put_prefix(&self, out: &mut impl BufMut, payload_length: usize, digest: &[u8; 32]) {
        let header_length = u32::try_from(HEADER_LENGTH).expect("116 fits 32 bits");
        out.put_u32(header_length);
        out.put_slice(&self.message_type.padded());
        out.put_u32(SCHEMA_VERSION);
        out.put_u64(self.created_at_ms);
        out.put_i64(self.sequence_number);
        out.put_u64(self.flags);
        out.put_slice(&swap_halves(self.message_id));
        out.put_slice(digest);
        out.put_u32(self.payload_type.map_or(0, PayloadType::number));
        out.put_u32(u32::try_from(payload_length).expect("a websocket message of ours is far below 4 GiB"));
    }

    fn validate(&self, declared_length: u32, digest: &[u8; 32]) -> Result<(), FrameError> {
        if self.message_type.is_publication_order() {
            return Ok(());
        }
        if self.created_at_ms == 0 {
            return Err(FrameError::NoDate { message_type: self.message_type.clone() });
        }
        if declared_length != 0 && Sha256::digest(&self.payload).as_slice() != digest {
            return Err(FrameError::WrongDigest {
                message_type: self.message_type.clone(),
                sequence_number: self.sequence_number,
            });
        }
        Ok(())
    }
}

/// The name of a message on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// `acknowledge`, both ways.
    Acknowledge,
    /// `agent_session_state`, SSM agent to service.
    AgentSessionState,
    /// `channel_closed`, service to both ends.
    ChannelClosed,
    /// `input_stream_data`, client to SSM agent.
    InputStreamData,
    /// `output_stream_data`, SSM agent to client.
    OutputStreamData,
    /// `pause_publication`, service to both ends.
    PausePublication,
    /// `start_publication`, service to both ends.
    StartPublication,
    /// Anything else, at most 32 bytes, without its padding.
    Other(String),
}

impl MessageType {
    /// The ASCII name without padding.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::AgentSessionState => "agent_session_state",
            Self::ChannelClosed => "channel_closed",
            Self::InputStreamData => "input_stream_data",
            Self::OutputStreamData => "output_stream_data",
            Self::PausePublication => "pause_publication",
            Self::StartPublication => "start_publication",
            Self::Other(name) => name,
        }
    }

    fn is_publication_order(&self) -> bool {
        matches!(self, Self::PausePublication | Self::StartPublication)
    }

    fn from_name(name: &str) -> Self {
        match name {
            "acknowledge" => Self::Acknowledge,
            "agent_session_state" => Self::AgentSessionState,
            "channel_closed" => Self::ChannelClosed,
            "input_stream_data" => Self::InputStreamData,
            "output_stream_data" => Self::OutputStreamData,
            "pause_publication" => Self::PausePublication,
            "start_publication" => Self::StartPublication,
            other => Self::Other(other.to_owned()),
        }
    }

    fn padded(&self) -> [u8; 32] {
        let mut padded = [b' '; 32];
        for (place, byte) in padded.iter_mut().zip(self.as_str().bytes()) {
            *place = byte;
        }
        padded
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the payload of a data message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadType {
    /// 1: bytes of the tunnel, both ways.
    Output,
    /// 2.
    Error,
    /// 3: terminal size.
    Size,
    /// 4.
    Parameter,
    /// 5: JSON, SSM agent to client.
    HandshakeRequest,
    /// 6: JSON, client to SSM agent.
    HandshakeResponse,
    /// 7: JSON, SSM agent to client.
    HandshakeComplete,
    /// 8: JSON, SSM agent to client.
    EncChallengeRequest,
    /// 9: JSON, client to SSM agent.
    EncChallengeResponse,
    /// 10: a [`Flag`].
    Flag,
    /// 11.
    StdErr,
    /// 12.
    ExitCode,
    /// Any other number but 0.
    Other(u32),
}

impl PayloadType {
    /// The number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Self::Output => 1,
            Self::Error => 2,
            Self::Size => 3,
            Self::Parameter => 4,
            Self::HandshakeRequest => 5,
            Self::HandshakeResponse => 6,
            Self::HandshakeComplete => 7,
            Self::EncChallengeRequest => 8,
            Self::EncChallengeResponse => 9,
            Self::Flag => 10,
            Self::StdErr => 11,
            Self::ExitCode => 12,
            Self::Other(number) => number,
        }
    }

    fn read(number: u32) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::Output,
            2 => Self::Error,
            3 => Self::Size,
            4 => Self::Parameter,
            5 => Self::HandshakeRequest,
            6 => Self::HandshakeResponse,
            7 => Self::HandshakeComplete,
            8 => Self::EncChallengeRequest,
            9 => Self::EncChallengeResponse,
            10 => Self::Flag,
            11 => Self::StdErr,
            12 => Self::ExitCode,
            other => Self::Other(other),
        })
    }
}

/// Why bytes are not a message. None of these is repaired by asking again: the frame is dropped and the peer sends it anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// HeaderLength does not cover the fields that every message has.
    #[error("data channel frame has HeaderLength {header_length}, which cuts off the payload digest (at least 112)")]
    HeaderTooShort {
        /// As read, in bytes.
        header_length: u32,
    },
    /// MessageType is all padding.
    #[error("data channel frame has no message type")]
    NoType,
    /// CreatedDate is 0.
    #[error("data channel frame `{message_type}` has no creation date")]
    NoDate {
        /// Of the frame.
        message_type: MessageType,
    },
    /// The frame ends before its payload begins.
    #[error("data channel frame of {length} bytes ends inside its header")]
    TooShort {
        /// Of the frame, in bytes.
        length: usize,
    },
    /// PayloadDigest is not the SHA-256 of the payload.
    #[error("data channel frame `{message_type}` {sequence_number} was changed on its way (digest differs)")]
    WrongDigest {
        /// Of the frame.
        message_type: MessageType,
        /// Of the frame.
        sequence_number: i64,
    },
}

fn read_header_length(bytes: &Bytes) -> Result<usize, FrameError> {
    let too_short = FrameError::TooShort { length: bytes.len() };
    if bytes.len() < DIGEST_END + 4 {
        return Err(too_short);
    }
    let declared = read_u32(bytes, 0);
    let header_length = usize::try_from(declared).expect("32 bits fit a usize on every platform we build for");
    if header_length < DIGEST_END {
        return Err(FrameError::HeaderTooShort { header_length: declared });
    }
    match header_length.checked_add(4) {
        Some(payload_start) if payload_start <= bytes.len() => Ok(header_length),
        _ => Err(too_short),
    }
}

fn read_message_type(bytes: &Bytes) -> Result<MessageType, FrameError> {
    let name = bytes.get(4..36).ok_or(FrameError::TooShort { length: bytes.len() })?;
    let name = String::from_utf8_lossy(name);
    match name.trim_matches(['\0', ' ']) {
        "" => Err(FrameError::NoType),
        name => Ok(MessageType::from_name(name)),
    }
}

fn read_u32(bytes: &Bytes, at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// Callers have checked that the frame reaches past its digest, or past the offset they ask for.
fn array<const N: usize>(bytes: &Bytes, at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn swap_halves(id: [u8; 16]) -> [u8; 16] {
    u128::from_be_bytes(id).rotate_left(64).to_be_bytes()
}

#[cfg(test)]
mod tests;
