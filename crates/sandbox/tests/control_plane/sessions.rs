//! Tunnels as the API sees them; what goes through them is the data plane's.

use serde_json::{Value, json};

use super::client::{Answer, BASTION, Client, account};

const REMOTE_HOST: &str = "AWS-StartPortForwardingSessionToRemoteHost";
const OFFLINE: &str = "i-0da7a9a55ba5710e2";
const POOL: [&str; 3] = ["i-0da7a9a55ba5710f1", "i-0da7a9a55ba5710f2", "i-0da7a9a55ba5710f3"];
const TASK: &str = "7c1d4a0e9b3f4e52a6d8b0c2e4f60718";

async fn start(client: &Client, target: &str, document: &str) -> Answer {
    let parameters = json!({ "host": ["orders-prod.example"], "portNumber": ["5432"], "localPortNumber": ["0"] });
    let input = json!({ "Target": target, "DocumentName": document, "Reason": "a test", "Parameters": parameters });
    client.ssm("StartSession", input).await
}

async fn listed(client: &Client, state: &str) -> Value {
    let filters = json!([{ "key": "Target", "value": BASTION }]);
    let answer = client.ssm("DescribeSessions", json!({ "State": state, "Filters": filters })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["Sessions"].take()
}

#[tokio::test]
async fn a_session_starts_is_listed_resumed_and_ended() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let started = start(&ana, BASTION, REMOTE_HOST).await.json();
    let id = started["SessionId"].as_str().expect("an id");
    assert!(id.starts_with("ana@acme.dev-") && id.len() <= 96, "{id}");
    assert!(started["StreamUrl"].as_str().expect("a URL").starts_with("ws://127.0.0.1:"));
    assert!(!started["TokenValue"].as_str().expect("a token").is_empty());

    let active = listed(&ana, "Active").await;
    assert_eq!(active[0]["SessionId"], id);
    assert_eq!(active[0]["Status"], "Connected");
    assert_eq!(active[0]["Owner"], "arn:aws:sts::111122223333:assumed-role/JitRds/ana@acme.dev");
    let resumed = ana.ssm("ResumeSession", json!({ "SessionId": id })).await.json();
    assert_ne!(resumed["TokenValue"], started["TokenValue"], "a token works once");

    assert_eq!(ana.ssm("TerminateSession", json!({ "SessionId": id })).await.json()["SessionId"], id);
    assert_eq!(listed(&ana, "Active").await, json!([]));
    assert_eq!(listed(&ana, "History").await[0]["Status"], "Terminated");
    assert!(sandbox.open_sessions().is_empty());
    assert_eq!(ana.ssm("ResumeSession", json!({ "SessionId": id })).await.error().0, "DoesNotExistException");
}

#[tokio::test]
async fn a_machine_that_is_off_or_unknown_is_not_connected() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let off = ("TargetNotConnected".to_owned(), format!("{OFFLINE} is not connected."));
    assert_eq!(start(&ana, OFFLINE, REMOTE_HOST).await.error(), off);
    sandbox.target_offline("orders-prod");
    assert_eq!(start(&ana, BASTION, REMOTE_HOST).await.error().0, "TargetNotConnected");
    let status = ana.ssm("GetConnectionStatus", json!({ "Target": BASTION })).await.json();
    assert_eq!(status["Status"], "notconnected");
    sandbox.target_online(BASTION);
    assert_eq!(start(&ana, BASTION, REMOTE_HOST).await.status, 200);
}

#[tokio::test]
async fn instance_and_document_are_both_decided() {
    let sandbox = account().await;
    let (ana, ben) = (Client::new(&sandbox, "ana", "JitRds"), Client::new(&sandbox, "ben", "JitRdsApprover"));
    let (code, text) = start(&ben, BASTION, REMOTE_HOST).await.error();
    assert_eq!(code, "AccessDeniedException");
    assert!(text.contains("on resource: arn:aws:ec2:eu-west-1:111122223333:instance/i-0da7a9a55ba5710e1"), "{text}");
    let (code, text) = start(&ana, BASTION, "SSM-SessionManagerRunShell").await.error();
    assert_eq!(code, "AccessDeniedException", "a shell is not for developers");
    assert!(text.contains(":document/SSM-SessionManagerRunShell"), "{text}");
    assert_eq!(start(&ana, "i-00000000000000000", REMOTE_HOST).await.error().0, "AccessDeniedException");
}

#[tokio::test]
async fn nobody_ends_or_resumes_somebody_elses_session() {
    let sandbox = account().await;
    let (ana, eva) = (Client::new(&sandbox, "ana", "JitRds"), Client::new(&sandbox, "eva", "JitRds"));
    let id = start(&ana, BASTION, REMOTE_HOST).await.json()["SessionId"].take();
    for operation in ["TerminateSession", "ResumeSession"] {
        let refused = eva.ssm(operation, json!({ "SessionId": id })).await.error();
        assert_eq!(refused.0, "AccessDeniedException", "{operation}");
    }
    assert_eq!(sandbox.open_sessions(), [id.as_str().expect("an id")]);
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    for parameters in
        [json!({}), json!({ "host": ["h"], "portNumber": ["seven"] }), json!({ "host": ["h"], "user": ["x"] })]
    {
        let input = json!({ "Target": BASTION, "DocumentName": REMOTE_HOST, "Parameters": parameters.clone() });
        assert_eq!(ana.ssm("StartSession", input).await.error().0, "InvalidParameters", "{parameters}");
    }
    assert!(sandbox.open_sessions().is_empty());
}

