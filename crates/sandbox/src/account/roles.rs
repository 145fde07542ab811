//! The roles and their policies, as an administrator would deploy them.

use serde_json::{Value, json};

use super::{APPROVERS, AUTOMATION, Account, CLIENT_ID, DEVELOPERS, READERS, RUNBOOK};
use crate::ssm::OWN_DOCUMENT;

/// A role to be made.
pub(crate) struct RolePlan {
    pub(crate) name: &'static str,
    pub(crate) trust: Value,
    pub(crate) policy: Value,
    pub(crate) max_session_seconds: i64,
}

impl Account {
    /// Every role; people are trusted through the identity provider at `issuer_host` (`127.0.0.1:PORT`).
    pub(crate) fn roles(&self, issuer_host: &str) -> Vec<RolePlan> {
        let plan = |name, trust, policy, max_session_seconds| RolePlan { name, trust, policy, max_session_seconds };
        vec![
            plan(DEVELOPERS, self.people_trust(issuer_host, DEVELOPERS), self.developer_policy(), 4 * 3600),
            plan(APPROVERS, self.people_trust(issuer_host, APPROVERS), self.approver_policy(), 4 * 3600),
            plan(AUTOMATION, service_trust(), self.automation_policy(), 3600),
            plan(READERS, self.chained_trust(), reading(), 3600),
        ]
    }

    /// One statement for each person, so that the session name is proof of who it is.
    fn people_trust(&self, issuer_host: &str, role: &str) -> Value {
        let provider = format!("arn:aws:iam::{}:oidc-provider/{issuer_host}", self.id);
        let statement = |person: &super::Person| {
            json!({
                "Effect": "Allow",
                "Principal": { "Federated": provider },
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": { "StringEquals": {
                    (format!("{issuer_host}:aud")): CLIENT_ID,
                    (format!("{issuer_host}:sub")): person.subject,
                    "sts:RoleSessionName": person.email,
                } },
            })
        };
        let statements: Vec<Value> =
            self.people.iter().filter(|person| person.roles.contains(&role)).map(statement).collect();
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    fn chained_trust(&self) -> Value {
        json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": self.role_arn(DEVELOPERS) },
            "Action": "sts:AssumeRole",
        }] })
    }

    fn developer_policy(&self) -> Value {
        let (id, region) = (&self.id, &self.region);
        let standing: Vec<String> = self
            .databases
            .iter()
            .flat_map(|database| database.entitlements.iter().map(move |offer| (database, offer)))
            .filter(|(_, offer)| offer.on_request.is_none())
            .map(|(database, offer)| self.db_user_arn(database.resource_id, offer.user))
            .collect();
        let nodes = self.nodes.iter().map(|node| format!("arn:aws:ec2:{region}:{id}:instance/{}", node.id));
        let clusters = self.ecs_tasks.iter().map(|task| format!("arn:aws:ecs:{region}:{id}:task/{}/*", task.cluster));
        let bastions: Vec<String> = nodes.chain(clusters).collect();
        json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "Tunnel", "Effect": "Allow", "Action": "ssm:StartSession", "Resource": bastions,
              "Condition": { "BoolIfExists": { "ssm:SessionDocumentAccessCheck": "true" } } },
            { "Sid": "TunnelDocuments", "Effect": "Allow", "Action": "ssm:StartSession", "Resource": [
                format!("arn:aws:ssm:{region}::document/AWS-StartPortForwardingSession"),
                format!("arn:aws:ssm:{region}::document/AWS-StartPortForwardingSessionToRemoteHost"),
                format!("arn:aws:ssm:{region}:{id}:document/{OWN_DOCUMENT}"),
            ] },
            { "Sid": "OwnTunnels", "Effect": "Allow", "Action": ["ssm:TerminateSession", "ssm:ResumeSession"],
              "Resource": format!("arn:aws:ssm:{region}:{id}:session/*"),
              "Condition": { "StringLike": { "ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}" } } },
            { "Sid": "Ask", "Effect": "Allow", "Action": "ssm:StartAutomationExecution", "Resource": [
                format!("arn:aws:ssm:{region}:{id}:document/{RUNBOOK}"),
                format!("arn:aws:ssm:{region}:{id}:automation-execution/*"),
            ] },
            { "Sid": "Withdraw", "Effect": "Allow", "Action": "ssm:StopAutomationExecution",
              "Resource": format!("arn:aws:ssm:{region}:{id}:automation-execution/*") },
            { "Sid": "Look", "Effect": "Allow", "Resource": "*", "Action": [
                "ssm:GetAutomationExecution", "ssm:DescribeAutomation*", "ssm:DescribeInstanceInformation",
                "ssm:DescribeSessions", "ssm:GetConnectionStatus", "ecs:ListTasks", "ecs:DescribeTasks", "rds:Describe*",
            ] },
            { "Sid": "Passwords", "Effect": "Allow",
              "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
              "Resource": [format!("{}*", self.secret_arn("daypass/")), format!("{}*", self.secret_arn("rds!"))] },
            { "Sid": "Secrets", "Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*" },
            { "Sid": "Chain", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": self.role_arn(READERS) },
            { "Sid": "StandingAccess", "Effect": "Allow", "Action": "rds-db:connect", "Resource": standing },
        ] })
    }

    fn approver_policy(&self) -> Value {
        let executions = format!("arn:aws:ssm:{}:{}:automation-execution/*", self.region, self.id);
        json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "Answer", "Effect": "Allow", "Action": "ssm:SendAutomationSignal", "Resource": executions },
            { "Sid": "Look", "Effect": "Allow", "Resource": "*",
              "Action": ["ssm:GetAutomationExecution", "ssm:DescribeAutomation*"] },
        ] })
    }

    fn automation_policy(&self) -> Value {
        json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Action": ["iam:PutRolePolicy", "iam:DeleteRolePolicy"],
            "Resource": self.role_arn(DEVELOPERS),
        }] })
    }
}

fn service_trust() -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "ssm.amazonaws.com" }, "Action": "sts:AssumeRole",
    }] })
}

fn reading() -> Value {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "rds:Describe*", "Resource": "*" },
    ] })
}
