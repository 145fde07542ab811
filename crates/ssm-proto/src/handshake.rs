//! The SSM agent's handshake: what it asks, what we answer, and which versions we can work with.

use std::fmt;

use serde_json::Value;

use crate::frame::{
    ActionStatus, HandshakeRequest, HandshakeResponse, ProcessedClientAction, RequestedClientAction,
    SessionTypeParameters,
};

/// First version with multiplexing: one above the last without, as session-manager-plugin compares (`versionvalidator.go`).
const MULTIPLEXING: AgentVersion = AgentVersion([3, 0, 196, 1]);
/// First version that forwards to a remote host by the AWS documentation of AWS-StartPortForwardingSessionToRemoteHost. The
/// SSM agent's release notes name 3.1.1188.0 for the code itself.
const REMOTE_HOST: AgentVersion = AgentVersion([3, 1, 1374, 0]);
/// Up to this version the SSM agent gives up a multiplexed session in which it hears nothing for 30 s.
const LAST_WITH_KEEPALIVE: AgentVersion = AgentVersion([3, 1, 1511, 0]);
/// To clients up to this version the newer SSM agents do the same (`port_mux.go`).
const LAST_CLIENT_WITH_KEEPALIVE: AgentVersion = AgentVersion([1, 2, 331, 0]);

/// Version of an SSM agent: up to four numbers, the absent ones are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentVersion([u64; 4]);

impl AgentVersion {
    /// Reads `3.3.1142.0`; `None` if a part is not a number or there are more than four.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = [0; 4];
        let mut parts = text.trim().split('.');
        for number in &mut numbers {
            *number = match parts.next() {
                Some(part) => part.parse().ok()?,
                None => 0,
            };
        }
        parts.next().is_none().then_some(Self(numbers))
    }
}

impl fmt::Display for AgentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, build, patch] = self.0;
        write!(f, "{major}.{minor}.{build}.{patch}")
    }
}

/// Why the tunnel cannot be used. A new session on the same Bastion would meet the same, except after the last two.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The SSM agent lacks what port forwarding needs.
    #[error("the SSM agent on the bastion is {version}; {purpose} needs {needed} or newer: update the SSM agent")]
    AgentTooOld {
        /// As the SSM agent says.
        version: AgentVersion,
        /// At least this.
        needed: AgentVersion,
        /// What for.
        purpose: &'static str,
    },
    /// The SSM agent's version is not a version.
    #[error("the SSM agent on the bastion says its version is `{text}`, which cannot be compared")]
    UnknownVersion {
        /// As the SSM agent says.
        text: String,
    },
    /// The SSM agent sends stream bytes without asking for a handshake.
    #[error(
        "the SSM agent on the bastion forwards without a handshake, as only versions before {MULTIPLEXING} do: update the \
         SSM agent"
    )]
    NoHandshake,
    /// The session asks for KMS encryption, which SSM agents ask only of shell sessions.
    #[error("the session asks for `{action}`, which port forwarding cannot do: use a session document of type Port")]
    UnsupportedAction {
        /// As asked.
        action: String,
    },
    /// The document does not forward ports.
    #[error(
        "the session document is of type `{session_type}` ({kind}): use one of type Port that forwards a local port"
    )]
    NotPortForwarding {
        /// `Port` for port forwarding.
        session_type: String,
        /// `Properties.type`; `LocalPortForwarding` is needed.
        kind: String,
    },
    /// The handshake is not JSON of the known shape.
    #[error("the SSM agent's handshake cannot be read: {cause}")]
    Malformed {
        /// From the parser.
        cause: String,
    },
    /// No handshake in time.
    #[error("the SSM agent did not finish the handshake in {seconds} s: check that the bastion is online")]
    TimedOut {
        /// Waited.
        seconds: u64,
    },
    /// The byte stream is not smux version 1.
    #[error("the multiplexed stream is broken ({cause}): a new session is needed")]
    StreamBroken {
        /// What was found.
        cause: &'static str,
    },
}

/// Whether the SSM agent closes the multiplexed session unless it hears something every 30 s.
pub(crate) fn needs_keepalive(agent: AgentVersion, client_version: &str) -> bool {
    let old_client = AgentVersion::parse(client_version).is_none_or(|client| client <= LAST_CLIENT_WITH_KEEPALIVE);
    agent <= LAST_WITH_KEEPALIVE || old_client
}

/// The answer to send, and whether the session is of use.
pub(crate) fn answer(
    request: &HandshakeRequest,
    client_version: &str,
    remote_host: bool,
) -> (HandshakeResponse, Result<AgentVersion, Refusal>) {
    let mut outcome = check_version(&request.agent_version, remote_host);
    let mut processed_client_actions = Vec::new();
    for action in &request.requested_client_actions {
        let mut checked = check_action(action);
        if let (Ok(()), Err(refusal)) = (&checked, &outcome) {
            checked = Err(refusal.clone());
        }
        processed_client_actions.push(processed(action, checked.as_ref().err()));
        if let (Err(refusal), Ok(_)) = (checked, &outcome) {
            outcome = Err(refusal);
        }
    }
    let client_version = client_version.to_owned();
    (HandshakeResponse { client_version, processed_client_actions, errors: None }, outcome)
}

