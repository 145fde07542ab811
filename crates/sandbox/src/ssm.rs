//! Systems Manager: machines and sessions through them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::Account;
use crate::cloud::Cloud;
use crate::data_channel::{DataChannels, OpenedChannel};
use crate::ecs;
use crate::iam::Ask;
use crate::sigv4::Caller;
use crate::ssm_agent::agent_has_remote_host;
use crate::wire::{Answer, ApiError, Protocol};

mod documents;
mod fleet;
mod nodes;
mod records;

pub(crate) use documents::OWN as OWN_DOCUMENT;
pub(crate) use fleet::Fleet;
pub(crate) use records::SessionRecord;

/// What StartSession takes when it is given no document.
const SHELL: &str = "SSM-SessionManagerRunShell";

/// Sessions and the machines they go through.
pub(crate) struct Sessions {
    pub(crate) channels: DataChannels,
    pub(crate) fleet: Fleet,
    agent_version: String,
    records: Mutex<BTreeMap<String, SessionRecord>>,
}

impl Sessions {
    /// `agent_version` is what the machines say of themselves; the data channel's side has to say the same.
    pub(crate) fn new(account: &Account, channels: DataChannels, agent_version: String) -> Self {
        let fleet = Fleet::new(account, &agent_version);
        Self { channels, fleet, agent_version, records: Mutex::default() }
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
    let document = input.document_name.as_deref().unwrap_or(SHELL);
    authorize_start(cloud, caller, &input.target, document)?;
    let properties = documents::properties(document, &input.parameters)?;
    let agent_version = reached(cloud, &input.target)?;
    if properties.host.is_some() && !agent_has_remote_host(&agent_version) {
        let text = "Agent version is not compatible: port forwarding sessions to remote hosts are not supported.";
        return Err(ApiError::new("BadRequest", text));
    }
    let id = cloud.seeds.sessions.lower_case(&format!("{}-", caller.session_name), 26);
    let opened = cloud.sessions.channels.open_through(&agent_version, &id, properties);
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

/// The version of the SSM agent that a session to `target` meets.
fn reached(cloud: &Cloud, target: &str) -> Result<String, ApiError> {
    let Sessions { fleet, agent_version, .. } = &cloud.sessions;
    let task = cloud.account.ecs_tasks.iter().find(|task| task.is_meant_by(target));
    let version = match task {
        Some(task) => cloud.tasks.is_reachable(task.id).then(|| agent_version.clone()),
        None => fleet.agent_version(target).filter(|_| fleet.is_online(target)),
    };
    version.ok_or_else(|| ApiError::new("TargetNotConnected", format!("{target} is not connected.")))
}

/// StartSession is decided twice: for the machine or task and for the document.
fn authorize_start(cloud: &Cloud, caller: &Caller, target: &str, document: &str) -> Result<(), ApiError> {
    let (region, account) = (&cloud.account.region, &cloud.account.id);
    let mut ask =
        Ask::new("ssm:StartSession", target_arn(cloud, target)).with("ssm:SessionDocumentAccessCheck", "true");
    if let Some(node) = cloud.account.nodes.iter().find(|node| node.id == target) {
        for (key, value) in &node.tags {
            ask = ask.with(&format!("ssm:resourceTag/{key}"), value);
        }
    }
    cloud.authorize(Protocol::Json, caller, &ask)?;
    let owner = if documents::is_own(document) { account.as_str() } else { "" };
    let ask = Ask::new("ssm:StartSession", format!("arn:aws:ssm:{region}:{owner}:document/{document}"))
        .with("ssm:SessionDocumentAccessCheck", "true");
    cloud.authorize(Protocol::Json, caller, &ask)
}

fn target_arn(cloud: &Cloud, target: &str) -> String {
    let (region, account) = (&cloud.account.region, &cloud.account.id);
    match target.strip_prefix("ecs:").map(|task| task.splitn(3, '_').collect::<Vec<_>>()).as_deref() {
        Some([cluster, task, _runtime]) => ecs::task_arn(cloud, cluster, task),
        Some(_) | None if target.starts_with("mi-") => {
            format!("arn:aws:ssm:{region}:{account}:managed-instance/{target}")
        }
        Some(_) | None => format!("arn:aws:ec2:{region}:{account}:instance/{target}"),
    }
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
    authorize(cloud, caller, "GetConnectionStatus", target_arn(cloud, target))?;
    let status = if reached(cloud, target).is_ok() { "connected" } else { "notconnected" };
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
