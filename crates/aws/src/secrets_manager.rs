//! Passwords of database users, in each form that RDS and AWS's rotation functions write them.
//!
//! One question, signed here: Secrets Manager's SDK would be weight for nothing. Nothing is kept: whoever holds a secret asks
//! again when a login with it fails, since rotation changes the password in the database before AWSCURRENT moves.

use model::{Endpoint, Engine, ErrorView};
use secrets::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json_call::JsonCaller;
use crate::{AwsConfig, AwsError, Credentials};

/// Secrets Manager for the holder of some Credentials.
#[derive(Clone, Debug)]
pub struct SecretsManager {
    caller: JsonCaller,
}

/// Which version of a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretStage {
    /// AWSCURRENT: what clients should use.
    Current,
    /// AWSPENDING: made by a rotation that is under way; in the database from its second step on.
    Pending,
    /// AWSPREVIOUS: still good where two users alternate.
    Previous,
}

/// A database user's name and password, and what else the secret says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DatabaseSecret {
    /// The secret's full ARN.
    pub arn: String,
    /// Changes whenever the value does: the same id means the same password.
    pub version_id: String,
    /// Of the database user.
    pub username: String,
    /// Of the database user.
    pub password: Secret<String>,
    /// None in a secret of RDS's own, which says nothing besides user and password.
    pub engine: Option<Engine>,
    /// Host and port; the port is the engine's own when the secret names none.
    pub endpoint: Option<Endpoint>,
    /// `dbname`.
    pub database: Option<String>,
    /// `dbInstanceIdentifier` or `dbClusterIdentifier`.
    pub rds_identifier: Option<String>,
    /// `masterarn`: there is one where two users alternate, and AWSPREVIOUS stays good until the next rotation.
    pub master_arn: Option<String>,
}

/// A secret that gives no password. None of these errors holds any of the secret's value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecretError {
    /// AWS did not hand it out.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// It holds bytes instead of text.
    #[error("the secret {secret} is binary, not the JSON of a database user")]
    Binary {
        /// Its name.
        secret: String,
    },
    /// A field says something that cannot be used.
    #[error("the field `{field}` of the secret {secret} is not {expected}")]
    Field {
        /// Its name.
        secret: String,
        /// The field.
        field: &'static str,
        /// What it ought to be.
        expected: &'static str,
    },
    /// A field that every database secret has is not there.
    #[error("the secret {secret} has no field `{field}`")]
    MissingField {
        /// Its name.
        secret: String,
        /// The field.
        field: &'static str,
    },
    /// It holds a text that is no JSON object.
    #[error("the secret {secret} is not a JSON object")]
    NotJson {
        /// Its name.
        secret: String,
    },
}

impl SecretError {
    /// The error as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        let hint = "Ask its owner to store it as RDS does: {\"username\": …, \"password\": …}, or name another one in the catalog";
        let code = match self {
            Self::Aws(error) => return error.view(),
            Self::Binary { .. } | Self::NotJson { .. } => "secret-not-json",
            Self::Field { .. } => "secret-field-wrong",
            Self::MissingField { .. } => "secret-field-missing",
        };
        ErrorView::new(code, self.to_string(), hint)
    }
}

impl SecretsManager {
    /// Secrets Manager as `config` reaches it.
    #[must_use]
    pub fn new(config: &AwsConfig, credentials: &Credentials) -> Self {
        Self { caller: JsonCaller::new(config, credentials, "secretsmanager", "secretsmanager") }
    }

    /// The database user that the secret with this name or ARN holds at `stage`.
    ///
    /// # Errors
    /// [`AwsError::NotFound`] when there is no such secret, or no version at this stage; [`SecretError`] for a value that
    /// is no database user's.
    pub async fn value(&self, secret_id: &str, stage: SecretStage) -> Result<DatabaseSecret, SecretError> {
        let question = Question { secret_id, version_stage: stage.label() };
        let answer: Answer = self
            .caller
            .call("GetSecretValue", &question)
            .await
            .map_err(|error| in_words_of_secrets(error, secret_id, stage))?;
        answer.into_database_secret()
    }
}

