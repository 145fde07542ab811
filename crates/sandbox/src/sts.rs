//! Security Token Service: credentials for people who can prove who they are.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::account::CLIENT_ID;
use crate::cloud::Cloud;
use crate::faults::Service;
use crate::iam::{Ask, Decision, Role, evaluate, with_time};
use crate::oidc::{IdTokenClaims, IdTokenFlaw};
use crate::sigv4::{AccessKey, Caller, KeyTable};
use crate::wire::{Answer, ApiError, Protocol};
use crate::xml::Xml;

/// The one operation that carries its own proof.
pub(crate) const UNSIGNED: &str = "AssumeRoleWithWebIdentity";
const LONGEST_CHAINED: i64 = 3600;

/// The credentials that were handed out, by access key id.
#[derive(Default)]
pub(crate) struct Handed(Mutex<BTreeMap<String, AccessKey>>);

impl KeyTable for Handed {
    fn access_key(&self, id: &str) -> Option<AccessKey> {
        self.0.lock().expect("nothing panics while it holds the keys").get(id).cloned()
    }
}

pub(crate) fn answer(
    cloud: &Cloud,
    protocol: Protocol,
    operation: &str,
    input: &Value,
    caller: Option<Caller>,
) -> Result<Answer, ApiError> {
    let call = Call { cloud, protocol, input };
    match (operation, caller) {
        (UNSIGNED, _) => call.with_web_identity(),
        ("AssumeRole", Some(caller)) => call.chained(&caller),
        ("GetCallerIdentity", Some(caller)) => Ok(call.identity(&caller)),
        _ => {
            Err(ApiError::new("InvalidAction", format!("Could not find operation {operation} for version 2011-06-15")))
        }
    }
}

/// Fresh credentials for a session of `role`.
pub(crate) fn hand_out(
    cloud: &Cloud,
    role_name: &str,
    role: &Role,
    session_name: &str,
    life: SignedDuration,
) -> AccessKey {
    let key = AccessKey {
        id: cloud.seeds.keys.capitals("ASIA", 16),
        secret: cloud.seeds.keys.base64::<30>(),
        // As long as real ones, so that whoever cuts a DbAuthToken short is found out.
        session_token: cloud.seeds.keys.base64::<510>(),
        expires_at: whole_seconds(cloud.clock.now() + life),
        caller: session(cloud, role_name, role, session_name),
    };
    cloud.handed.0.lock().expect("nothing panics while it holds the keys").insert(key.id.clone(), key.clone());
    key
}

/// Whom a session of `role` speaks for.
pub(crate) fn session(cloud: &Cloud, role_name: &str, role: &Role, session_name: &str) -> Caller {
    Caller {
        arn: format!("arn:aws:sts::{}:assumed-role/{role_name}/{session_name}", cloud.account.id),
        user_id: format!("{}:{session_name}", role.id),
        role: role_name.to_owned(),
        session_name: session_name.to_owned(),
    }
}

struct Call<'a> {
    cloud: &'a Cloud,
    protocol: Protocol,
    input: &'a Value,
}

