//! Session documents: which parameters they define, and what they make of them.

use std::collections::BTreeMap;

use super::SHELL;
use crate::data_channel::PortProperties;
use crate::wire::ApiError;

/// A document of session type Port.
struct Document {
    name: &'static str,
    parameters: &'static [Parameter],
    /// The host it pins; none: the parameter `host`, or the machine itself.
    host: Option<&'static str>,
}

struct Parameter {
    name: &'static str,
    /// None: it must be given.
    default: Option<&'static str>,
    /// What its value may be; empty: anything.
    allowed: &'static [&'static str],
}

/// The document an administrator of this account wrote, so that IAM can pin where a session leads.
pub(crate) const OWN: &str = "Acme-BillingTunnel";

const PORT: Parameter = Parameter { name: "portNumber", default: Some("80"), allowed: &[] };
const LOCAL_PORT: Parameter = Parameter { name: "localPortNumber", default: Some("0"), allowed: &[] };

const DOCUMENTS: [Document; 3] = [
    // Forwards to a port of the machine itself.
    Document { name: "AWS-StartPortForwardingSession", parameters: &[PORT, LOCAL_PORT], host: None },
    // Forwards to a port of another host, seen from the machine.
    Document {
        name: "AWS-StartPortForwardingSessionToRemoteHost",
        parameters: &[Parameter { name: "host", default: None, allowed: &[] }, PORT, LOCAL_PORT],
        host: None,
    },
    Document {
        name: OWN,
        parameters: &[
            Parameter { name: "team", default: None, allowed: &["payments", "platform"] },
            Parameter { name: "portNumber", default: Some("5432"), allowed: &[] },
        ],
        host: Some("billing-staging.c9daypass0.eu-west-1.rds.amazonaws.com"),
    },
];

/// Whether it is this account's own; the others are AWS's.
pub(super) fn is_own(document: &str) -> bool {
    document == OWN || document == SHELL
}

/// Where a session of `document` with these parameters leads.
pub(super) fn properties(document: &str, given: &BTreeMap<String, Vec<String>>) -> Result<PortProperties, ApiError> {
    let unknown = || ApiError::new("InvalidDocument", format!("Document with name {document} does not exist."));
    let document = DOCUMENTS.iter().find(|known| known.name == document).ok_or_else(unknown)?;
    document.refuse_undefined(given)?;
    let host = match document.host {
        Some(pinned) => Some(pinned.to_owned()),
        None => document.value("host", given)?.map(str::to_owned),
    };
    document.value("team", given)?;
    let port = document.value("portNumber", given)?.unwrap_or_default();
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        let text = format!("Parameter \"portNumber\" has value \"{port}\" not matching pattern of a port number.");
        ApiError::new("InvalidParameters", text)
    })?;
    Ok(PortProperties { host, port })
}

impl Document {
    fn refuse_undefined(&self, given: &BTreeMap<String, Vec<String>>) -> Result<(), ApiError> {
        let defined = |name: &String| self.parameters.iter().any(|parameter| parameter.name == name);
        match given.keys().find(|name| !defined(name)) {
            Some(name) => {
                let text = format!("Parameters [{name}] are not defined in document {}.", self.name);
                Err(ApiError::new("InvalidParameters", text))
            }
            None => Ok(()),
        }
    }

    /// The value of a parameter as given or by default; none when the document does not define it.
    fn value<'a>(&self, name: &str, given: &'a BTreeMap<String, Vec<String>>) -> Result<Option<&'a str>, ApiError> {
        let Some(parameter) = self.parameters.iter().find(|parameter| parameter.name == name) else { return Ok(None) };
        let value = given.get(name).and_then(|values| values.first()).map(String::as_str);
        let value = value.filter(|value| !value.is_empty()).or(parameter.default);
        let value =
            value.ok_or_else(|| ApiError::new("InvalidParameters", format!("Missing required parameter: {name}.")))?;
        if parameter.allowed.is_empty() || parameter.allowed.contains(&value) {
            return Ok(Some(value));
        }
        let text = format!("Parameter \"{name}\" has value \"{value}\" not in allowed values {:?}.", parameter.allowed);
        Err(ApiError::new("InvalidParameters", text))
    }
}