impl SecretStage {
    fn label(self) -> &'static str {
        match self {
            Self::Current => "AWSCURRENT",
            Self::Pending => "AWSPENDING",
            Self::Previous => "AWSPREVIOUS",
        }
    }
}

/// KMS refuses without naming what is missing.
fn in_words_of_secrets(error: AwsError, secret: &str, stage: SecretStage) -> AwsError {
    if matches!(&error, AwsError::Rejected { code, .. } if code.starts_with("ResourceNotFound")) {
        return AwsError::NotFound { what: format!("secret {secret} with a version {}", stage.label()) };
    }
    if let AwsError::NotAuthorized { operation, action: None, message, .. } = &error
        && message.contains("KMS")
    {
        return AwsError::NotAuthorized {
            operation,
            action: Some("kms:Decrypt".into()),
            resource: Some(format!("the key of the secret {secret}")),
            message: message.clone(),
        };
    }
    error
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Question<'a> {
    secret_id: &'a str,
    version_stage: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
    version_id: String,
    secret_string: Option<String>,
}

impl Answer {
    fn into_database_secret(self) -> Result<DatabaseSecret, SecretError> {
        let Self { arn, name, version_id, secret_string } = self;
        let text = Secret::new(secret_string.ok_or_else(|| SecretError::Binary { secret: name.clone() })?);
        let Ok(fields) = serde_json::from_str(text.expose()) else {
            return Err(SecretError::NotJson { secret: name });
        };
        let fields = Fields { secret: name, fields };
        let engine = fields.engine()?;
        Ok(DatabaseSecret {
            arn,
            version_id,
            username: fields.required("username")?,
            password: Secret::new(fields.required("password")?),
            engine,
            endpoint: fields.endpoint(engine)?,
            database: fields.text("dbname")?,
            rds_identifier: match fields.text("dbInstanceIdentifier")? {
                Some(instance) => Some(instance),
                None => fields.text("dbClusterIdentifier")?,
            },
            master_arn: fields.text("masterarn")?,
        })
    }
}

struct Fields {
    secret: String,
    fields: Map<String, Value>,
}

impl Fields {
    fn required(&self, field: &'static str) -> Result<String, SecretError> {
        let found = self.text(field)?.filter(|text| !text.is_empty());
        found.ok_or_else(|| SecretError::MissingField { secret: self.secret.clone(), field })
    }

