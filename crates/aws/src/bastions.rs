//! Which machines and tasks a Tunnel may go through, and whether they can carry it.

use std::hash::{DefaultHasher, Hash, Hasher};

use model::{Bastion, SessionDocument};

use crate::ecs::Ecs;
use crate::{AwsConfig, AwsError, Credentials, Ssm};

/// The first SSM agent that forwards more than one connection (release notes of amazon-ssm-agent, 3.0.222.0).
const MULTIPLEXING: &str = "3.0.222.0";
/// The first SSM agent that forwards to another host (documentation of AWS-StartPortForwardingSessionToRemoteHost).
const REMOTE_HOST: &str = "3.1.1374.0";

/// Bastions as the holder of some Credentials sees them. Looking is all it does: none is repaired, restarted or ended.
#[derive(Clone, Debug)]
pub struct Bastions {
    ssm: Ssm,
    ecs: Ecs,
}

/// What is known of a machine or task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BastionStatus {
    /// What StartSession is asked for: `i-…`, `mi-…` or `ecs:CLUSTER_TASK_RUNTIME`.
    pub node: String,
    /// Why no session can go through it; none: it is online.
    pub offline: Option<String>,
    /// The version of its SSM agent; AWS does not tell that of a task.
    pub agent_version: Option<String>,
}

/// An SSM agent that cannot do what a session document asks of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AgentTooOld {
    /// The first version that can.
    pub needed: &'static str,
    /// What it cannot do.
    pub purpose: &'static str,
}

impl Bastions {
    /// Systems Manager and ECS as `config` reaches them.
    #[must_use]
    pub fn new(config: &AwsConfig, credentials: &Credentials) -> Self {
        Self { ssm: Ssm::new(config, credentials), ecs: Ecs::new(config, credentials) }
    }

    /// What `bastion` names, those that are online first. Of several the order depends on `spread` (who asks, and for what)
    /// and is the same each time, so that people do not all meet on one machine. Empty for [`Bastion::Direct`].
    ///
    /// # Errors
    /// [`AwsError::NotFound`] when there is no such machine or task in this account and Region.
    pub async fn in_order(&self, bastion: &Bastion, spread: &str) -> Result<Vec<BastionStatus>, AwsError> {
        let mut found = match bastion {
            Bastion::Direct { .. } => return Ok(Vec::new()),
            Bastion::Ecs { cluster, tasks, container } => {
                self.ecs.bastions(cluster, tasks, container.as_deref()).await?
            }
            Bastion::Instance(id) => self.ssm.managed_nodes("InstanceIds", id).await?,
            Bastion::Tag { key, value } => self.ssm.managed_nodes(&format!("tag:{key}"), value).await?,
        };
        if found.is_empty() {
            return Err(AwsError::NotFound { what: named(bastion) });
        }
        found.sort_by_cached_key(|status| (status.offline.is_some(), weight(&status.node, spread)));
        Ok(found)
    }
}

impl BastionStatus {
    /// What its SSM agent lacks for `document`. A version that is not known is left to the handshake.
    #[must_use]
    pub fn too_old_for(&self, document: &SessionDocument) -> Option<AgentTooOld> {
        let version = numbers(self.agent_version.as_deref()?)?;
        let lacks = |needed: &str| numbers(needed).is_some_and(|needed| version < needed);
        if lacks(MULTIPLEXING) {
            let purpose = "forward more than one connection";
            return Some(AgentTooOld { needed: MULTIPLEXING, purpose });
        }
        (document.leads_to_another_host() && lacks(REMOTE_HOST))
            .then_some(AgentTooOld { needed: REMOTE_HOST, purpose: "forward to a database host" })
    }
}

/// Four numbers at most, the absent ones are 0.
fn numbers(version: &str) -> Option<[u32; 4]> {
    let mut numbers = [0; 4];
    let mut parts = version.trim().split('.');
    for number in &mut numbers {
        if let Some(part) = parts.next() {
            *number = part.parse().ok()?;
        }
    }
    parts.next().is_none().then_some(numbers)
}

/// Rendezvous hashing: when one machine goes, only those who used it change to another.
fn weight(node: &str, spread: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node, spread).hash(&mut hasher);
    hasher.finish()
}

fn named(bastion: &Bastion) -> String {
    match bastion {
        Bastion::Direct { .. } => "bastion".to_owned(),
        Bastion::Ecs { cluster, .. } => format!("running task of that name in the ECS cluster {cluster}"),
        Bastion::Instance(id) => format!("managed node {id}"),
        Bastion::Tag { key, value } => format!("managed node with the tag {key} = {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(version: &str) -> BastionStatus {
        BastionStatus { node: "i-1".into(), offline: None, agent_version: Some(version.into()) }
    }

    #[test]
    fn an_agent_that_is_too_old_is_known_before_a_session_starts() {
        let remote = |version: &str| agent(version).too_old_for(&SessionDocument::RemoteHost).map(|old| old.needed);
        assert_eq!(remote("2.3.722.0"), Some(MULTIPLEXING));
        assert_eq!(remote("3.1.1188.0"), Some(REMOTE_HOST));
        for able in ["3.1.1374.0", "3.3.40.0", "4.0", "of another kind"] {
            assert_eq!(remote(able), None, "{able}");
        }
        let plain = SessionDocument::PlainPort { port: None };
        assert_eq!(agent("3.1.1188.0").too_old_for(&plain), None, "its own ports it forwards");
        let unknown = BastionStatus { agent_version: None, ..agent("") };
        assert_eq!(unknown.too_old_for(&SessionDocument::RemoteHost), None);
    }

    #[test]
    fn people_are_spread_over_machines_and_each_stays_on_theirs() {
        let nodes = ["i-1", "i-2", "i-3"];
        let choose = |among: &[&'static str], who: &str| {
            *among.iter().min_by_key(|node| weight(node, who)).expect("there are machines")
        };
        let people: Vec<String> = (0..300).map(|number| format!("person-{number}")).collect();
        for node in nodes {
            let met = people.iter().filter(|who| choose(&nodes, who) == node).count();
            assert!((60..=140).contains(&met), "{node} carries {met} of 300");
        }
        let stayed = |who: &&String| choose(&nodes, who) == "i-1" || choose(&nodes[1..], who) == choose(&nodes, who);
        assert_eq!(people.iter().filter(stayed).count(), 300, "without i-1 nobody else has to move");
    }
}
