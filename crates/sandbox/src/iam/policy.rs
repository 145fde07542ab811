//! Policy documents and their evaluation: an explicit Deny beats an Allow, an Allow beats nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::{self, Operator};

/// What somebody wants to do, with everything conditions may look at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// `ssm:StartSession`.
    pub action: String,
    /// The ARN it is done to; `*` for actions without one.
    pub resource: String,
    /// Condition keys in lower case.
    keys: BTreeMap<String, String>,
    /// For trust policies: the ARN of the federated provider, role or service that asks.
    principal: Option<String>,
}

impl Ask {
    /// An ask without condition keys.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), keys: BTreeMap::new(), principal: None }
    }

    /// Adds a condition key.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.keys.insert(key.to_lowercase(), value.to_owned());
        self
    }

    /// Says who asks, where a policy names principals.
    #[must_use]
    pub fn by(mut self, principal: impl Into<String>) -> Self {
        self.principal = Some(principal.into());
        self
    }

    pub(super) fn key(&self, name: &str) -> Option<&str> {
        self.keys.get(&name.to_lowercase()).map(String::as_str)
    }

    /// `${aws:userid}` and its like replaced; a variable without a value matches nothing.
    pub(super) fn substituted(&self, pattern: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}')?;
            out.push_str(before);
            match name {
                "*" | "?" | "$" => out.push_str(name),
                _ => out.push_str(self.key(name)?),
            }
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }
}

/// What the policies say to an [`Ask`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// A statement allows it and none denies it.
    Allowed,
    /// A statement denies it.
    ExplicitlyDenied,
    /// No statement allows it.
    NotAllowed,
}

/// A policy in AWS's JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PolicyDocument {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    statement: Vec<Statement>,
}

/// A document that is not a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyFlaw {
    /// A condition this evaluator does not know must not be passed over.
    #[error(
        "MalformedPolicyDocument: the condition operator `{operator}` is not known; use one of the operators of IAM"
    )]
    UnknownOperator {
        /// As written.
        operator: String,
    },
    /// Not the JSON of a policy.
    #[error("MalformedPolicyDocument: {0}")]
    Unreadable(String),
}

impl PolicyDocument {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyFlaw`] names what cannot be understood.
    pub fn from_json(json: &Value) -> Result<Self, PolicyFlaw> {
        let document: Self =
            serde_json::from_value(json.clone()).map_err(|error| PolicyFlaw::Unreadable(error.to_string()))?;
        for operator in document.statement.iter().flat_map(|statement| statement.condition.keys()) {
            if Operator::parse(operator).is_none() {
                return Err(PolicyFlaw::UnknownOperator { operator: operator.clone() });
            }
        }
        Ok(document)
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<BTreeMap<String, OneOrMany>>,
    action: OneOrMany,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<OneOrMany>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<String, BTreeMap<String, OneOrMany>>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Effect {
    Allow,
    Deny,
}

/// AWS writes a list of one as the one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        }
        .iter()
        .map(String::as_str)
    }
}

/// Decides `ask` by `policies`, which are in force together.
#[must_use]
pub fn evaluate(policies: &[PolicyDocument], ask: &Ask) -> Decision {
    let mut decision = Decision::NotAllowed;
    for statement in policies.iter().flat_map(|policy| &policy.statement).filter(|statement| statement.covers(ask)) {
        match statement.effect {
            Effect::Allow => decision = Decision::Allowed,
            Effect::Deny => return Decision::ExplicitlyDenied,
        }
    }
    decision
}

impl Statement {
    fn covers(&self, ask: &Ask) -> bool {
        let action = ask.action.to_lowercase();
        self.action.iter().any(|pattern| matches(&pattern.to_lowercase(), &action))
            && self.covers_resource(ask)
            && self.covers_principal(ask)
            && self
                .condition
                .iter()
                .all(|(operator, tests)| tests.iter().all(|(key, values)| condition::holds(operator, key, values, ask)))
    }

    /// Trust policies name no resource: they hang on one.
    fn covers_resource(&self, ask: &Ask) -> bool {
        self.resource.as_ref().is_none_or(|patterns| {
            patterns
                .iter()
                .filter_map(|pattern| ask.substituted(pattern))
                .any(|pattern| matches(&pattern, &ask.resource))
        })
    }

    fn covers_principal(&self, ask: &Ask) -> bool {
        match (&self.principal, &ask.principal) {
            (None, None) => true,
            (Some(named), Some(asking)) => named.values().flat_map(OneOrMany::iter).any(|name| name == asking),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text and `?` for any one character.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                last_star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => match &mut last_star {
                Some((star, taken)) => {
                    *taken += 1;
                    (p, t) = (*star + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_match_as_in_iam() {
        let cases = [
            ("*", "", true),
            ("ssm:*", "ssm:StartSession", true),
            ("ssm:Start?ession", "ssm:StartSession", true),
            ("ssm:Start", "ssm:StartSession", false),
            ("*:ana@acme.dev", "AROAX:ana@acme.dev", true),
            ("*:ana@acme.dev", "AROAX:ana@acme.dev.evil", false),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "a--c--b", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} against {text}");
        }
    }
}
