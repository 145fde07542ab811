//! What the payloads say: flags and JSON.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Payload of a [`super::PayloadType::Flag`] message: four bytes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// 1, client to SSM agent, basic mode: the local connection closed.
    DisconnectToPort,
    /// 2, client to SSM agent: end the session.
    TerminateSession,
    /// 3, SSM agent to client: the far port could not be reached. It names no stream; that stream's FIN follows.
    ConnectToPortError,
    /// Any other number.
    Other(u32),
}

impl Flag {
    /// The four bytes.
    pub fn encode(self) -> Bytes {
        let number: u32 = match self {
            Self::DisconnectToPort => 1,
            Self::TerminateSession => 2,
            Self::ConnectToPortError => 3,
            Self::Other(number) => number,
        };
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    /// Reads the four bytes.
    ///
    /// # Errors
    /// [`PayloadError::FlagLength`] for any other length.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let bytes: [u8; 4] = payload.try_into().map_err(|_| PayloadError::FlagLength { length: payload.len() })?;
        Ok(match u32::from_be_bytes(bytes) {
            1 => Self::DisconnectToPort,
            2 => Self::TerminateSession,
            3 => Self::ConnectToPortError,
            other => Self::Other(other),
        })
    }
}

/// Payload of an acknowledgement. Each data message gets its own; only the sequence number is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// `output_stream_data` or `input_stream_data`.
    #[serde(rename = "AcknowledgedMessageType", default, deserialize_with = "or_default")]
    pub message_type: String,
    /// UUID text of the acknowledged message.
    #[serde(rename = "AcknowledgedMessageId", default, deserialize_with = "or_default")]
    pub message_id: String,
    /// Place of the acknowledged message in its direction's count.
    #[serde(rename = "AcknowledgedMessageSequenceNumber")]
    pub sequence_number: i64,
    /// Always true.
    #[serde(rename = "IsSequentialMessage", default)]
    pub is_sequential: bool,
}

/// The SSM agent's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeRequest {
    /// Four numbers, as `3.3.1142.0`.
    #[serde(rename = "AgentVersion", default, deserialize_with = "or_default")]
    pub agent_version: String,
    /// What the client must do before data flows.
    #[serde(rename = "RequestedClientActions", default, deserialize_with = "or_default")]
    pub requested_client_actions: Vec<RequestedClientAction>,
}

/// One thing the SSM agent asks of the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedClientAction {
    /// `SessionType` or `KMSEncryption`.
    #[serde(rename = "ActionType", default, deserialize_with = "or_default")]
    pub action_type: String,
    /// Shape depends on the type; [`SessionTypeParameters`] for `SessionType`.
    #[serde(rename = "ActionParameters", default)]
    pub action_parameters: Value,
}

/// Parameters of the `SessionType` action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTypeParameters {
    /// `Port` for port forwarding.
    #[serde(rename = "SessionType", default, deserialize_with = "or_default")]
    pub session_type: String,
    /// The session document's properties as the SSM agent resolved them: host?, portNumber, localPortNumber?, type.
    #[serde(rename = "Properties", default)]
    pub properties: Value,
}

/// The client's answer to [`HandshakeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeResponse {
    /// Four numbers; the SSM agent derives mux and keepalive from them.
    #[serde(rename = "ClientVersion", default, deserialize_with = "or_default")]
    pub client_version: String,
    /// One for each requested action.
    #[serde(rename = "ProcessedClientActions", default, deserialize_with = "or_default")]
    pub processed_client_actions: Vec<ProcessedClientAction>,
    /// `null` when there are none.
    #[serde(rename = "Errors", default)]
    pub errors: Option<Vec<String>>,
}

/// How one requested action went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessedClientAction {
    /// As asked.
    #[serde(rename = "ActionType", default, deserialize_with = "or_default")]
    pub action_type: String,
    /// See [`ActionStatus`]; the SSM agent cancels the session for any but success.
    #[serde(rename = "ActionStatus", default)]
    pub action_status: i64,
    /// `null` for `SessionType`.
    #[serde(rename = "ActionResult", default)]
    pub action_result: Value,
    /// Empty on success.
    #[serde(rename = "Error", default, deserialize_with = "or_default")]
    pub error: String,
}

/// Values of `ActionStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionStatus {
    /// 1.
    Success = 1,
    /// 2.
    Failed = 2,
    /// 3.
    Unsupported = 3,
}