fn check_version(text: &str, remote_host: bool) -> Result<AgentVersion, Refusal> {
    let version = AgentVersion::parse(text).ok_or_else(|| Refusal::UnknownVersion { text: text.to_owned() })?;
    if version < MULTIPLEXING {
        let purpose = "forwarding more than one connection";
        return Err(Refusal::AgentTooOld { version, needed: MULTIPLEXING, purpose });
    }
    if remote_host && version < REMOTE_HOST {
        let purpose = "forwarding to a database host";
        return Err(Refusal::AgentTooOld { version, needed: REMOTE_HOST, purpose });
    }
    Ok(version)
}

fn check_action(action: &RequestedClientAction) -> Result<(), Refusal> {
    if action.action_type != "SessionType" {
        return Err(Refusal::UnsupportedAction { action: action.action_type.clone() });
    }
    let parameters: SessionTypeParameters = serde_json::from_value(action.action_parameters.clone())
        .map_err(|cause| Refusal::Malformed { cause: cause.to_string() })?;
    let kind = parameters.properties.get("type").and_then(Value::as_str).unwrap_or_default();
    if parameters.session_type == "Port" && kind == "LocalPortForwarding" {
        return Ok(());
    }
    Err(Refusal::NotPortForwarding { kind: kind.to_owned(), session_type: parameters.session_type })
}

fn processed(action: &RequestedClientAction, refusal: Option<&Refusal>) -> ProcessedClientAction {
    let status = match refusal {
        None => ActionStatus::Success,
        Some(Refusal::UnsupportedAction { .. }) => ActionStatus::Unsupported,
        Some(_) => ActionStatus::Failed,
    };
    ProcessedClientAction {
        action_type: action.action_type.clone(),
        action_status: status as i64,
        action_result: Value::Null,
        error: refusal.map(ToString::to_string).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_session_of_a_new_agent_is_answered_with_success() {
        let (response, outcome) = answer(&request("3.3.1142.0", "Port", "LocalPortForwarding"), "1.2.707.0", true);
        assert_eq!(outcome, Ok(AgentVersion([3, 3, 1142, 0])));
        assert_eq!(
            response.to_json(),
            r#"{"ClientVersion":"1.2.707.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"#
                .to_owned()
                + r#""ActionResult":null,"Error":""}],"Errors":null}"#
        );
    }

    #[test]
    fn an_old_agent_is_told_which_version_is_needed() {
        for (version, remote_host, needed) in [
            ("3.0.196.0", false, Some("3.0.196.1")),
            ("3.0.197.0", false, None),
            ("3.1.1373.0", true, Some("3.1.1374.0")),
            ("3.1.1374.0", true, None),
            ("2.3.722.0", true, Some("3.0.196.1")),
        ] {
            let (response, outcome) =
                answer(&request(version, "Port", "LocalPortForwarding"), "1.2.707.0", remote_host);
            let refused = match outcome {
                Err(Refusal::AgentTooOld { needed, .. }) => Some(needed.to_string()),
                Err(other) => panic!("{version}: {other}"),
                Ok(_) => None,
            };
            assert_eq!(refused.as_deref(), needed, "{version}");
            assert_eq!(response.processed_client_actions[0].action_status == 1, needed.is_none(), "{version}");
        }
    }

    #[test]
    fn only_old_agents_and_old_clients_need_a_keepalive() {
        for (agent, client, needed) in [
            ("3.1.1511.0", "1.2.707.0", true),
            ("3.1.1511.1", "1.2.707.0", false),
            ("3.3.0.0", "1.2.331.0", true),
            ("3.3.0.0", "1.2.331.1", false),
        ] {
            let version = AgentVersion::parse(agent).expect("a version");
            assert_eq!(needs_keepalive(version, client), needed, "{agent} with {client}");
        }
    }

    #[test]
    fn a_shell_or_an_encrypted_session_is_refused_in_words() {
        let (_, shell) = answer(&request("3.3.0.0", "Standard_Stream", ""), "1.2.707.0", false);
        assert!(matches!(shell, Err(Refusal::NotPortForwarding { .. })), "{shell:?}");

        let mut encrypted = request("3.3.0.0", "Port", "LocalPortForwarding");
        let action_type = "KMSEncryption".to_owned();
        encrypted.requested_client_actions.push(RequestedClientAction { action_type, action_parameters: Value::Null });
        let (response, outcome) = answer(&encrypted, "1.2.707.0", false);
        assert_eq!(outcome, Err(Refusal::UnsupportedAction { action: "KMSEncryption".to_owned() }));
        assert_eq!(response.processed_client_actions[1].action_status, 3);
    }

    fn request(version: &str, session_type: &str, kind: &str) -> HandshakeRequest {
        let properties = serde_json::json!({ "type": kind, "portNumber": "5432" });
        let parameters = SessionTypeParameters { session_type: session_type.to_owned(), properties };
        HandshakeRequest {
            agent_version: version.to_owned(),
            requested_client_actions: vec![RequestedClientAction {
                action_type: "SessionType".to_owned(),
                action_parameters: serde_json::to_value(parameters).expect("plain data"),
            }],
        }
    }
}
