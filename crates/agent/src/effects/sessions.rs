//! A Tunnel's questions to AWS, asked with credentials as fresh as the Identity allows.

use std::{sync::Arc, time::Duration};

use aws::{AwsConfig, AwsError, Bastions, Ssm, StartedSession as SsmSession};
use gateway::{
    Direct, FirstWord, Pool, PoolConfig, ResumedSession, Route, SessionError, Sessions, StartedSession, TunnelEvent,
};
use model::{Bastion, Endpoint, Engine, ErrorView, RoleName, Target};
use tokio::sync::mpsc::UnboundedSender;

use super::{Shared, left_sessions};
use crate::{identity::Usable, words};

/// How long dialling a Target without a Bastion may take.
const DIAL_LIMIT: Duration = Duration::from_secs(15);

/// Between attempts, on average, while AWS is asked too often: it starts three sessions a second for a whole account.
const THROTTLED_PAUSES: [Duration; 3] =
    [Duration::from_millis(700), Duration::from_millis(1_500), Duration::from_secs(3)];

/// The way to a Target, open for connections.
pub(super) async fn route(sessions: TargetSessions, events: UnboundedSender<TunnelEvent>) -> Result<Route, ErrorView> {
    let target = sessions.target.clone();
    if let Bastion::Direct { at } = &target.bastion {
        let Endpoint { host, port } = at.as_ref().unwrap_or(&target.endpoint);
        return Ok(Direct::new(host, *port, DIAL_LIMIT).into());
    }
    let mut config = PoolConfig {
        first_word: match target.engine {
            Engine::Mariadb | Engine::Mysql => FirstWord::Target,
            Engine::Postgres => FirstWord::Client,
        },
        ..PoolConfig::default()
    };
    config.tunnel.channel.remote_host = target.document.leads_to_another_host();
    let pool = Pool::open(sessions, config, events).await;
    pool.map(Route::Pool).map_err(|error| words::no_tunnel(&target, &error))
}

/// Sessions for one Target through its Bastion.
#[derive(Debug)]
pub(super) struct TargetSessions {
    pub(super) shared: Arc<Shared>,
    pub(super) target: Target,
    pub(super) role: RoleName,
}

impl TargetSessions {
    async fn usable(&self) -> Result<(AwsConfig, Usable), SessionError> {
        let usable = self.shared.identity.usable(&self.shared).await.map_err(unasked)?;
        let config = self.shared.aws(&self.target.region).map_err(unasked)?;
        Ok((config, usable))
    }

    /// A throttled call has started nothing: it is repeated a few times, each at another moment.
    async fn start_through(&self, ssm: &Ssm, node: &str) -> Result<SsmSession, AwsError> {
        let Self { target, role, .. } = self;
        let reason = left_sessions::reason(*role, &target.id);
        for pause in THROTTLED_PAUSES {
            match ssm.start_session(node, &target.document, &target.endpoint, &reason).await {
                Err(AwsError::Throttled { .. }) => {
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await
                }
                answer => return answer,
            }
        }
        ssm.start_session(node, &target.document, &target.endpoint, &reason).await
    }

    async fn ssm(&self) -> Result<Ssm, SessionError> {
        let (config, usable) = self.usable().await?;
        Ok(Ssm::new(&config, &usable.credentials))
    }
}

impl Sessions for TargetSessions {
    /// Through the first Bastion that can carry it; one that turns out to be gone is passed over, and left alone.
    async fn start(&self) -> Result<StartedSession, SessionError> {
        let Self { target, .. } = self;
        let (config, usable) = self.usable().await?;
        let ssm = Ssm::new(&config, &usable.credentials);
        let spread = format!("{} on {}", usable.subject, target.id);
        let bastions = Bastions::new(&config, &usable.credentials).in_order(&target.bastion, &spread).await;
        let mut hindrance = None;
        for bastion in bastions.map_err(refused)? {
            if let Err(cause) = words::can_carry(target, &bastion) {
                hindrance.get_or_insert(cause);
                continue;
            }
            match self.start_through(&ssm, &bastion.node).await {
                Ok(SsmSession { session_id, stream_url, token }) => {
                    return Ok(StartedSession { session_id, stream_url, token });
                }
                Err(AwsError::TargetNotConnected { target: node }) => {
                    let lost = "Session Manager has lost its SSM agent";
                    hindrance.get_or_insert_with(|| words::bastion_offline(target, &node, lost));
                }
                Err(error @ AwsError::Throttled { .. }) => {
                    let ErrorView { code, message, .. } = error.view();
                    return Err(SessionError::Refused { code, message });
                }
                Err(error) => return Err(refused(error)),
            }
        }
        let ErrorView { code, message, .. } = hindrance.unwrap_or_else(|| words::no_bastion(target));
        Err(SessionError::Refused { code, message })
    }

    async fn resume(&self, session_id: &str) -> Result<Option<ResumedSession>, SessionError> {
        let resumed = self.ssm().await?.resume_session(session_id).await.map_err(refused)?;
        Ok(resumed.map(|session| ResumedSession { stream_url: Some(session.stream_url), token: session.token }))
    }

    async fn terminate(&self, session_id: &str) -> Result<(), SessionError> {
        self.ssm().await?.terminate_session(session_id).await.map_err(refused)
    }
}

/// AWS was not even asked; it may be later.
fn unasked(view: ErrorView) -> SessionError {
    SessionError::Unreachable { message: view.message }
}

fn refused(error: AwsError) -> SessionError {
    let view = error.view();
    match error {
        AwsError::Throttled { .. } | AwsError::Unreachable { .. } | AwsError::WrongAnswer { .. } => {
            SessionError::Unreachable { message: view.message }
        }
        AwsError::ClockSkewed { .. }
        | AwsError::CredentialsExpired { .. }
        | AwsError::CredentialsUnknown { .. }
        | AwsError::NotAuthorized { .. }
        | AwsError::NotFound { .. }
        | AwsError::PlainEndpoint { .. }
        | AwsError::Rejected { .. }
        | AwsError::TargetNotConnected { .. } => SessionError::Refused { code: view.code, message: view.message },
    }
}
