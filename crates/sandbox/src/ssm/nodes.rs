//! DescribeInstanceInformation: the machines that Systems Manager knows.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::Node;
use crate::automation::epoch_seconds;
use crate::cloud::Cloud;
use crate::wire::{ApiError, Protocol};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Describe {
    #[serde(default)]
    filters: Vec<Filter>,
    #[serde(default)]
    instance_information_filter_list: Vec<OldFilter>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    values: Vec<String>,
}

/// The same in the first spelling.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldFilter {
    key: String,
    value_set: Vec<String>,
}

pub(super) fn describe(cloud: &Cloud, input: &Describe) -> Result<Value, ApiError> {
    let most = input.max_results.unwrap_or(10);
    if !(5..=50).contains(&most) {
        let text = format!(
            "1 validation error detected: Value '{most}' at 'maxResults' failed to satisfy constraint: Member must have \
             value between 5 and 50"
        );
        return Err(ApiError::validation(Protocol::Json, text));
    }
    let filters = input.filters.iter().map(|filter| (filter.key.as_str(), filter.values.as_slice()));
    let old = input.instance_information_filter_list.iter();
    let filters: Vec<_> = filters.chain(old.map(|filter| (filter.key.as_str(), filter.value_set.as_slice()))).collect();
    let mut listed = Vec::new();
    for node in &cloud.account.nodes {
        let mut passes = true;
        for (key, values) in &filters {
            passes &= node_passes(cloud, node, key, values)?;
        }
        if passes {
            listed.push(node);
        }
    }
    let skipped = match input.next_token.as_deref() {
        None => 0,
        Some(token) => listed
            .iter()
            .position(|node| node.id == token)
            .ok_or_else(|| ApiError::new("InvalidNextToken", "The specified token is not valid."))?,
    };
    let page: Vec<Value> = listed.iter().skip(skipped).take(most).map(|node| shown(cloud, node)).collect();
    let mut answer = json!({ "InstanceInformationList": page });
    if let Some(next) = listed.get(skipped + most) {
        answer["NextToken"] = next.id.into();
    }
    Ok(answer)
}

fn node_passes(cloud: &Cloud, node: &Node, key: &str, values: &[String]) -> Result<bool, ApiError> {
    let any = |given: &str| values.iter().any(|value| value == given);
    let passes = match key.strip_prefix("tag:") {
        Some(tag) => node.tags.iter().any(|(key, value)| *key == tag && any(value)),
        None => match key {
            "AgentVersion" => any(&agent_version(cloud, node)),
            "InstanceIds" => any(node.id),
            "PingStatus" => any(ping_status(cloud, node)),
            "PlatformTypes" => any("Linux"),
            "ResourceType" => any("EC2Instance"),
            "tag-key" => node.tags.iter().any(|(key, _)| any(key)),
            other => {
                let text = format!("The filter key {other} is not valid.");
                return Err(ApiError::new("InvalidFilterKey", text));
            }
        },
    };
    Ok(passes)
}

fn ping_status(cloud: &Cloud, node: &Node) -> &'static str {
    if cloud.sessions.fleet.is_online(node.id) { "Online" } else { "ConnectionLost" }
}

fn agent_version(cloud: &Cloud, node: &Node) -> String {
    cloud.sessions.fleet.agent_version(node.id).unwrap_or_default()
}

fn shown(cloud: &Cloud, node: &Node) -> Value {
    let now = cloud.clock.now();
    let pinged = if cloud.sessions.fleet.is_online(node.id) { now } else { long_before(now) };
    json!({
        "InstanceId": node.id,
        "PingStatus": ping_status(cloud, node),
        "LastPingDateTime": epoch_seconds(pinged),
        "AgentVersion": agent_version(cloud, node),
        "IsLatestVersion": false,
        "PlatformType": "Linux",
        "PlatformName": "Amazon Linux",
        "PlatformVersion": "2023",
        "ResourceType": "EC2Instance",
        "IPAddress": node.address,
        "ComputerName": node.name,
        "SourceId": node.id,
        "SourceType": "AWS::EC2::Instance",
    })
}

fn long_before(now: Timestamp) -> Timestamp {
    now.saturating_sub(SignedDuration::from_hours(72)).unwrap_or(now)
}
