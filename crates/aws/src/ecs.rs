//! Tasks with ECS Exec, which carry an SSM agent that DescribeInstanceInformation does not know.
//!
//! Two questions are asked of ECS. They are signed here: its SDK would take longer to build than all the rest of this crate.

use model::EcsTasks;
use serde::{Deserialize, Serialize};

use crate::json_call::JsonCaller;
use crate::{AwsConfig, AwsError, BastionStatus, Credentials};

const EXEC_AGENT: &str = "ExecuteCommandAgent";
const RUNNING: &str = "RUNNING";

/// ECS for the holder of some Credentials.
#[derive(Clone, Debug)]
pub(crate) struct Ecs {
    caller: JsonCaller,
}

impl Ecs {
    pub(crate) fn new(config: &AwsConfig, credentials: &Credentials) -> Self {
        Self { caller: JsonCaller::new(config, credentials, "ecs", "AmazonEC2ContainerServiceV20141113") }
    }

    /// The tasks, each by the container a session would go to. The first hundred of a service or family are looked at.
    pub(crate) async fn bastions(
        &self,
        cluster: &str,
        tasks: &EcsTasks,
        container: Option<&str>,
    ) -> Result<Vec<BastionStatus>, AwsError> {
        let ids = match tasks {
            EcsTasks::Family(family) => self.list(&ListTasks::running(cluster, Some(family), None)).await?,
            EcsTasks::Service(service) => self.list(&ListTasks::running(cluster, None, Some(service))).await?,
            EcsTasks::Task(task) => vec![task.clone()],
        };
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let described: Described =
            self.caller.call("DescribeTasks", &DescribeTasks { cluster, tasks: &ids }).await.map_err(unknown)?;
        Ok(described.tasks.iter().map(|task| task.as_bastion(cluster, container)).collect())
    }

    async fn list(&self, question: &ListTasks<'_>) -> Result<Vec<String>, AwsError> {
        let listed: Listed = self.caller.call("ListTasks", question).await.map_err(unknown)?;
        Ok(listed.task_arns)
    }
}

/// A cluster or service that is not there.
fn unknown(error: AwsError) -> AwsError {
    let known = [("ClusterNotFound", "ECS cluster of that name"), ("ServiceNotFound", "ECS service of that name")];
    match known.into_iter().find(|(code, _)| error.is_rejected_with(code)) {
        Some((_, what)) => AwsError::NotFound { what: what.into() },
        None => error,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListTasks<'a> {
    cluster: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<&'a str>,
    desired_status: &'static str,
}

impl<'a> ListTasks<'a> {
    fn running(cluster: &'a str, family: Option<&'a str>, service_name: Option<&'a str>) -> Self {
        Self { cluster, family, service_name, desired_status: RUNNING }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    task_arns: Vec<String>,
}

#[derive(Serialize)]
struct DescribeTasks<'a> {
    cluster: &'a str,
    tasks: &'a [String],
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    task_arn: String,
    #[serde(default)]
    last_status: String,
    #[serde(default)]
    enable_execute_command: bool,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    runtime_id: Option<String>,
    #[serde(default)]
    managed_agents: Vec<ManagedAgent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedAgent {
    name: String,
    #[serde(default)]
    last_status: String,
    reason: Option<String>,
}

impl Task {
    fn as_bastion(&self, cluster: &str, container: Option<&str>) -> BastionStatus {
        let id = self.task_arn.rsplit('/').next().unwrap_or(&self.task_arn);
        let chosen = self.container(container);
        let runtime = chosen.and_then(|container| container.runtime_id.as_deref());
        let node =
            runtime.map_or_else(|| format!("ecs:{cluster}_{id}"), |runtime| format!("ecs:{cluster}_{id}_{runtime}"));
        BastionStatus { node, offline: self.shortcoming(chosen, container), agent_version: None }
    }

    fn container(&self, name: Option<&str>) -> Option<&Container> {
        let mut containers = self.containers.iter();
        match name {
            Some(name) => containers.find(|container| container.name == name),
            None => containers.find(|container| container.exec_agent().is_some()).or(self.containers.first()),
        }
    }

    /// Why no session can go to `chosen`, which was asked for by `name`.
    fn shortcoming(&self, chosen: Option<&Container>, name: Option<&str>) -> Option<String> {
        if self.last_status != RUNNING {
            return Some(format!("the task is {}", self.last_status));
        }
        let Some(chosen) = chosen else {
            return Some(name.map_or_else(
                || "the task has no container".into(),
                |name| format!("the task has no container `{name}`"),
            ));
        };
        match chosen.exec_agent() {
            _ if !self.enable_execute_command => Some("ECS Exec is switched off for the task".into()),
            None => Some(format!("no ECS Exec agent runs in the container `{}`", chosen.name)),
            Some(agent) if agent.last_status != RUNNING => {
                let reason = agent.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                Some(format!("the ECS Exec agent in `{}` is {}{reason}", chosen.name, agent.last_status))
            }
            Some(_) if chosen.runtime_id.is_none() => Some(format!("the container `{}` has not started", chosen.name)),
            Some(_) => None,
        }
    }
}

impl Container {
    fn exec_agent(&self) -> Option<&ManagedAgent> {
        self.managed_agents.iter().find(|agent| agent.name == EXEC_AGENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(edit: impl FnOnce(&mut serde_json::Value), container: Option<&str>) -> BastionStatus {
        let mut task = serde_json::json!({
            "taskArn": "arn:aws:ecs:eu-west-1:111122223333:task/tools/0a1b2c", "lastStatus": "RUNNING", "enableExecuteCommand": true,
            "containers": [
                { "name": "log", "runtimeId": "0a1b2c-1", "managedAgents": [] },
                { "name": "ssm", "runtimeId": "0a1b2c-2", "managedAgents": [{ "name": EXEC_AGENT, "lastStatus": "RUNNING" }] },
            ],
        });
        edit(&mut task);
        serde_json::from_value::<Task>(task).expect("a task").as_bastion("tools", container)
    }

    #[test]
    fn a_task_is_named_by_cluster_task_and_container() {
        for container in [None, Some("ssm")] {
            let status = task(|_| {}, container);
            assert_eq!((status.node.as_str(), status.offline), ("ecs:tools_0a1b2c_0a1b2c-2", None), "{container:?}");
        }
    }

    #[test]
    fn a_task_without_a_way_in_says_why() {
        let why = |edit: fn(&mut serde_json::Value), container| task(edit, container).offline.expect("no way in");
        assert_eq!(why(|task| task["lastStatus"] = "PENDING".into(), None), "the task is PENDING");
        assert_eq!(why(|_| {}, Some("app")), "the task has no container `app`");
        assert_eq!(why(|_| {}, Some("log")), "no ECS Exec agent runs in the container `log`");
        let off = why(|task| task["enableExecuteCommand"] = false.into(), None);
        assert_eq!(off, "ECS Exec is switched off for the task");
        let stopped = |task: &mut serde_json::Value| {
            let agent = &mut task["containers"][1]["managedAgents"][0];
            agent["lastStatus"] = "STOPPED".into();
            agent["reason"] = "out of memory".into();
        };
        assert_eq!(why(stopped, None), "the ECS Exec agent in `ssm` is STOPPED (out of memory)");
    }
}
