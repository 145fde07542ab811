//! Systems Manager: machines and sessions through them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::Account;
use crate::cloud::Cloud;
use crate::data_channel::{DataChannels, OpenedChannel, PortProperties};
use crate::iam::Ask;
use crate::sigv4::Caller;
use crate::wire::{Answer, ApiError, Protocol};

mod nodes;
mod records;

pub(crate) use records::SessionRecord;

/// Forwards to a port of the machine itself.
const TO_NODE: &str = "AWS-StartPortForwardingSession";
/// Forwards to a port of another host, seen from the machine.
const TO_REMOTE_HOST: &str = "AWS-StartPortForwardingSessionToRemoteHost";

/// Sessions and the machines they go through.
pub(crate) struct Sessions {
    pub(crate) channels: DataChannels,
    agent_version: String,
    records: Mutex<BTreeMap<String, SessionRecord>>,
    offline: Mutex<BTreeSet<String>>,
}

impl Sessions {
    /// `agent_version` is what the machines say of themselves; the data channel's side has to say the same.
    pub(crate) fn new(account: &Account, channels: DataChannels, agent_version: String) -> Self {
        let offline = account.nodes.iter().filter(|node| !node.online).map(|node| node.id.to_owned()).collect();
        Self { channels, agent_version, records: Mutex::default(), offline: Mutex::new(offline) }
    }

    /// Whether the machine's SSM agent can be reached.
    pub(crate) fn is_online(&self, node: &str) -> bool {
        !self.offline.lock().expect("nothing panics while it holds the set").contains(node)
    }

    /// Takes a machine off the network, or brings it back. Sessions through it stay as they are.
    pub(crate) fn set_online(&self, node: &str, online: bool) {
        let mut offline = self.offline.lock().expect("nothing panics while it holds the set");
        if online {
            offline.remove(node);
        } else {
            offline.insert(node.to_owned());
        }
    }
}

pub(crate) fn answer(cloud: &Cloud, operation: &str, input: &Value, caller: &Caller) -> Result<Answer, ApiError> {
    let answer = match operation {
        "StartSession" => start(cloud, &parsed(input)?, caller)?,
        "ResumeSession" => resume(cloud, &parsed(input)?, caller)?,
        "TerminateSession" => terminate(cloud, &parsed(input)?, caller)?,
        "DescribeSessions" => {
            authorize(cloud, caller, operation, cloud.ssm_arn("*"))?;
            records::describe(&cloud.sessions, &parsed(input)?, cloud.clock.now())?
        }
        "DescribeInstanceInformation" => {
            authorize(cloud, caller, operation, cloud.ssm_arn("*"))?;
            nodes::describe(cloud, &parsed(input)?)?
        }
        "GetConnectionStatus" => connection_status(cloud, &parsed(input)?, caller)?,
        _ => return Err(ApiError::new("UnknownOperationException", format!("{operation} is not served here"))),
    };
    Ok(Answer::Json(answer))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    target: String,
    document_name: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, Vec<String>>,
}

fn start(cloud: &Cloud, input: &Start, caller: &Caller) -> Result<Value, ApiError> {
    let document = input.document_name.as_deref().unwrap_or("SSM-SessionManagerRunShell");
    authorize_start(cloud, caller, &input.target, document)?;
    let properties = properties(document, &input.parameters)?;
    if !cloud.account.nodes.iter().any(|node| node.id == input.target) || !cloud.sessions.is_online(&input.target) {
        return Err(ApiError::new("TargetNotConnected", format!("{} is not connected.", input.target)));
    }
    let id = cloud.seeds.sessions.lower_case(&format!("{}-", caller.session_name), 26);
    let opened = cloud.sessions.channels.open(&id, properties);
    let record = SessionRecord {
        id: id.clone(),
        target: input.target.clone(),
        document: document.to_owned(),
        reason: input.reason.clone(),
        owner: caller.clone(),
        started: cloud.clock.now(),
        ended: None,
    };
    cloud.sessions.keep(record);
    Ok(shown(&id, &opened))
}

