//! How a client connects, as a view sees it.

use serde::{Deserialize, Serialize};

/// How a client connects. None of it is secret: the local password is asked of the agent alone, when a person wants it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStrings {
    /// The Gateway's address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who clients log in as.
    pub user: String,
    /// The database opened after login.
    pub database: String,
    /// The Unix socket where programs of this user need no password; none where the system has no such thing.
    pub socket: Option<String>,
    /// Environment variables with which a child process finds the database by itself: names and values.
    pub environment: Vec<(String, String)>,
    /// The same in the words of each client, without the local password.
    pub texts: Vec<ConnectionText>,
}

impl ConnectionStrings {
    /// In the words of one client; none when the engine has no such client.
    #[must_use]
    pub fn text(&self, form: ConnectionForm) -> Option<&str> {
        self.texts.iter().find(|text| text.form == form).map(|text| text.text.as_str())
    }
}

/// A way to connect in the words of one client.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
pub struct ConnectionText {
    /// Whose words.
    pub form: ConnectionForm,
    /// The words.
    pub text: String,
}

/// Whose words a way to connect is in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionForm {
    /// A data source for DataGrip's "Import from clipboard".
    Datagrip,
    /// The argument of DBeaver's `-con`.
    Dbeaver,
    /// The lines of an `.env` file.
    Env,
    /// A URL for JDBC.
    Jdbc,
    /// A shell command with `mysql`, which MariaDB's client answers to as well.
    Mysql,
    /// An entry for `pg_service.conf`.
    PgService,
    /// A file for pgAdmin's "Import servers".
    Pgadmin,
    /// A shell command with `psql`.
    Psql,
    /// A URL that TablePlus opens.
    Tableplus,
    /// A URL as most programs and libraries take it.
    Url,
}
