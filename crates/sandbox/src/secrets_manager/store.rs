//! The secrets, their versions, and the databases they open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use axum::http::StatusCode;

use crate::account::{Account, Form, PasswordLogin, SecretPlan};
use crate::mariadb::{MariadbDoor, MysqlError};
use crate::postgres::{self, QueryError};
use crate::seed::Seed;
use crate::wire::ApiError;

/// Every secret of the account, by name.
pub(crate) struct Secrets {
    stored: Mutex<BTreeMap<String, StoredSecret>>,
    doors: OnceLock<Doors>,
}

/// A secret.
#[derive(Clone)]
pub(crate) struct StoredSecret {
    pub(crate) arn: String,
    pub(crate) name: String,
    /// None for one that a test has put there.
    pub(crate) plan: Option<SecretPlan>,
    pub(crate) versions: Vec<Version>,
    pub(crate) fault: Option<SecretFault>,
}

/// One value a secret has or had.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) content: Content,
    pub(crate) stages: BTreeSet<String>,
    pub(crate) created: Timestamp,
}

#[derive(Clone)]
pub(crate) enum Content {
    Binary(Vec<u8>),
    Text(String),
}

/// What makes a secret unreadable.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum SecretFault {
    /// The key that it is encrypted with is disabled.
    DecryptionFailure,
    /// AWS has a problem of its own.
    InternalServiceError,
    /// The caller may read the secret and not use its key.
    KmsDenied,
    /// Somebody deleted it; it goes in 30 days.
    MarkedForDeletion,
}

impl SecretFault {
    /// What AWS answers.
    pub(crate) fn refusal(self) -> ApiError {
        match self {
            Self::DecryptionFailure => {
                let text = "Secrets Manager can't decrypt the protected secret text using the provided KMS key.";
                ApiError::new("DecryptionFailure", text)
            }
            Self::InternalServiceError => {
                let error = ApiError::new("InternalServiceError", "An error occurred on the server side.");
                error.with_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::KmsDenied => ApiError::new("AccessDeniedException", "Access to KMS is not allowed"),
            Self::MarkedForDeletion => {
                let text = "You can't perform this operation on the secret because it was marked for deletion.";
                ApiError::new("InvalidRequestException", text)
            }
        }
    }
}

/// The real servers, for passwords to be changed in.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) mariadb: MariadbDoor,
    pub(crate) postgres: PathBuf,
}

