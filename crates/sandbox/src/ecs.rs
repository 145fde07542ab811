//! ECS, as far as a task's way in is found by it: ListTasks and DescribeTasks.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{Container, EcsTask};
use crate::cloud::Cloud;
use crate::iam::Ask;
use crate::sigv4::Caller;
use crate::wire::{Answer, ApiError, Protocol};

/// In front of the operation in `X-Amz-Target`.
pub(crate) const NAMESPACE: &str = "AmazonEC2ContainerServiceV20141113.";
const RUNNING: &str = "RUNNING";

/// What has become of the tasks: absent ones run, and the agents in them.
#[derive(Default)]
pub(crate) struct Tasks(Mutex<BTreeMap<String, TaskState>>);

/// A task, and the SSM agents in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TaskState {
    /// `RUNNING`, `PENDING`, `STOPPED`.
    #[serde(default = "running")]
    status: String,
    /// Of the agent that ECS Exec puts into containers.
    #[serde(default = "running")]
    exec_agent: String,
}

fn running() -> String {
    RUNNING.to_owned()
}

impl TaskState {
    pub(crate) fn new(status: &str, exec_agent: &str) -> Self {
        Self { status: status.to_owned(), exec_agent: exec_agent.to_owned() }
    }
}

impl Tasks {
    pub(crate) fn set(&self, id: &str, state: TaskState) {
        self.0.lock().expect("nothing panics while it holds the tasks").insert(id.to_owned(), state);
    }

    /// Whether a session can go through it.
    pub(crate) fn is_reachable(&self, id: &str) -> bool {
        let state = self.state(id);
        state.status == RUNNING && state.exec_agent == RUNNING
    }

    fn state(&self, id: &str) -> TaskState {
        let known = self.0.lock().expect("nothing panics while it holds the tasks").get(id).cloned();
        known.unwrap_or_else(|| TaskState::new(RUNNING, RUNNING))
    }
}

pub(crate) fn answer(cloud: &Cloud, operation: &str, input: &Value, caller: &Caller) -> Result<Answer, ApiError> {
    let answer = match operation {
        "ListTasks" => {
            cloud.authorize(Protocol::Json, caller, &Ask::new("ecs:ListTasks", "*"))?;
            list(cloud, &parsed(input)?)?
        }
        "DescribeTasks" => {
            let question: Describe = parsed(input)?;
            for id in &question.tasks {
                let arn = task_arn(cloud, &question.cluster, short(id));
                cloud.authorize(Protocol::Json, caller, &Ask::new("ecs:DescribeTasks", arn))?;
            }
            describe(cloud, &question)?
        }
        _ => return Err(ApiError::new("UnknownOperationException", format!("{operation} is not served here"))),
    };
    Ok(Answer::Json(answer))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    cluster: String,
    service_name: Option<String>,
    family: Option<String>,
    desired_status: Option<String>,
}

fn list(cloud: &Cloud, question: &List) -> Result<Value, ApiError> {
    let tasks = in_cluster(cloud, &question.cluster)?;
    if let Some(service) = &question.service_name
        && tasks.iter().all(|task| task.service != service)
    {
        return Err(ApiError::new("ServiceNotFoundException", "Service not found."));
    }
    let wanted = question.desired_status.as_deref().unwrap_or(RUNNING);
    let arns: Vec<String> = tasks
        .into_iter()
        .filter(|task| question.service_name.as_deref().is_none_or(|service| service == task.service))
        .filter(|task| question.family.as_deref().is_none_or(|family| family == task.family))
        .filter(|task| (cloud.tasks.state(task.id).status == "STOPPED") == (wanted == "STOPPED"))
        .map(|task| task_arn(cloud, task.cluster, task.id))
        .collect();
    Ok(json!({ "taskArns": arns }))
}

#[derive(Deserialize)]
struct Describe {
    cluster: String,
    tasks: Vec<String>,
}

fn describe(cloud: &Cloud, question: &Describe) -> Result<Value, ApiError> {
    let known = in_cluster(cloud, &question.cluster)?;
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for id in question.tasks.iter().map(|id| short(id)) {
        match known.iter().find(|task| task.id == id) {
            Some(task) => tasks.push(shown(cloud, task)),
            None => failures.push(json!({ "arn": task_arn(cloud, &question.cluster, id), "reason": "MISSING" })),
        }
    }
    Ok(json!({ "tasks": tasks, "failures": failures }))
}

fn in_cluster<'a>(cloud: &'a Cloud, cluster: &str) -> Result<Vec<&'a EcsTask>, ApiError> {
    let tasks: Vec<&EcsTask> = cloud.account.ecs_tasks.iter().filter(|task| task.cluster == cluster).collect();
    if tasks.is_empty() {
        return Err(ApiError::new("ClusterNotFoundException", "Cluster not found."));
    }
    Ok(tasks)
}

fn shown(cloud: &Cloud, task: &EcsTask) -> Value {
    let state = cloud.tasks.state(task.id);
    let container = |container: &Container| {
        let agents = if container.exec_agent {
            json!([{ "name": "ExecuteCommandAgent", "lastStatus": state.exec_agent }])
        } else {
            json!([])
        };
        json!({
            "name": container.name,
            "runtimeId": container.runtime_id,
            "lastStatus": state.status,
            "managedAgents": agents,
        })
    };
    json!({
        "taskArn": task_arn(cloud, task.cluster, task.id),
        "clusterArn": format!("arn:aws:ecs:{}:{}:cluster/{}", cloud.account.region, cloud.account.id, task.cluster),
        "group": format!("service:{}", task.service),
        "lastStatus": state.status,
        "desiredStatus": if state.status == "STOPPED" { "STOPPED" } else { RUNNING },
        "enableExecuteCommand": true,
        "launchType": "FARGATE",
        "containers": task.containers.iter().map(container).collect::<Vec<_>>(),
    })
}

/// What StartSession on a task, and DescribeTasks, are allowed on.
pub(crate) fn task_arn(cloud: &Cloud, cluster: &str, id: &str) -> String {
    format!("arn:aws:ecs:{}:{}:task/{cluster}/{id}", cloud.account.region, cloud.account.id)
}

/// Ids and ARNs are both taken.
fn short(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

fn parsed<'a, T: Deserialize<'a>>(input: &'a Value) -> Result<T, ApiError> {
    T::deserialize(input).map_err(|error| ApiError::new("InvalidParameterException", error.to_string()))
}
