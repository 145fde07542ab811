//! A Tunnel's questions to AWS, asked with credentials as fresh as the Identity allows.

use std::sync::Arc;

use aws::{AwsError, Ssm};
use gateway::{ResumedSession, SessionError, Sessions, StartedSession};
use model::{ErrorView, RoleName, Target};

use super::Shared;

/// Sessions for one Target through its Bastion.
#[derive(Debug)]
pub(super) struct TargetSessions {
    pub(super) shared: Arc<Shared>,
    pub(super) target: Target,
    pub(super) role: RoleName,
}

impl TargetSessions {
    async fn ssm(&self) -> Result<Ssm, SessionError> {
        let usable = self.shared.identity.usable(&self.shared).await.map_err(unasked)?;
        let config = self.shared.aws(&self.target.region).map_err(unasked)?;
        Ok(Ssm::new(&config, &usable.credentials))
    }
}

impl Sessions for TargetSessions {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        let ssm = self.ssm().await?;
        let bastion = ssm.bastion_status(&self.target.bastion).await.map_err(refused)?;
        if !bastion.online {
            let offline = crate::words::bastion_offline(&self.target, &bastion.instance);
            return Err(SessionError::Refused { code: offline.code, message: offline.message });
        }
        let reason = format!("daypass: {} on {}", self.role, self.target.id);
        let started = ssm.start_session(&bastion.instance, &self.target.endpoint, &reason).await.map_err(refused)?;
        Ok(StartedSession { session_id: started.session_id, stream_url: started.stream_url, token: started.token })
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
