//! The one session there is, and what AWS is asked about it.

use std::sync::Mutex;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ssm::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};
use gateway::{ResumedSession, SessionError, Sessions, StartedSession};

use crate::{Arguments, Outcome};

/// Starts from an answer that somebody else was given.
pub(crate) struct OneSession {
    answer: Mutex<Option<StartedSession>>,
    client: Option<Client>,
}

impl OneSession {
    /// Without a client nothing is resumed, and the session is ended through its data channel alone.
    pub(crate) fn new(answer: StartedSession, client: Option<Client>) -> Self {
        Self { answer: Mutex::new(Some(answer)), client }
    }
}

/// Systems Manager with the credentials of the environment or a profile; `None` if neither Region nor endpoint is given.
pub(crate) async fn client(arguments: &Arguments) -> Outcome<Option<Client>> {
    if arguments.region.is_none() && arguments.endpoint.is_none() {
        return Ok(None);
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(endpoint) = &arguments.endpoint {
        let loopback = endpoint.host_str().is_some_and(model::is_loopback_host);
        if endpoint.scheme() != "https" && !(endpoint.scheme() == "http" && loopback) {
            return Err(format!("the endpoint {endpoint} would be asked without TLS: use https").into());
        }
        loader = loader.endpoint_url(endpoint.as_str().trim_end_matches('/'));
    }
    if let Some(region) = &arguments.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &arguments.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    if config.region().is_none() {
        return Err("no Region to sign for: give --region".into());
    }
    Ok(Some(Client::new(&config)))
}

impl Sessions for OneSession {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        self.answer.lock().ok().and_then(|mut answer| answer.take()).ok_or(SessionError::Gone)
    }

    async fn resume(&self, session_id: &str) -> Result<Option<ResumedSession>, SessionError> {
        let Some(client) = &self.client else {
            eprintln!("the websocket is lost: without --region or --endpoint there is nobody to ask for another one");
            return Ok(None);
        };
        match client.resume_session().session_id(session_id).send().await {
            Ok(answer) => Ok(answer
                .token_value
                .map(|token| ResumedSession { stream_url: answer.stream_url, token: token.into() })),
            Err(error) => match session_error(&error) {
                SessionError::Gone => Ok(None),
                refused @ (SessionError::Refused { .. } | SessionError::Unreachable { .. }) => Err(refused),
            },
        }
    }

    async fn terminate(&self, session_id: &str) -> Result<(), SessionError> {
        let Some(client) = &self.client else { return Ok(()) };
        match client.terminate_session().session_id(session_id).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(session_error(&error)),
        }
    }
}

fn session_error<E>(error: &SdkError<E>) -> SessionError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some("DoesNotExistException") => SessionError::Gone,
        Some(code) => {
            let message = error.message().unwrap_or("it gave no reason").to_owned();
            SessionError::Refused { code: code.to_owned(), message }
        }
        None => SessionError::Unreachable { message: DisplayErrorContext(error).to_string() },
    }
}
