//! Rotation as AWS's rotation functions do it: four steps, each of which may be the last for a while.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::store::{Content, StoredSecret, Version};
use crate::account::Form;
use crate::cloud::Cloud;

/// One of the four steps, in this order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum RotationStep {
    /// Makes a new password, as AWSPENDING.
    CreateSecret,
    /// Gives it to the database: from here on the single user's old password is refused.
    SetSecret,
    /// Looks whether it logs in.
    TestSecret,
    /// Makes it AWSCURRENT, and what was that AWSPREVIOUS.
    FinishSecret,
}

/// A step that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum RotationFlaw {
    /// The database did not take the password.
    #[error("the database does not take the new password of {name}: {cause}")]
    Database {
        /// The secret.
        name: String,
        /// The database's words.
        cause: String,
    },
    /// There are no databases in this sandbox.
    #[error("there are no database servers in this sandbox; start it with them")]
    NoDatabase,
    /// A step before this one is missing.
    #[error("{name} has no AWSPENDING version; take the step create-secret first")]
    NotPending {
        /// The secret.
        name: String,
    },
    /// There is no such secret, or not one of a database user.
    #[error("there is no secret {name} of a database user")]
    Unknown {
        /// As asked for.
        name: String,
    },
}

/// Takes one step for the secret `name`.
pub(crate) async fn rotate(cloud: &Cloud, name: &str, step: RotationStep) -> Result<(), RotationFlaw> {
    let unknown = || RotationFlaw::Unknown { name: name.to_owned() };
    let mut secret = cloud.secrets.find(name).ok_or_else(unknown)?;
    let plan = secret.plan.ok_or_else(unknown)?;
    match step {
        RotationStep::CreateSecret => create(cloud, &mut secret, plan.form, plan.user).ok_or_else(unknown)?,
        RotationStep::SetSecret => {
            let pending = pending(&secret)?;
            let doors = cloud.secrets.doors().ok_or(RotationFlaw::NoDatabase)?;
            let (user, password) = (pending.field("username"), pending.field("password"));
            let set = doors.set_password(&user, &password, plan.login).await;
            set.map_err(|cause| RotationFlaw::Database { name: name.to_owned(), cause: cause.to_string() })?;
        }
        RotationStep::TestSecret => {
            pending(&secret)?;
        }
        RotationStep::FinishSecret => {
            let new = pending(&secret)?.id.clone();
            if let Some(old) = secret.at("AWSCURRENT").map(|version| version.id.clone()) {
                secret.move_stage("AWSPREVIOUS", &old);
            }
            secret.move_stage("AWSCURRENT", &new);
            secret.move_stage("AWSPENDING", "");
        }
    }
    cloud.secrets.keep(secret);
    Ok(())
}

fn pending(secret: &StoredSecret) -> Result<&Version, RotationFlaw> {
    secret.at("AWSPENDING").ok_or_else(|| RotationFlaw::NotPending { name: secret.name.clone() })
}

/// None when there is no value to begin from.
fn create(cloud: &Cloud, secret: &mut StoredSecret, form: Form, user: &str) -> Option<()> {
    let current = secret.at("AWSCURRENT")?;
    let mut value = current.json();
    value["password"] = cloud.seeds.secrets.base64::<24>().into();
    if let Form::AlternatingUsers { .. } = form {
        let other = if current.field("username") == user { format!("{user}_clone") } else { user.to_owned() };
        value["username"] = other.into();
    }
    let version = Version {
        id: cloud.seeds.secrets.uuid(),
        content: Content::Text(value.to_string()),
        stages: BTreeSet::new(),
        created: cloud.clock.now(),
    };
    let id = version.id.clone();
    secret.versions.push(version);
    secret.move_stage("AWSPENDING", &id);
    Some(())
}
