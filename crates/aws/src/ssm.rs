//! Session Manager sessions and the machines they go through.

use aws_config::retry::RetryConfig;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::Builder;
use aws_sdk_ssm::types::{
    InstanceInformation, InstanceInformationStringFilter, PingStatus, SessionFilter, SessionFilterKey, SessionState,
};
use aws_smithy_types::DateTime;
use model::{Endpoint, SessionDocument, WallTime};
use secrets::Secret;

use crate::call::Caller;
use crate::error::wrong_answer;
use crate::skew::SkewMeter;
use crate::{AwsConfig, AwsError, BastionStatus, Credentials};

/// Session Manager for the holder of some Credentials.
#[derive(Clone, Debug)]
pub struct Ssm {
    client: Client,
    caller: Caller,
}

/// A session that waits for its data channel to be opened.
#[derive(Clone, Debug)]
pub struct StartedSession {
    /// What it is terminated and resumed by.
    pub session_id: String,
    /// The websocket of its data channel.
    pub stream_url: String,
    /// What opens the data channel, once and soon.
    pub token: Secret<String>,
}

/// A session that has not ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenSession {
    /// What it is terminated by.
    pub session_id: String,
    /// The bastion it goes through.
    pub target: String,
    /// What was given as reason when it was started.
    pub reason: Option<String>,
    /// Since when.
    pub started_at: Option<WallTime>,
}

impl Ssm {
    /// Session Manager as `config` reaches it.
    #[must_use]
    pub fn new(config: &AwsConfig, credentials: &Credentials) -> Self {
        Self { client: ssm_client(config, credentials), caller: Caller::new(config, "ssm", Some(credentials)) }
    }

    /// Starts a session of `document` that forwards to `destination` through `node`. `reason` (1 to 256 characters) is what
    /// auditors read. It is never repeated on its own, since each call may start a session.
    ///
    /// # Errors
    /// [`AwsError::TargetNotConnected`] when the bastion is offline, [`AwsError::NotAuthorized`] naming the instance, the task or
    /// the document.
    pub async fn start_session(
        &self,
        node: &str,
        document: &SessionDocument,
        destination: &Endpoint,
        reason: &str,
    ) -> Result<StartedSession, AwsError> {
        const OPERATION: &str = "StartSession";
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let parameters = document.parameters(destination);
        let answer = self.caller.call(OPERATION, || {
            let mut call = self.client.start_session().target(node).document_name(document.name()).reason(reason);
            for (name, value) in &parameters {
                call = call.parameters(name, vec![value.clone()]);
            }
            call.customize().config_override(once.clone()).send()
        });
        let answer = answer.await.map_err(|error| name_target(error, node))?;
        started(OPERATION, answer.session_id, answer.stream_url, answer.token_value)
    }

