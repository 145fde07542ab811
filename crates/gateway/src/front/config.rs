//! What a Front is told when it opens.

use std::time::Duration;

use model::Engine;
use rustls_pki_types::CertificateDer;
use secrets::Secret;

/// What a Front serves, and whom it lets in.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// Which protocol is spoken, on both sides.
    pub engine: Engine,
    /// The Target's id: in errors, and as a user name that is always right.
    pub target: String,
    /// The database user clients name; the one that logs in to the Target may differ, see [`super::Credential::Secret`].
    pub database_user: String,
    /// The database for clients that name none.
    pub database: String,
    /// Whether connections begin read-only unless they ask for something else.
    pub read_only: bool,
    /// The Target's real endpoint, which its certificate must name, without the port.
    pub server_name: String,
    /// Who may have signed it: the certificates of RDS.
    pub roots: Vec<CertificateDer<'static>>,
    /// What clients log in with at the port, until [`super::Front::change_password`].
    pub local_password: Secret<String>,
    /// Where MySQL and MariaDB differ.
    pub mysql: MysqlSettings,
    /// How long things may take.
    pub limits: FrontLimits,
}

/// What only matters at a MySQL or MariaDB Target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MysqlSettings {
    /// Whether packets are compressed on the way to the Target, where it can do that. `None` leaves it to the way: a tunnel
    /// is slow enough for it to pay, a direct connection is not.
    pub compression: Option<bool>,
    /// Whether the Target may ask a client for a file of this machine (`LOAD DATA LOCAL INFILE`). Off by default, since a
    /// server may ask for any file, whatever the statement named.
    pub local_files: bool,
}

/// How long things may take at a Front, and how many may happen at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontLimits {
    /// For a client, from connecting to the end of its local login.
    pub start_up: Duration,
    /// For everything between the local login and the one at the Target.
    pub waiting: Duration,
    /// For logins at the Target to be tried again quietly after a fresh grant.
    pub fresh_grant: Duration,
    /// Between such tries.
    pub between_tries: Duration,
    /// How long before the end of a Grant its connections are told.
    pub notice: Duration,
    /// How long before the end of a Grant connections that are in no transaction are ended.
    pub last_call: Duration,
    /// Clients that are connected and not logged in; more are closed at once.
    pub most_starting: usize,
}

impl Default for FrontLimits {
    fn default() -> Self {
        Self {
            start_up: Duration::from_secs(20),
            waiting: Duration::from_secs(60),
            fresh_grant: Duration::from_secs(90),
            between_tries: Duration::from_secs(2),
            notice: Duration::from_secs(300),
            last_call: Duration::from_secs(5),
            most_starting: 256,
        }
    }
}

#[cfg(test)]
impl FrontConfig {
    /// Of a PostgreSQL that is nowhere.
    pub(crate) fn example() -> Self {
        Self {
            engine: Engine::Postgres,
            target: "orders".to_owned(),
            database_user: "app_ro".to_owned(),
            database: "shop".to_owned(),
            read_only: false,
            server_name: "orders.example".to_owned(),
            roots: Vec::new(),
            local_password: "local".into(),
            mysql: MysqlSettings::default(),
            limits: FrontLimits::default(),
        }
    }
}