/// A password that a server does not take.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordFlaw {
    #[error(transparent)]
    Mariadb(#[from] MysqlError),
    #[error(transparent)]
    Postgres(#[from] QueryError),
}

impl Doors {
    pub(crate) async fn set_password(
        &self,
        user: &str,
        password: &str,
        login: PasswordLogin,
    ) -> Result<(), PasswordFlaw> {
        match login {
            PasswordLogin::Mysql(plugin) => Ok(self.mariadb.set_password(user, password, plugin).await?),
            PasswordLogin::Postgres(stored) => {
                Ok(postgres::set_password(&self.postgres, user, password, stored).await?)
            }
        }
    }
}

impl Secrets {
    /// The secrets of `account` with passwords from `seed`. No database knows them until [`Secrets::open`].
    pub(crate) fn new(account: &Account, seed: &Seed, now: Timestamp) -> Self {
        let mut stored = BTreeMap::new();
        for plan in &account.secrets {
            let arn = account.secret_arn(plan.name) + "-" + &seed.lower_case("", 6);
            stored.insert(plan.name, (arn, plan));
        }
        let arns: BTreeMap<&str, String> = stored.iter().map(|(name, (arn, _))| (*name, arn.clone())).collect();
        let make = |(name, (arn, plan)): (&str, (String, &SecretPlan))| {
            let text = plan.json(account, &arns, plan.user, &seed.base64::<24>()).to_string();
            let version = Version {
                id: seed.uuid(),
                content: Content::Text(text),
                stages: BTreeSet::from(["AWSCURRENT".into()]),
                created: now,
            };
            let name = name.to_owned();
            (name.clone(), StoredSecret { arn, name, plan: Some(*plan), versions: vec![version], fault: None })
        };
        Self { stored: Mutex::new(stored.into_iter().map(make).collect()), doors: OnceLock::new() }
    }

    /// Makes the users of all secrets in the real databases.
    pub(crate) async fn open(&self, doors: Doors) -> Result<(), PasswordFlaw> {
        for secret in self.all() {
            let (Some(plan), Some(current)) = (secret.plan, secret.at("AWSCURRENT")) else { continue };
            doors.set_password(&current.field("username"), &current.field("password"), plan.login).await?;
        }
        // A second sandbox has secrets of its own.
        let _ = self.doors.set(doors);
        Ok(())
    }

    pub(crate) fn doors(&self) -> Option<&Doors> {
        self.doors.get()
    }

    /// By name, by ARN, or by ARN without its six last characters.
    pub(crate) fn find(&self, id: &str) -> Option<StoredSecret> {
        let stored = self.stored();
        let is_meant = |secret: &StoredSecret| {
            secret.name == id || secret.arn == id || secret.arn.rsplit_once('-').is_some_and(|(arn, _)| arn == id)
        };
        stored.values().find(|secret| is_meant(secret)).cloned()
    }

    /// ARNs of the secrets that RDS manages itself, by DBInstanceIdentifier.
    pub(crate) fn of_masters(&self) -> BTreeMap<&'static str, String> {
        let managed = |secret: StoredSecret| {
            let plan = secret.plan.filter(|plan| plan.form == Form::Managed)?;
            Some((plan.database, secret.arn))
        };
        self.all().into_iter().filter_map(managed).collect()
    }

    /// In alphabetical order.
    pub(crate) fn all(&self) -> Vec<StoredSecret> {
        self.stored().values().cloned().collect()
    }

    /// Writes a secret over the one of the same name.
    pub(crate) fn keep(&self, secret: StoredSecret) {
        self.stored().insert(secret.name.clone(), secret);
    }

    fn stored(&self) -> MutexGuard<'_, BTreeMap<String, StoredSecret>> {
        self.stored.lock().expect("nothing panics while it holds the secrets")
    }
}

impl StoredSecret {
    /// The version with this staging label.
    pub(crate) fn at(&self, stage: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.stages.contains(stage))
    }

    /// Gives a staging label to one version and takes it from all others.
    pub(crate) fn move_stage(&mut self, stage: &str, to: &str) {
        for version in &mut self.versions {
            version.stages.remove(stage);
            if version.id == to {
                version.stages.insert(stage.to_owned());
            }
        }
    }
}

impl Version {
    /// A text field of the JSON; empty when it is not there.
    pub(crate) fn field(&self, name: &str) -> String {
        self.json().get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        match &self.content {
            Content::Binary(_) => Value::Null,
            Content::Text(text) => serde_json::from_str(text).unwrap_or_default(),
        }
    }
}

impl SecretPlan {
    /// The secret's value: "JSON structure of Secrets Manager secrets" in AWS's documentation.
    fn json(&self, account: &Account, arns: &BTreeMap<&str, String>, user: &str, password: &str) -> Value {
        let mut value = json!({ "username": user, "password": password });
        let Some(database) = account.database(self.database).filter(|_| self.form != Form::Managed) else {
            return value;
        };
        value["engine"] = match database.engine {
            model::Engine::Mariadb => "mariadb",
            model::Engine::Mysql => "mysql",
            model::Engine::Postgres => "postgres",
        }
        .into();
        value["host"] = database.host.as_str().into();
        value["port"] = database.port.into();
        value["dbname"] = database.database.into();
        match self.form {
            Form::AlternatingUsers { master } => {
                value["dbInstanceIdentifier"] = database.identifier.into();
                value["masterarn"] = arns.get(master).cloned().into();
            }
            Form::Cluster => {
                value["dbClusterIdentifier"] = database.identifier.into();
                value["port"] = database.port.to_string().into();
            }
            Form::Instance | Form::Managed => value["dbInstanceIdentifier"] = database.identifier.into(),
        }
        value
    }
}