/// The SSM agent's last handshake message: from here on stream data may be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeComplete {
    /// In nanoseconds.
    #[serde(rename = "HandshakeTimeToComplete", default)]
    pub time_to_complete_ns: i64,
    /// To be shown to the person; often empty.
    #[serde(rename = "CustomerMessage", default, deserialize_with = "or_default")]
    pub customer_message: String,
}

/// The first frame on the websocket, as text. The SSM agent's own has `ClientInstanceId`, the client's `ClientVersion`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDataChannel {
    /// `1.0`.
    #[serde(rename = "MessageSchemaVersion", default, deserialize_with = "or_default")]
    pub message_schema_version: String,
    /// A new UUID each time.
    #[serde(rename = "RequestId", default, deserialize_with = "or_default")]
    pub request_id: String,
    /// Opens the channel: a secret.
    #[serde(rename = "TokenValue", default, deserialize_with = "or_default")]
    pub token_value: String,
    /// Only the SSM agent's.
    #[serde(rename = "ClientInstanceId", default, skip_serializing_if = "Option::is_none")]
    pub client_instance_id: Option<String>,
    /// A UUID that stays the same for the session.
    #[serde(rename = "ClientId", default, deserialize_with = "or_default")]
    pub client_id: String,
    /// Left out by plug-ins of 1.2.650 and before.
    #[serde(rename = "ClientVersion", default, skip_serializing_if = "Option::is_none")]
    pub client_version: Option<String>,
}

impl fmt::Debug for OpenDataChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenDataChannel")
            .field("request_id", &self.request_id)
            .field("client_id", &self.client_id)
            .field("client_version", &self.client_version)
            .finish_non_exhaustive()
    }
}

/// The service's last message to both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelClosed {
    /// UUID text.
    #[serde(rename = "MessageId", default, deserialize_with = "or_default")]
    pub message_id: String,
    /// Milliseconds since the Unix epoch, as text.
    #[serde(rename = "CreatedDate", default, deserialize_with = "or_default")]
    pub created_date: String,
    /// Whom it is for.
    #[serde(rename = "DestinationId", default, deserialize_with = "or_default")]
    pub destination_id: String,
    /// The session that ended.
    #[serde(rename = "SessionId", default, deserialize_with = "or_default")]
    pub session_id: String,
    /// `channel_closed`.
    #[serde(rename = "MessageType", default, deserialize_with = "or_default")]
    pub message_type: String,
    /// 1.
    #[serde(rename = "SchemaVersion", default)]
    pub schema_version: Value,
    /// Why, for people; empty after a normal end.
    #[serde(rename = "Output", default, deserialize_with = "or_default")]
    pub output: String,
}

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// A flag is four bytes.
    #[error("flag payload has {length} bytes instead of 4")]
    FlagLength {
        /// Of the payload.
        length: usize,
    },
    /// Not the JSON expected.
    #[error("payload is not a {expected}: {cause}")]
    Json {
        /// Name of the shape.
        expected: &'static str,
        /// From the parser, with line and column; it repeats no value.
        cause: serde_json::Error,
    },
}

macro_rules! json_payload {
    ($($shape:ident),*) => {$(
        impl $shape {
            /// As JSON with the members in the order the peers write them.
            pub fn to_json(&self) -> String {
                to_json(self)
            }

            /// Reads JSON; absent or null members get their defaults, unknown ones are passed over.
            ///
            /// # Errors
            /// [`PayloadError::Json`].
            pub fn from_json(payload: &[u8]) -> Result<Self, PayloadError> {
                from_json(payload, stringify!($shape))
            }
        }
    )*};
}

json_payload!(
    Acknowledgement,
    ChannelClosed,
    HandshakeComplete,
    HandshakeRequest,
    HandshakeResponse,
    OpenDataChannel,
    SessionTypeParameters
);

/// UUID text of 16 bytes in RFC order.
pub fn format_uuid(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).hyphenated().to_string()
}

/// The 16 bytes of a UUID text in RFC order; `None` if it is none.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    uuid::Uuid::try_parse(text).ok().map(uuid::Uuid::into_bytes)
}

fn to_json<T: Serialize>(shape: &T) -> String {
    serde_json::to_string(shape).expect("shapes of strings, numbers and JSON values always serialise")
}

fn from_json<T: DeserializeOwned>(payload: &[u8], expected: &'static str) -> Result<T, PayloadError> {
    serde_json::from_slice(payload).map_err(|cause| PayloadError::Json { expected, cause })
}

/// Go writes `null` for an absent list or text.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(input: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(input).map(Option::unwrap_or_default)
}