    /// A fresh data channel for a session whose own broke; none when the session has ended.
    ///
    /// # Errors
    /// [`AwsError`] when AWS refuses or cannot be reached.
    pub async fn resume_session(&self, session_id: &str) -> Result<Option<StartedSession>, AwsError> {
        const OPERATION: &str = "ResumeSession";
        let answer = self.caller.call(OPERATION, || self.client.resume_session().session_id(session_id).send()).await;
        match answer {
            Ok(answer) => {
                let id = answer.session_id.or_else(|| Some(session_id.to_owned()));
                started(OPERATION, id, answer.stream_url, answer.token_value).map(Some)
            }
            Err(error) if error.is_rejected_with("DoesNotExist") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends a session; one that has ended is fine.
    ///
    /// # Errors
    /// [`AwsError`] when AWS refuses or cannot be reached.
    pub async fn terminate_session(&self, session_id: &str) -> Result<(), AwsError> {
        let answer =
            self.caller.call("TerminateSession", || self.client.terminate_session().session_id(session_id).send());
        match answer.await {
            Ok(_) => Ok(()),
            Err(error) if error.is_rejected_with("DoesNotExist") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The sessions of `owner` (the caller's ARN) that have not ended.
    ///
    /// # Errors
    /// [`AwsError`] when AWS refuses or cannot be reached.
    pub async fn open_sessions(&self, owner: &str) -> Result<Vec<OpenSession>, AwsError> {
        let filter = SessionFilter::builder().key(SessionFilterKey::Owner).value(owner).build();
        let filter = filter.map_err(|e| wrong_answer("DescribeSessions", e.to_string()))?;
        let mut sessions = Vec::new();
        let mut page = None;
        loop {
            let answer = self.caller.call("DescribeSessions", || {
                let call = self.client.describe_sessions().state(SessionState::Active).filters(filter.clone());
                call.set_next_token(page.clone()).send()
            });
            let answer = answer.await?;
            sessions.extend(answer.sessions.unwrap_or_default().into_iter().filter_map(|session| {
                Some(OpenSession {
                    session_id: session.session_id?,
                    target: session.target?,
                    reason: session.reason,
                    started_at: session.start_date.map(|at| WallTime::from_unix_seconds(at.secs())),
                })
            }));
            page = answer.next_token;
            if page.is_none() {
                return Ok(sessions);
            }
        }
    }

    /// What Systems Manager knows of the nodes that a filter of DescribeInstanceInformation finds; none is no error.
    pub(crate) async fn managed_nodes(&self, key: &str, value: &str) -> Result<Vec<BastionStatus>, AwsError> {
        const OPERATION: &str = "DescribeInstanceInformation";
        let filter = InstanceInformationStringFilter::builder().key(key).values(value).build();
        let filter = filter.map_err(|e| wrong_answer(OPERATION, e.to_string()))?;
        let mut nodes = Vec::new();
        let mut page = None;
        loop {
            let answer = self.caller.call(OPERATION, || {
                self.client.describe_instance_information().filters(filter.clone()).set_next_token(page.clone()).send()
            });
            let answer = match answer.await {
                Err(error) if error.is_rejected_with("InvalidInstance") => return Ok(Vec::new()),
                answer => answer?,
            };
            nodes.extend(answer.instance_information_list.unwrap_or_default().into_iter().filter_map(node));
            page = answer.next_token;
            if page.is_none() {
                return Ok(nodes);
            }
        }
    }
}

pub(crate) fn ssm_client(config: &AwsConfig, credentials: &Credentials) -> Client {
    let sdk = config.sdk(Some(credentials));
    Client::from_conf(Builder::from(&sdk).interceptor(SkewMeter(config.skew().clone())).build())
}

fn node(node: InstanceInformation) -> Option<BastionStatus> {
    let offline = match node.ping_status {
        Some(PingStatus::Online) => None,
        Some(status) => Some(last_heard(&status, node.last_ping_date_time.as_ref())),
        None => Some("Systems Manager has never heard of it".into()),
    };
    Some(BastionStatus { node: node.instance_id?, offline, agent_version: node.agent_version })
}

fn last_heard(status: &PingStatus, at: Option<&DateTime>) -> String {
    let at = at.map(|at| format!(", last heard of at {}", WallTime::from_unix_seconds(at.secs()))).unwrap_or_default();
    format!("its SSM agent is {}{at}", status.as_str())
}

fn started(
    operation: &'static str,
    session_id: Option<String>,
    stream_url: Option<String>,
    token: Option<String>,
) -> Result<StartedSession, AwsError> {
    match (session_id, stream_url, token) {
        (Some(session_id), Some(stream_url), Some(token)) => {
            Ok(StartedSession { session_id, stream_url, token: Secret::new(token) })
        }
        _ => Err(wrong_answer(operation, "it lacks SessionId, StreamUrl or TokenValue".into())),
    }
}

fn name_target(error: AwsError, node: &str) -> AwsError {
    let offline = matches!(error, AwsError::TargetNotConnected { .. });
    if offline { AwsError::TargetNotConnected { target: node.to_owned() } } else { error }
}
