//! Identifiers that cannot be mixed up and cannot be malformed.

use serde::{Deserialize, Serialize};

/// A text that is not the identifier it was given as.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{input}` is not a {what}: {rule}")]
pub struct InvalidId {
    /// What was given.
    pub input: String,
    /// Which identifier it should have been.
    pub what: &'static str,
    /// What such an identifier looks like.
    pub rule: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[cfg_attr(feature = "bindings", derive(specta::Type))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(#[cfg_attr(feature = "bindings", specta(type = String))] String);

        impl $name {
            /// Parses the identifier.
            ///
            /// # Errors
            /// [`InvalidId`] names the input and the rule it breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidId { input: text, what: $what, rule: $rule }) }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names a [`crate::Target`] for people: `orders-prod`.
    TargetId, "database name", "1 to 63 lower-case letters, digits and hyphens, starting with a letter", is_slug
);
id!(
    /// Names an identity provider of the catalog: `acme`.
    IdentityProviderId, "identity provider name", "1 to 63 lower-case letters, digits and hyphens, starting with a letter", is_slug
);
id!(
    /// One ask for access. It is made by the agent before the broker hears of it and doubles as the broker's idempotency
    /// token, so it is a UUID (36 characters, as StartAutomationExecution's ClientToken wants).
    RequestId, "request id", "36 hexadecimal digits and hyphens, as a UUID", is_uuid
);
id!(
    /// An AWS account.
    AccountId, "AWS account", "exactly 12 digits", |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);
id!(
    /// An AWS Region: `eu-west-1`.
    Region, "AWS Region", "lower-case words joined by hyphens and a number at the end, like `eu-west-1`", is_region
);

id!(
    /// A Session Manager session as AWS names it: the role session's name, a hyphen and random letters. It is at most 96
    /// characters long (API reference of TerminateSession).
    SessionId, "SSM session id", "1 to 96 letters, digits and any of `_=,.@+-`", is_session_id
);

fn is_slug(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_session_id(text: &str) -> bool {
    (1..=96).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_=,.@+-".contains(&b))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn is_region(text: &str) -> bool {
    let mut parts: Vec<&str> = text.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    parts.len() >= 2
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_breaks_its_rule_is_refused_by_name() {
        let refusals = [
            TargetId::new("Orders").expect_err("capitals are refused").to_string(),
            AccountId::new("1234").expect_err("12 digits are needed").to_string(),
            Region::new("ireland").expect_err("a city is no Region").to_string(),
            RequestId::new("42").expect_err("a number is no UUID").to_string(),
            SessionId::new("--session-id x").expect_err("a space ends a word").to_string(),
        ];
        for (refusal, input) in refusals.iter().zip(["`Orders`", "`1234`", "`ireland`", "`42`", "`--session-id x`"]) {
            assert!(refusal.starts_with(input), "{refusal} must name its input {input}");
        }
    }

    #[test]
    fn every_real_region_shape_is_accepted() {
        for region in ["eu-west-1", "us-gov-west-1", "cn-northwest-1", "ap-southeast-5"] {
            Region::new(region).expect("a Region that exists");
        }
    }
}
