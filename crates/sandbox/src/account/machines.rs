//! What a session can go through: machines that Systems Manager knows, and containers of ECS tasks.

/// A machine that Systems Manager knows.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) tags: Vec<(&'static str, &'static str)>,
    pub(crate) address: &'static str,
    pub(crate) online: bool,
}

/// A task of an ECS cluster.
#[derive(Clone, Debug)]
pub(crate) struct EcsTask {
    pub(crate) cluster: &'static str,
    pub(crate) service: &'static str,
    /// Of its task definition.
    pub(crate) family: &'static str,
    pub(crate) id: &'static str,
    pub(crate) containers: Vec<Container>,
}

/// A container of a task.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) name: &'static str,
    pub(crate) runtime_id: &'static str,
    /// Whether ECS Exec put an SSM agent into it.
    pub(crate) exec_agent: bool,
}

impl EcsTask {
    /// How StartSession names one of its containers.
    pub(crate) fn session_target(&self, container: &Container) -> String {
        format!("ecs:{}_{}_{}", self.cluster, self.id, container.runtime_id)
    }

    /// Whether StartSession means a container of it in which an SSM agent runs.
    pub(crate) fn is_meant_by(&self, target: &str) -> bool {
        let mut reachable = self.containers.iter().filter(|container| container.exec_agent);
        reachable.any(|container| self.session_target(container) == target)
    }
}

pub(super) const BASTION: &str = "i-0da7a9a55ba5710e1";
pub(super) const OLD_BASTION: &str = "i-0da7a9a55ba5710e2";

/// Three of them share the tag `daypass-pool`, and one of those is off.
pub(super) fn nodes() -> Vec<Node> {
    let node = |id, name, tags, address, online| Node { id, name, tags, address, online };
    let of_pool = |name| vec![("Name", name), ("daypass-pool", "shared")];
    vec![
        node(
            BASTION,
            "ip-10-0-1-20.eu-west-1.compute.internal",
            vec![("Name", "bastion"), ("daypass-bastion", "true")],
            "10.0.1.20",
            true,
        ),
        node(
            OLD_BASTION,
            "ip-10-0-9-20.eu-west-1.compute.internal",
            vec![("Name", "bastion-archive"), ("daypass-bastion", "archive")],
            "10.0.9.20",
            false,
        ),
        node(
            "i-0da7a9a55ba5710f1",
            "ip-10-0-2-21.eu-west-1.compute.internal",
            of_pool("bastion-a"),
            "10.0.2.21",
            false,
        ),
        node("i-0da7a9a55ba5710f2", "ip-10-0-2-22.eu-west-1.compute.internal", of_pool("bastion-b"), "10.0.2.22", true),
        node("i-0da7a9a55ba5710f3", "ip-10-0-2-23.eu-west-1.compute.internal", of_pool("bastion-c"), "10.0.2.23", true),
    ]
}

pub(super) fn ecs_tasks() -> Vec<EcsTask> {
    let container = |name, runtime_id, exec_agent| Container { name, runtime_id, exec_agent };
    vec![EcsTask {
        cluster: "tools",
        service: "daypass-bastion",
        family: "daypass-bastion",
        id: "7c1d4a0e9b3f4e52a6d8b0c2e4f60718",
        containers: vec![
            container("log-router", "7c1d4a0e9b3f4e52a6d8b0c2e4f60718-0527074092", false),
            container("bastion", "7c1d4a0e9b3f4e52a6d8b0c2e4f60718-2531612879", true),
        ],
    }]
}
