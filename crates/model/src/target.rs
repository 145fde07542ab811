//! Where a database is and how it is reached.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Bastion, Region, SessionDocument, TargetId};

/// A database that can be reached.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// What people call it.
    pub id: TargetId,
    /// Which protocol it speaks.
    pub engine: Engine,
    /// Its real address inside the private network; the name its certificate carries and its DbAuthToken is signed for.
    pub endpoint: Endpoint,
    /// Where it runs; also the Region its DbAuthToken is signed for.
    pub region: Region,
    /// Which account owns it. It is compared with the caller's own before a listener opens.
    pub account: AccountId,
    /// The database opened after login.
    pub database: String,
    /// RDS's own name for it: DBInstanceIdentifier, or DBClusterIdentifier for Aurora.
    pub rds_identifier: String,
    /// What it is used for; production is marked and guarded.
    pub environment: Environment,
    /// What its Tunnel goes through.
    pub bastion: Bastion,
    /// The Session Manager document that Tunnel is started with.
    #[serde(default)]
    pub document: SessionDocument,
    /// The port of its Gateway that the whole team agreed on; none: chosen once and remembered.
    pub local_port: Option<u16>,
}

/// Host and port.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
pub struct Endpoint {
    /// Fully qualified name.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The protocol a database speaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// RDS for MariaDB.
    Mariadb,
    /// RDS for MySQL and Aurora MySQL.
    Mysql,
    /// RDS for PostgreSQL and Aurora PostgreSQL.
    Postgres,
}

/// What a database is used for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    /// One developer's own.
    #[default]
    Development,
    /// Customers' data.
    Production,
    /// Rehearsal.
    Staging,
}
