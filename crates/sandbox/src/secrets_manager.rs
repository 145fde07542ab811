//! Secrets Manager: reading secrets, and rotating them step by step in the real databases.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::iam::Ask;
use crate::sigv4::Caller;
use crate::wire::{Answer, ApiError, Protocol};

mod rotation;
mod store;

pub(crate) use rotation::rotate;
pub use rotation::{RotationFlaw, RotationStep};
pub use store::SecretFault;
pub(crate) use store::{Content, Doors, Secrets, StoredSecret, Version};

pub(crate) fn answer(cloud: &Cloud, operation: &str, input: &Value, caller: &Caller) -> Result<Answer, ApiError> {
    let answer = match operation {
        "GetSecretValue" => value(cloud, &parsed(input)?, caller)?,
        "DescribeSecret" => {
            let asked: Asked = parsed(input)?;
            described(&found(cloud, &asked, caller, operation)?)
        }
        "ListSecrets" => list(cloud, &parsed(input)?, caller)?,
        _ => return Err(ApiError::new("UnknownOperationException", format!("{operation} is not served here"))),
    };
    Ok(Answer::Json(answer))
}

/// Makes `content` the AWSCURRENT value of the secret `name`, which is made when there is none.
pub(crate) fn put(cloud: &Cloud, name: &str, content: Content) {
    let seed = &cloud.seeds.secrets;
    let mut secret = cloud.secrets.find(name).unwrap_or_else(|| StoredSecret {
        arn: cloud.secret_arn(name) + "-" + &seed.lower_case("", 6),
        name: name.to_owned(),
        plan: None,
        versions: Vec::new(),
        fault: None,
    });
    let id = seed.uuid();
    secret.versions.push(Version { id: id.clone(), content, stages: BTreeSet::new(), created: cloud.clock.now() });
    if let Some(old) = secret.at("AWSCURRENT").map(|version| version.id.clone()) {
        secret.move_stage("AWSPREVIOUS", &old);
    }
    secret.move_stage("AWSCURRENT", &id);
    cloud.secrets.keep(secret);
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

fn parsed<'a, T: Deserialize<'a>>(input: &'a Value) -> Result<T, ApiError> {
    T::deserialize(input).map_err(|error| ApiError::validation(Protocol::Json, error.to_string()))
}

/// The secret, if `caller` may do this to it. A caller who may not learns nothing about what there is.
fn found(cloud: &Cloud, asked: &Asked, caller: &Caller, operation: &str) -> Result<StoredSecret, ApiError> {
    if !(1..=2_048).contains(&asked.secret_id.len()) {
        return Err(ApiError::new("InvalidParameterException", "Invalid name. Must be a valid name or ARN."));
    }
    let secret = cloud.secrets.find(&asked.secret_id);
    let arn = secret.as_ref().map_or_else(|| unknown_arn(cloud, &asked.secret_id), |secret| secret.arn.clone());
    cloud.authorize(Protocol::Json, caller, &Ask::new(format!("secretsmanager:{operation}"), arn))?;
    secret.ok_or_else(|| absent("Secrets Manager can't find the specified secret."))
}

fn unknown_arn(cloud: &Cloud, id: &str) -> String {
    if id.starts_with("arn:") { id.to_owned() } else { cloud.secret_arn(id) }
}

fn absent(text: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", text)
}

fn value(cloud: &Cloud, asked: &Asked, caller: &Caller) -> Result<Value, ApiError> {
    let secret = found(cloud, asked, caller, "GetSecretValue")?;
    if let Some(fault) = secret.fault {
        return Err(fault.refusal());
    }
    let version = chosen(&secret, asked)?;
    let mut answer = json!({
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": version.id,
        "VersionStages": version.stages,
        "CreatedDate": version.created.as_second(),
    });
    match &version.content {
        Content::Binary(bytes) => answer["SecretBinary"] = STANDARD.encode(bytes).into(),
        Content::Text(text) => answer["SecretString"] = text.as_str().into(),
    }
    Ok(answer)
}

fn chosen<'a>(secret: &'a StoredSecret, asked: &Asked) -> Result<&'a Version, ApiError> {
    let Some(id) = &asked.version_id else {
        let stage = asked.version_stage.as_deref().unwrap_or("AWSCURRENT");
        return secret.at(stage).ok_or_else(|| {
            absent(format!("Secrets Manager can't find the specified secret value for staging label: {stage}"))
        });
    };
    let version = secret.versions.iter().find(|version| &version.id == id);
    let version = version
        .ok_or_else(|| absent(format!("Secrets Manager can't find the specified secret value for VersionId: {id}")))?;
    if asked.version_stage.as_ref().is_some_and(|stage| !version.stages.contains(stage)) {
        let text = "You provided a VersionStage that is not associated to the provided VersionId.";
        return Err(ApiError::new("InvalidRequestException", text));
    }
    Ok(version)
}

fn described(secret: &StoredSecret) -> Value {
    let stages = secret.versions.iter().map(|version| (version.id.clone(), json!(version.stages)));
    let changed = secret.versions.iter().map(|version| version.created.as_second()).max();
    let mut shown = json!({
        "ARN": secret.arn,
        "Name": secret.name,
        "RotationEnabled": true,
        "RotationRules": { "AutomaticallyAfterDays": 7 },
        "LastChangedDate": changed,
        "VersionIdsToStages": stages.collect::<serde_json::Map<_, _>>(),
    });
    if secret.name.starts_with("rds!") {
        shown["OwningService"] = "rds".into();
    }
    shown
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    max_results: Option<usize>,
    next_token: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    values: Vec<String>,
}

fn list(cloud: &Cloud, asked: &List, caller: &Caller) -> Result<Value, ApiError> {
    cloud.authorize(Protocol::Json, caller, &Ask::new("secretsmanager:ListSecrets", "*"))?;
    let most = asked.max_results.unwrap_or(100);
    if !(1..=100).contains(&most) {
        return Err(ApiError::new("InvalidParameterException", "MaxResults must be between 1 and 100."));
    }
    let known = |filter: &Filter| matches!(filter.key.as_str(), "all" | "name");
    if let Some(filter) = asked.filters.iter().find(|filter| !known(filter)) {
        return Err(ApiError::new("InvalidParameterException", format!("{} is not a filter here.", filter.key)));
    }
    let passes = |secret: &StoredSecret| {
        asked.filters.iter().all(|filter| filter.values.iter().any(|value| secret.name.starts_with(value.as_str())))
    };
    let after = |secret: &StoredSecret| asked.next_token.as_ref().is_none_or(|last| &secret.name > last);
    let mut secrets = cloud.secrets.all();
    secrets.retain(|secret| passes(secret) && after(secret));
    let more = secrets.len() > most;
    secrets.truncate(most);
    let shown: Vec<Value> = secrets.iter().map(listed).collect();
    let mut answer = json!({ "SecretList": shown });
    if let (true, Some(last)) = (more, secrets.last()) {
        answer["NextToken"] = last.name.as_str().into();
    }
    Ok(answer)
}

fn listed(secret: &StoredSecret) -> Value {
    let mut shown = described(secret);
    if let Some(stages) = shown.as_object_mut().and_then(|shown| shown.remove("VersionIdsToStages")) {
        shown["SecretVersionsToStages"] = stages;
    }
    shown
}
