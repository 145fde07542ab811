//! What tests turn on the way to the databases.

use super::Sandbox;
use crate::data_channel::SessionLimits;
use crate::ecs::TaskState;

impl Sandbox {
    /// Takes a machine off the network: by its instance id, or by the database that is reached through it.
    pub fn target_offline(&self, id: &str) {
        self.cloud.sessions.fleet.set_online(self.node(id), false);
    }

    /// Brings it back.
    pub fn target_online(&self, id: &str) {
        self.cloud.sessions.fleet.set_online(self.node(id), true);
    }

    /// Puts another SSM agent on a machine (by its instance id, or by the database that is reached through it), for the sessions
    /// that start from now on.
    pub fn set_agent_version(&self, id: &str, version: &str) {
        self.cloud.sessions.fleet.set_agent_version(self.node(id), version);
    }

    /// Puts an ECS task (by its id) and the SSM agents that ECS Exec put into it in these states: `RUNNING`, `PENDING`, `STOPPED`.
    pub fn set_task(&self, id: &str, status: &str, exec_agent: &str) {
        self.cloud.tasks.set(id, TaskState::new(status, exec_agent));
    }

    /// From now on sessions and websockets end by themselves, those that are open too.
    pub fn limit_sessions(&self, limits: SessionLimits) {
        self.data_channels().limit(limits);
    }

    fn node<'a>(&'a self, id: &'a str) -> &'a str {
        self.cloud.account.database(id).map_or(id, |database| database.bastion)
    }
}