#[tokio::test]
async fn machines_are_found_by_id_tag_and_state() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let cases = [
        (json!([{ "Key": "InstanceIds", "Values": [BASTION] }]), vec![BASTION]),
        (json!([{ "Key": "tag:daypass-bastion", "Values": ["true"] }]), vec![BASTION]),
        (json!([{ "Key": "PingStatus", "Values": ["ConnectionLost"] }]), vec![OFFLINE, POOL[0]]),
        (json!([{ "Key": "tag:daypass-pool", "Values": ["shared"] }]), POOL.to_vec()),
        (
            json!([{ "Key": "tag:daypass-bastion", "Values": ["true"] }, { "Key": "PingStatus", "Values": ["Inactive"] }]),
            vec![],
        ),
        (json!([]), [[BASTION, OFFLINE].as_slice(), &POOL].concat()),
    ];
    for (filters, expected) in cases {
        let answer = ana.ssm("DescribeInstanceInformation", json!({ "Filters": filters.clone() })).await.json();
        let found: Vec<&str> = answer["InstanceInformationList"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|node| node["InstanceId"].as_str().expect("an id"))
            .collect();
        assert_eq!(found, expected, "{filters}");
    }
}

#[tokio::test]
async fn each_document_takes_its_own_parameters() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let start = async |document: &str, parameters: Value| {
        let input = json!({ "Target": BASTION, "DocumentName": document, "Parameters": parameters });
        ana.ssm("StartSession", input).await
    };
    let own = "Acme-BillingTunnel";
    assert_eq!(start(own, json!({ "team": ["payments"] })).await.status, 200);
    assert_eq!(start("AWS-StartPortForwardingSession", json!({ "portNumber": ["5432"] })).await.status, 200);
    for (document, parameters) in
        [(own, json!({})), (own, json!({ "team": ["sales"] })), (own, json!({ "team": ["payments"], "host": ["h"] }))]
    {
        let refused = start(document, parameters.clone()).await.error();
        assert_eq!(refused.0, "InvalidParameters", "{document} {parameters}");
    }
    assert_eq!(start("AWS-StartSSHSession", json!({})).await.error().0, "AccessDeniedException");
}

#[tokio::test]
async fn an_old_agent_forwards_its_own_ports_only() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    sandbox.set_agent_version(BASTION, "3.1.1188.0");
    assert_eq!(start(&ana, BASTION, REMOTE_HOST).await.error().0, "BadRequest");
    let filters = json!([{ "Key": "InstanceIds", "Values": [BASTION] }]);
    let listed = ana.ssm("DescribeInstanceInformation", json!({ "Filters": filters })).await.json();
    assert_eq!(listed["InstanceInformationList"][0]["AgentVersion"], "3.1.1188.0");
    let own_port = json!({ "Target": BASTION, "DocumentName": "AWS-StartPortForwardingSession", "Parameters": {} });
    assert_eq!(ana.ssm("StartSession", own_port).await.status, 200);
}

#[tokio::test]
async fn a_task_is_found_and_carries_a_session_while_its_agent_runs() {
    let sandbox = account().await;
    let ana = Client::new(&sandbox, "ana", "JitRds");
    let question = json!({ "cluster": "tools", "serviceName": "daypass-bastion" });
    let arns = ana.ecs("ListTasks", question).await.json()["taskArns"].take();
    assert_eq!(arns, json!([format!("arn:aws:ecs:eu-west-1:111122223333:task/tools/{TASK}")]));
    let described = ana.ecs("DescribeTasks", json!({ "cluster": "tools", "tasks": arns })).await.json();
    let container = &described["tasks"][0]["containers"][1];
    assert_eq!(container["managedAgents"][0]["lastStatus"], "RUNNING");
    let target = format!("ecs:tools_{TASK}_{}", container["runtimeId"].as_str().expect("an id"));
    assert_eq!(start(&ana, &target, REMOTE_HOST).await.status, 200);
    let log_router = described["tasks"][0]["containers"][0]["runtimeId"].as_str().expect("an id");
    let without_agent = start(&ana, &format!("ecs:tools_{TASK}_{log_router}"), REMOTE_HOST).await;
    assert_eq!(without_agent.error().0, "TargetNotConnected");
    sandbox.set_task(TASK, "RUNNING", "STOPPED");
    assert_eq!(start(&ana, &target, REMOTE_HOST).await.error().0, "TargetNotConnected");
}

#[tokio::test]
async fn tasks_are_iams_business_too() {
    let sandbox = account().await;
    let (ana, ben) = (Client::new(&sandbox, "ana", "JitRds"), Client::new(&sandbox, "ben", "JitRdsApprover"));
    let everything = json!({ "cluster": "tools" });
    assert_eq!(ben.ecs("ListTasks", everything).await.error().0, "AccessDeniedException");
    let elsewhere = start(&ana, "ecs:vault_0a_0b", REMOTE_HOST).await.error();
    assert_eq!(elsewhere.0, "AccessDeniedException");
    assert!(elsewhere.1.contains("arn:aws:ecs:eu-west-1:111122223333:task/vault/0a"), "{}", elsewhere.1);
    let nowhere = json!({ "cluster": "nowhere" });
    assert_eq!(ana.ecs("ListTasks", nowhere).await.error().0, "ClusterNotFoundException");
}
