//! Roles, who may assume them, and what they may do. Every call to every other service is decided here.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::account::Account;
use crate::clock::Clock;
use crate::seed::Seed;
use crate::sigv4::Caller;

mod condition;
mod policy;

pub use policy::{Ask, Decision, PolicyDocument, PolicyFlaw, evaluate};

/// The roles of the account.
pub(crate) struct Iam {
    clock: Clock,
    account: String,
    roles: Mutex<BTreeMap<String, Role>>,
    propagation: Mutex<SignedDuration>,
}

/// One role.
#[derive(Clone)]
pub(crate) struct Role {
    pub(crate) arn: String,
    /// `AROA…`.
    pub(crate) id: String,
    pub(crate) trust: PolicyDocument,
    pub(crate) max_session_seconds: i64,
    inline: BTreeMap<String, Inline>,
}

/// A policy written into a role; IAM's other machines hear of it a little later.
#[derive(Clone)]
struct Inline {
    document: PolicyDocument,
    from: Timestamp,
}

impl Iam {
    pub(crate) fn new(account: &Account, issuer_host: &str, seed: &Seed, clock: Clock) -> Result<Self, PolicyFlaw> {
        let mut roles = BTreeMap::new();
        for plan in account.roles(issuer_host) {
            let inline = Inline { document: PolicyDocument::from_json(&plan.policy)?, from: Timestamp::MIN };
            let role = Role {
                arn: account.role_arn(plan.name),
                id: seed.capitals("AROA", 17),
                trust: PolicyDocument::from_json(&plan.trust)?,
                max_session_seconds: plan.max_session_seconds,
                inline: BTreeMap::from([(plan.name.to_owned(), inline)]),
            };
            roles.insert(plan.name.to_owned(), role);
        }
        Ok(Self { clock, account: account.id.clone(), roles: Mutex::new(roles), propagation: Mutex::default() })
    }

    pub(crate) fn role(&self, name: &str) -> Option<Role> {
        self.roles().get(name).cloned()
    }

    /// Whether a call may be made; the error is AWS's own sentence.
    pub(crate) fn authorize(&self, caller: &Caller, ask: &Ask) -> Result<(), String> {
        let ask = self.with_global_keys(ask.clone(), caller);
        let policies = self.policies_in_force(&caller.role);
        let refused =
            format!("User: {} is not authorized to perform: {} on resource: {}", caller.arn, ask.action, ask.resource);
        match evaluate(&policies, &ask) {
            Decision::Allowed => Ok(()),
            Decision::ExplicitlyDenied => Err(format!("{refused} with an explicit deny in an identity-based policy")),
            Decision::NotAllowed => {
                Err(format!("{refused} because no identity-based policy allows the {} action", ask.action))
            }
        }
    }

    /// Writes an inline policy, as the service role of the runbook does.
    pub(crate) fn put_role_policy(
        &self,
        writer: &Caller,
        role: &str,
        name: &str,
        document: &Value,
    ) -> Result<(), String> {
        self.authorize(writer, &self.role_ask("iam:PutRolePolicy", role))?;
        let document = PolicyDocument::from_json(document).map_err(|flaw| flaw.to_string())?;
        let from = self.clock.now().saturating_add(*self.propagation()).unwrap_or(Timestamp::MAX);
        let mut roles = self.roles();
        let role = roles.get_mut(role).ok_or_else(|| format!("The role with name {role} cannot be found."))?;
        role.inline.insert(name.to_owned(), Inline { document, from });
        Ok(())
    }

    /// Removes an inline policy; one that is gone already is no error, as the runbook's step wants it.
    pub(crate) fn delete_role_policy(&self, writer: &Caller, role: &str, name: &str) -> Result<(), String> {
        self.authorize(writer, &self.role_ask("iam:DeleteRolePolicy", role))?;
        if let Some(role) = self.roles().get_mut(role) {
            role.inline.remove(name);
        }
        Ok(())
    }

    /// The inline policies of every role, for people and tests to look at.
    pub(crate) fn inline_policies(&self) -> Value {
        let roles = self.roles();
        roles.iter().map(|(name, role)| (name.clone(), role.documents())).collect::<serde_json::Map<_, _>>().into()
    }

    /// The instant and, once somebody is known, who it is.
    pub(crate) fn with_global_keys(&self, ask: Ask, caller: &Caller) -> Ask {
        with_time(ask, self.clock.now())
            .with("aws:userid", &caller.user_id)
            .with("aws:PrincipalArn", &format!("arn:aws:iam::{}:role/{}", self.account, caller.role))
            .with("aws:PrincipalAccount", &self.account)
            .with("aws:SecureTransport", "true")
    }

    fn role_ask(&self, action: &str, role: &str) -> Ask {
        Ask::new(action, format!("arn:aws:iam::{}:role/{role}", self.account))
    }

    /// From now on a policy that is written holds only after this time, as IAM is eventually consistent.
    pub(crate) fn set_propagation(&self, after: SignedDuration) {
        *self.propagation() = after;
    }

    fn policies_in_force(&self, role: &str) -> Vec<PolicyDocument> {
        let now = self.clock.now();
        let roles = self.roles();
        let inline = roles.get(role).into_iter().flat_map(|role| role.inline.values());
        inline.filter(|policy| policy.from <= now).map(|policy| policy.document.clone()).collect()
    }

    fn propagation(&self) -> std::sync::MutexGuard<'_, SignedDuration> {
        self.propagation.lock().expect("nothing panics while it holds the time")
    }

    fn roles(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Role>> {
        self.roles.lock().expect("nothing panics while it holds the roles")
    }
}

impl Role {
    fn documents(&self) -> Value {
        let documents = self.inline.iter().map(|(name, policy)| (name.clone(), json!(policy.document)));
        documents.collect::<serde_json::Map<_, _>>().into()
    }
}

/// `ask` made at `now`.
pub(crate) fn with_time(ask: Ask, now: Timestamp) -> Ask {
    ask.with("aws:CurrentTime", &now.to_string()).with("aws:EpochTime", &now.as_second().to_string())
}
