//! What has become of the machines: which are heard of, and which SSM agent runs on each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::account::Account;

/// The machines of the account.
pub(crate) struct Fleet(Mutex<BTreeMap<String, Machine>>);

#[derive(Clone, Debug)]
struct Machine {
    online: bool,
    agent_version: String,
}

impl Fleet {
    /// All of them with an SSM agent of `agent_version`.
    pub(super) fn new(account: &Account, agent_version: &str) -> Self {
        let machine = |online| Machine { online, agent_version: agent_version.to_owned() };
        let machines = account.nodes.iter().map(|node| (node.id.to_owned(), machine(node.online)));
        Self(Mutex::new(machines.collect()))
    }

    /// Whether the machine's SSM agent can be reached.
    pub(crate) fn is_online(&self, node: &str) -> bool {
        self.machines().get(node).is_some_and(|machine| machine.online)
    }

    /// Takes a machine off the network, or brings it back. Sessions through it stay as they are.
    pub(crate) fn set_online(&self, node: &str, online: bool) {
        if let Some(machine) = self.machines().get_mut(node) {
            machine.online = online;
        }
    }

    /// None when there is no such machine.
    pub(crate) fn agent_version(&self, node: &str) -> Option<String> {
        self.machines().get(node).map(|machine| machine.agent_version.clone())
    }

    /// Puts another SSM agent on a machine, for the sessions that start from now on.
    pub(crate) fn set_agent_version(&self, node: &str, version: &str) {
        if let Some(machine) = self.machines().get_mut(node) {
            version.clone_into(&mut machine.agent_version);
        }
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.0.lock().expect("nothing panics while it holds the machines")
    }
}