    fn text(&self, field: &'static str) -> Result<Option<String>, SecretError> {
        match self.fields.get(field) {
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Null) | None => Ok(None),
            Some(Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                Err(self.wrong(field, "a text"))
            }
        }
    }

    fn engine(&self) -> Result<Option<Engine>, SecretError> {
        match self.text("engine")?.as_deref() {
            None => Ok(None),
            Some("mariadb") => Ok(Some(Engine::Mariadb)),
            Some("mysql" | "aurora" | "aurora-mysql") => Ok(Some(Engine::Mysql)),
            Some("postgres" | "postgresql" | "aurora-postgresql") => Ok(Some(Engine::Postgres)),
            Some(_) => Err(self.wrong("engine", "`mariadb`, `mysql` or `postgres`")),
        }
    }

    /// The port is a number or a text, as the one who wrote the secret pleased.
    fn endpoint(&self, engine: Option<Engine>) -> Result<Option<Endpoint>, SecretError> {
        let Some(host) = self.text("host")? else { return Ok(None) };
        let wrong = || self.wrong("port", "a port");
        let port = match (self.fields.get("port"), engine) {
            (Some(Value::Number(port)), _) => port.as_u64().and_then(|port| port.try_into().ok()).ok_or_else(wrong)?,
            (Some(Value::String(port)), _) => port.trim().parse().map_err(|_| wrong())?,
            (Some(Value::Null) | None, Some(Engine::Postgres)) => 5432,
            (Some(Value::Null) | None, Some(Engine::Mariadb | Engine::Mysql)) => 3306,
            (Some(Value::Null) | None, None) => return Ok(None),
            (Some(Value::Array(_) | Value::Bool(_) | Value::Object(_)), _) => return Err(wrong()),
        };
        Ok(Some(Endpoint { host, port }))
    }

    fn wrong(&self, field: &'static str, expected: &'static str) -> SecretError {
        SecretError::Field { secret: self.secret.clone(), field, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DatabaseSecret, SecretError> {
        let answer = Answer {
            arn: "arn:aws:secretsmanager:eu-west-1:111122223333:secret:report-abcdef".into(),
            name: "report".into(),
            version_id: "v1".into(),
            secret_string: Some(text.into()),
        };
        answer.into_database_secret()
    }

    #[test]
    fn every_form_of_an_rds_secret_is_understood() {
        let managed = read(r#"{"username":"admin","password":"canary"}"#).expect("RDS's own form");
        assert_eq!((managed.username.as_str(), managed.password.expose().as_str()), ("admin", "canary"));
        assert_eq!((managed.engine, managed.endpoint, managed.rds_identifier), (None, None, None));

        let text_port = r#"{"engine":"aurora-mysql","host":"h","port":"3307","username":"u","password":"p",
            "dbClusterIdentifier":"c","masterarn":"arn","dbname":null,"anything":[1]}"#;
        let cluster = read(text_port).expect("with a port as text");
        assert_eq!(cluster.endpoint, Some(Endpoint { host: "h".into(), port: 3307 }));
        assert_eq!((cluster.rds_identifier.as_deref(), cluster.master_arn.as_deref()), (Some("c"), Some("arn")));
        assert_eq!(cluster.engine, Some(Engine::Mysql));

        let no_port =
            read(r#"{"engine":"postgres","host":"h","username":"u","password":"p"}"#).expect("without a port");
        assert_eq!(no_port.endpoint.map(|endpoint| endpoint.port), Some(5432));
    }

    #[test]
    fn a_secret_that_cannot_be_used_is_told_by_name_and_field_and_without_its_value() {
        let cases = [
            ("canary", "the secret report is not a JSON object", "secret-not-json"),
            (r#"["canary"]"#, "the secret report is not a JSON object", "secret-not-json"),
            (r#"{"username":"canary"}"#, "the secret report has no field `password`", "secret-field-missing"),
            (r#"{"password":"canary"}"#, "the secret report has no field `username`", "secret-field-missing"),
            (
                r#"{"username":"","password":"canary"}"#,
                "the secret report has no field `username`",
                "secret-field-missing",
            ),
            (
                r#"{"username":7,"password":"canary"}"#,
                "the field `username` of the secret report is not a text",
                "secret-field-wrong",
            ),
            (
                r#"{"username":"u","password":"canary","host":"h","port":70000}"#,
                "the field `port` of the secret report is not a port",
                "secret-field-wrong",
            ),
            (
                r#"{"username":"u","password":"canary","engine":"oracle"}"#,
                "the field `engine` of the secret report is not `mariadb`, `mysql` or `postgres`",
                "secret-field-wrong",
            ),
        ];
        for (text, message, code) in cases {
            let error = read(text).expect_err(message);
            let view = error.view();
            assert_eq!((view.message.as_str(), view.code.as_str()), (message, code));
            assert!(!view.hint.is_empty() && !format!("{error:?} {view:?}").contains("canary"), "{view:?}");
        }
    }

    #[test]
    fn a_secret_prints_without_its_password() {
        let secret = read(r#"{"username":"u","password":"canary"}"#).expect("a good one");
        assert!(!format!("{secret:?}").contains("canary"), "{secret:?}");
    }
}
