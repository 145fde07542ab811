//! What a Tunnel goes through, and the session document that opens it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Endpoint;

/// The SSM-managed machine or task a Tunnel goes through. It is only ever asked to forward, never repaired, restarted or ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum Bastion {
    /// None: the network this computer is in reaches the database, as a VPN lets it.
    Direct {
        /// Where to dial when it is not the endpoint itself; the certificate and the DbAuthToken stay the endpoint's.
        at: Option<Endpoint>,
    },
    /// A container of a task with ECS Exec.
    Ecs {
        /// The cluster's short name.
        cluster: String,
        /// Which of its tasks.
        tasks: EcsTasks,
        /// Which of a task's containers; none: the only one, or the first in which the SSM agent runs.
        container: Option<String>,
    },
    /// One managed node: `i-…` or `mi-…`.
    Instance(String),
    /// Whichever managed node with this tag is online.
    Tag {
        /// Tag key.
        key: String,
        /// Tag value.
        value: String,
    },
}

/// The tasks of a cluster that may carry a Tunnel.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum EcsTasks {
    /// Those of a task definition family.
    Family(String),
    /// Those of a service.
    Service(String),
    /// One, by its id.
    Task(String),
}

/// The Session Manager document a Tunnel is started with.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum SessionDocument {
    /// One of the account's own, of session type Port.
    Custom {
        /// Its name, or its ARN when another account shares it.
        name: String,
        /// What it is given. In a value `{host}` and `{port}` stand for the database's endpoint.
        parameters: BTreeMap<String, String>,
    },
    /// [`SessionDocument::PLAIN_PORT`]: a port of the Bastion itself, where the database or a relay to it listens.
    PlainPort {
        /// Which port; none: the endpoint's.
        port: Option<u16>,
    },
    /// [`SessionDocument::REMOTE_HOST`]: the endpoint, as the Bastion resolves it.
    #[default]
    RemoteHost,
}

impl SessionDocument {
    /// Forwards to a port of the Bastion.
    pub const PLAIN_PORT: &str = "AWS-StartPortForwardingSession";
    /// Forwards to a port of another host.
    pub const REMOTE_HOST: &str = "AWS-StartPortForwardingSessionToRemoteHost";

    /// What StartSession is asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Custom { name, .. } => name,
            Self::PlainPort { .. } => Self::PLAIN_PORT,
            Self::RemoteHost => Self::REMOTE_HOST,
        }
    }

    /// The parameters of a session that leads to `database`.
    #[must_use]
    pub fn parameters(&self, database: &Endpoint) -> BTreeMap<String, String> {
        // AWS's documents want a local port, which only AWS's own client plug-in reads.
        let local = ("localPortNumber".to_owned(), "0".to_owned());
        let port = |port: u16| ("portNumber".to_owned(), port.to_string());
        match self {
            Self::Custom { parameters, .. } => {
                let filled =
                    |value: &str| value.replace("{host}", &database.host).replace("{port}", &database.port.to_string());
                parameters.iter().map(|(name, value)| (name.clone(), filled(value))).collect()
            }
            Self::PlainPort { port: other } => [port(other.unwrap_or(database.port)), local].into(),
            Self::RemoteHost => [("host".to_owned(), database.host.clone()), port(database.port), local].into(),
        }
    }

    /// Whether the SSM agent connects to another host, as far as the document's parameters tell.
    #[must_use]
    pub fn leads_to_another_host(&self) -> bool {
        match self {
            Self::Custom { parameters, .. } => parameters.values().any(|value| value.contains("{host}")),
            Self::PlainPort { .. } => false,
            Self::RemoteHost => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(document: &SessionDocument) -> Vec<(String, String)> {
        let orders = Endpoint { host: "orders.rds.amazonaws.com".to_owned(), port: 5432 };
        document.parameters(&orders).into_iter().collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_document_gets_the_parameters_it_defines() {
        let remote = pairs(&[("host", "orders.rds.amazonaws.com"), ("localPortNumber", "0"), ("portNumber", "5432")]);
        assert_eq!(given(&SessionDocument::RemoteHost), remote);
        let plain = |port| given(&SessionDocument::PlainPort { port });
        assert_eq!(plain(None), pairs(&[("localPortNumber", "0"), ("portNumber", "5432")]));
        assert_eq!(plain(Some(15_432)), pairs(&[("localPortNumber", "0"), ("portNumber", "15432")]));
    }

    #[test]
    fn a_custom_document_gets_what_the_catalog_says_and_the_endpoint_where_it_is_asked_for() {
        let parameters = pairs(&[("team", "payments"), ("to", "{host}:{port}")]).into_iter().collect();
        let custom = SessionDocument::Custom { name: "Acme-Tunnel".to_owned(), parameters };
        assert_eq!(custom.name(), "Acme-Tunnel");
        assert_eq!(given(&custom), pairs(&[("team", "payments"), ("to", "orders.rds.amazonaws.com:5432")]));
        assert!(custom.leads_to_another_host());
        let pinned = SessionDocument::Custom { name: "Acme-Tunnel".to_owned(), parameters: BTreeMap::new() };
        assert!(!pinned.leads_to_another_host(), "what the document itself pins is not known here");
    }
}