/// StartSession is decided twice: for the machine and for the document.
fn authorize_start(cloud: &Cloud, caller: &Caller, target: &str, document: &str) -> Result<(), ApiError> {
    let (region, account) = (&cloud.account.region, &cloud.account.id);
    let mut ask = Ask::new("ssm:StartSession", format!("arn:aws:ec2:{region}:{account}:instance/{target}"))
        .with("ssm:SessionDocumentAccessCheck", "true");
    if let Some(node) = cloud.account.nodes.iter().find(|node| node.id == target) {
        for (key, value) in &node.tags {
            ask = ask.with(&format!("ssm:resourceTag/{key}"), value);
        }
    }
    cloud.authorize(Protocol::Json, caller, &ask)?;
    let owner = if document.starts_with("AWS-") { "" } else { account.as_str() };
    let ask = Ask::new("ssm:StartSession", format!("arn:aws:ssm:{region}:{owner}:document/{document}"))
        .with("ssm:SessionDocumentAccessCheck", "true");
    cloud.authorize(Protocol::Json, caller, &ask)
}

fn properties(document: &str, given: &BTreeMap<String, Vec<String>>) -> Result<PortProperties, ApiError> {
    let one = |name: &str| given.get(name).and_then(|values| values.first()).map(String::as_str);
    let invalid = |text: String| ApiError::new("InvalidParameters", text);
    let allowed: &[&str] = match document {
        TO_NODE => &["portNumber", "localPortNumber"],
        TO_REMOTE_HOST => &["host", "portNumber", "localPortNumber"],
        _ => return Err(ApiError::new("InvalidDocument", format!("Document with name {document} does not exist."))),
    };
    if let Some(unknown) = given.keys().find(|name| !allowed.contains(&name.as_str())) {
        return Err(invalid(format!("Parameters [{unknown}] are not defined in document {document}.")));
    }
    let port = one("portNumber").unwrap_or("80");
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        invalid(format!("Parameter \"portNumber\" has value \"{port}\" not matching pattern of a port number."))
    })?;
    let host = match (document, one("host")) {
        (TO_REMOTE_HOST, None | Some("")) => return Err(invalid("Missing required parameter: host.".into())),
        (_, host) => host.map(str::to_owned),
    };
    Ok(PortProperties { host, port })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ById {
    session_id: String,
}

fn resume(cloud: &Cloud, input: &ById, caller: &Caller) -> Result<Value, ApiError> {
    authorize_own(cloud, caller, "ResumeSession", &input.session_id)?;
    let opened = cloud.sessions.channels.resume(&input.session_id).ok_or_else(|| {
        ApiError::new("DoesNotExistException", format!("Session {} does not exist or has ended.", input.session_id))
    })?;
    Ok(shown(&input.session_id, &opened))
}

/// Ending what has ended is fine.
fn terminate(cloud: &Cloud, input: &ById, caller: &Caller) -> Result<Value, ApiError> {
    authorize_own(cloud, caller, "TerminateSession", &input.session_id)?;
    cloud.sessions.channels.terminate(&input.session_id);
    cloud.sessions.note_ends(cloud.clock.now());
    Ok(json!({ "SessionId": input.session_id }))
}

fn authorize_own(cloud: &Cloud, caller: &Caller, operation: &str, id: &str) -> Result<(), ApiError> {
    let mut ask = Ask::new(format!("ssm:{operation}"), cloud.ssm_arn(&format!("session/{id}")));
    if let Some(record) = cloud.sessions.record(id) {
        ask = ask.with("ssm:resourceTag/aws:ssmmessages:session-id", &record.owner.user_id);
    }
    cloud.authorize(Protocol::Json, caller, &ask)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ByTarget {
    target: String,
}

fn connection_status(cloud: &Cloud, input: &ByTarget, caller: &Caller) -> Result<Value, ApiError> {
    let target = &input.target;
    let resource = format!("arn:aws:ec2:{}:{}:instance/{target}", cloud.account.region, cloud.account.id);
    authorize(cloud, caller, "GetConnectionStatus", resource)?;
    let known = cloud.account.nodes.iter().any(|node| node.id == target);
    let status = if known && cloud.sessions.is_online(target) { "connected" } else { "notconnected" };
    Ok(json!({ "Target": target, "Status": status }))
}

fn shown(id: &str, opened: &OpenedChannel) -> Value {
    json!({ "SessionId": id, "StreamUrl": opened.stream_url, "TokenValue": opened.token_value })
}

fn authorize(cloud: &Cloud, caller: &Caller, operation: &str, resource: String) -> Result<(), ApiError> {
    cloud.authorize(Protocol::Json, caller, &Ask::new(format!("ssm:{operation}"), resource))
}

fn parsed<'a, T: Deserialize<'a>>(input: &'a Value) -> Result<T, ApiError> {
    T::deserialize(input).map_err(|error| ApiError::new("SerializationException", error.to_string()))
}
