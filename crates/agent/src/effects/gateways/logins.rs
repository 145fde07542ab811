//! How a Front logs in to its Target: with a DbAuthToken made for that one login, or with the secret in force.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws::{DatabaseSecret, SecretStage, SecretsManager};
use futures_util::{FutureExt as _, future::BoxFuture};
use gateway::{Credential, Logins, NoCredential, Origin};
use model::{Entitlement, ErrorView, Grant, Identity, RequestState, Target};
use tokio::time::Instant;

use super::super::Shared;

/// Logins to one Target as one database user.
#[derive(Debug)]
pub(super) struct TargetLogins {
    shared: Arc<Shared>,
    target: Target,
    entitlement: Entitlement,
    fresh_until: Option<Instant>,
    refused: Mutex<Refused>,
}

/// What the database did not take.
#[derive(Debug, Default)]
struct Refused {
    /// Versions of the secret.
    versions: BTreeSet<String>,
    /// The version of the password handed out last, for [`Logins::refused`], which sees the password alone.
    last: Option<DatabaseSecret>,
}

impl TargetLogins {
    /// `fresh_for`: how long from now on IAM may not have heard of the Grant.
    pub(super) fn new(
        shared: Arc<Shared>,
        target: Target,
        entitlement: Entitlement,
        fresh_for: Option<Duration>,
    ) -> Self {
        let fresh_until = fresh_for.map(|time| Instant::now() + time);
        Self { shared, target, entitlement, fresh_until, refused: Mutex::default() }
    }

    /// By AWS's clock.
    async fn token(&self) -> Result<Credential, ErrorView> {
        let (shared, user) = (&self.shared, self.entitlement.database_user.clone());
        let usable = shared.identity.usable(shared).await?;
        let Target { region, endpoint, .. } = &self.target;
        let token = aws::sign(&usable.credentials, region, endpoint, &user, shared.skew.now());
        token.map(|token| Credential::Token { user, token }).map_err(|error| error.view())
    }

    /// AWSCURRENT, unless the database has refused just that: while a rotation is under way the password in the database is
    /// already the one of AWSPENDING.
    async fn password(&self, secret_id: &str) -> Result<Credential, ErrorView> {
        let usable = self.shared.identity.usable(&self.shared).await?;
        let manager = SecretsManager::new(&self.shared.aws(&self.target.region)?, &usable.credentials);
        let current = manager.value(secret_id, SecretStage::Current).await.map_err(|error| error.view())?;
        if !self.refused().versions.contains(&current.version_id) {
            return Ok(self.hand_out(current));
        }
        let pending = manager.value(secret_id, SecretStage::Pending).await;
        let pending = pending.ok().filter(|pending| !self.refused().versions.contains(&pending.version_id));
        Ok(self.hand_out(pending.unwrap_or(current)))
    }

    fn hand_out(&self, secret: DatabaseSecret) -> Credential {
        let credential = Credential::Secret { user: secret.username.clone(), password: secret.password.clone() };
        let mut refused = self.refused();
        if !refused.versions.contains(&secret.version_id) {
            refused.versions.clear();
        }
        refused.last = Some(secret);
        credential
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logins for TargetLogins {
    fn credential(&self) -> BoxFuture<'_, Result<Credential, NoCredential>> {
        async {
            let credential = match &self.entitlement.secret {
                None => self.token().await,
                Some(secret_id) => self.password(secret_id).await,
            };
            credential.map_err(|view| NoCredential { cause: view.message, hint: view.hint })
        }
        .boxed()
    }

    /// A token is made anew for every login. Of a secret the version is remembered, unless another was handed out since.
    fn refused(&self, credential: &Credential) {
        let mut refused = self.refused();
        if let Some(last) = refused.last.take_if(|last| last.password == *credential.secret()) {
            refused.versions.insert(last.version_id);
        }
    }

    fn fresh_until(&self) -> Option<Instant> {
        self.fresh_until.filter(|until| *until > Instant::now())
    }

    fn origin(&self) -> Origin {
        let snapshot = self.shared.snapshots().borrow().clone();
        let person = match &snapshot.identity {
            Identity::SignedIn { subject, .. } => subject.clone(),
            Identity::SignedOut { .. } | Identity::SigningIn { .. } => String::new(),
        };
        let role = self.entitlement.role;
        let view = snapshot.targets.iter().find(|view| view.target.id == self.target.id);
        let granted = view.filter(|view| matches!(&view.grant, Some(Grant::Active { role: of, .. }) if *of == role));
        let request = granted.and_then(|view| view.request.as_ref());
        let request = request.filter(|request| matches!(request.state, RequestState::Approved { .. }));
        Origin { person, request: request.map(|request| request.id.to_string()) }
    }
}