impl Call<'_> {
    fn with_web_identity(&self) -> Result<Answer, ApiError> {
        let session_name = self.session_name()?;
        let token = self.required("WebIdentityToken")?;
        let claims = self.proven(token)?;
        let denied =
            || ApiError::access_denied(self.protocol, "Not authorized to perform sts:AssumeRoleWithWebIdentity");
        let (role_name, role) = self.role().ok_or_else(denied)?;
        let life = self.life(role.max_session_seconds)?;
        let host = self.cloud.issuer.url.trim_start_matches("http://");
        let ask = Ask::new("sts:AssumeRoleWithWebIdentity", role.arn.clone())
            .by(format!("arn:aws:iam::{}:oidc-provider/{host}", self.cloud.account.id))
            .with(&format!("{host}:aud"), &claims.aud)
            .with(&format!("{host}:sub"), &claims.sub)
            .with("sts:RoleSessionName", session_name);
        if evaluate(std::slice::from_ref(&role.trust), &with_time(ask, self.cloud.clock.now())) != Decision::Allowed {
            return Err(denied());
        }
        let key = hand_out(self.cloud, &role_name, &role, session_name, life);
        let mut xml = assumed(&key);
        xml.text("SubjectFromWebIdentityToken", claims.sub).text("Audience", claims.aud).text("Provider", host);
        Ok(Answer::Xml(xml))
    }

    /// What the IdToken says, once it is believed.
    fn proven(&self, token: &str) -> Result<IdTokenClaims, ApiError> {
        let invalid = |text: String| ApiError::new("InvalidIdentityToken", text);
        if self.cloud.faults.is_stopped(Service::Oidc) {
            let text = "The identity provider could not be reached to verify the token.";
            return Err(ApiError::new("IDPCommunicationError", text));
        }
        let claims = self.cloud.issuer.read_id_token(token).map_err(|flaw| match flaw {
            IdTokenFlaw::Malformed => invalid(
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)".into(),
            ),
            IdTokenFlaw::NotSignedByIssuer => invalid(
                "Couldn't retrieve verification key from your identity provider, please reference \
                 AssumeRoleWithWebIdentity documentation for requirements"
                    .into(),
            ),
            IdTokenFlaw::UnknownIssuer(issuer) => {
                invalid(format!("No OpenIDConnect provider found in your account for {issuer}"))
            }
        })?;
        if claims.aud != CLIENT_ID {
            return Err(invalid("Incorrect token audience".into()));
        }
        let now = self.cloud.clock.now().as_second();
        if now >= claims.exp {
            let text = format!(
                "Token expired: current date/time {now} must be before the expiration date/time {}",
                claims.exp
            );
            return Err(ApiError::new("ExpiredTokenException", text));
        }
        Ok(claims)
    }

    /// Assuming one role from another: an hour at most.
    fn chained(&self, caller: &Caller) -> Result<Answer, ApiError> {
        let session_name = self.session_name()?;
        let role_arn = self.required("RoleArn")?;
        self.cloud.authorize(self.protocol, caller, &Ask::new("sts:AssumeRole", role_arn))?;
        let denied = || {
            let text =
                format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {role_arn}", caller.arn);
            ApiError::access_denied(self.protocol, text)
        };
        let (role_name, role) = self.role().ok_or_else(denied)?;
        let ask = Ask::new("sts:AssumeRole", role_arn).by(self.cloud.account.role_arn(&caller.role));
        let ask = self.cloud.iam.with_global_keys(ask, caller).with("sts:RoleSessionName", session_name);
        if evaluate(std::slice::from_ref(&role.trust), &ask) != Decision::Allowed {
            return Err(denied());
        }
        let life = self.life(role.max_session_seconds)?;
        if life.as_secs() > LONGEST_CHAINED {
            let text =
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
            return Err(ApiError::validation(self.protocol, text));
        }
        Ok(Answer::Xml(assumed(&hand_out(self.cloud, &role_name, &role, session_name, life))))
    }

    fn identity(&self, caller: &Caller) -> Answer {
        let mut xml = Xml::default();
        xml.text("Arn", &caller.arn).text("UserId", &caller.user_id).text("Account", &self.cloud.account.id);
        Answer::Xml(xml)
    }

    fn role(&self) -> Option<(String, Role)> {
        let prefix = self.cloud.account.role_arn("");
        let name = self.field("RoleArn")?.strip_prefix(&prefix)?;
        Some((name.to_owned(), self.cloud.iam.role(name)?))
    }

    fn session_name(&self) -> Result<&str, ApiError> {
        let name = self.required("RoleSessionName")?;
        let fits =
            (2..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
        if fits {
            return Ok(name);
        }
        let text = format!(
            "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [\\w+=,.@-]*"
        );
        Err(ApiError::validation(self.protocol, text))
    }

    fn life(&self, longest: i64) -> Result<SignedDuration, ApiError> {
        let asked = self.field("DurationSeconds").unwrap_or("3600");
        let seconds = asked.parse().ok().filter(|seconds| (900..=43_200).contains(seconds)).ok_or_else(|| {
            let text = format!(
                "1 validation error detected: Value '{asked}' at 'durationSeconds' failed to satisfy constraint: Member \
                 must have value greater than or equal to 900"
            );
            ApiError::validation(self.protocol, text)
        })?;
        if seconds > longest {
            let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
            return Err(ApiError::validation(self.protocol, text));
        }
        Ok(SignedDuration::from_secs(seconds))
    }

    fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.field(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            let text = format!(
                "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must not be null"
            );
            ApiError::validation(self.protocol, text)
        })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.input.get(name)?.as_str()
    }
}

fn assumed(key: &AccessKey) -> Xml {
    let mut xml = Xml::default();
    xml.nest("AssumedRoleUser", |xml| {
        xml.text("Arn", &key.caller.arn).text("AssumedRoleId", &key.caller.user_id);
    });
    xml.nest("Credentials", |xml| {
        xml.text("AccessKeyId", &key.id).text("SecretAccessKey", &key.secret);
        xml.text("SessionToken", &key.session_token).text("Expiration", key.expires_at);
    });
    xml
}

/// STS answers in whole seconds, and what it answers is what holds.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
