//! How a database client gets what it needs without a secret in an argument, a variable or a URL: files in a folder that only
//! this user can enter, which exist only while the Gateway is open. libpq reads the DbAuthToken from `pgpass` itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use model::{ConnectionStrings, Target};
use secrets::Secret;

use crate::state_file::replace;

const FOLDER: &str = "gateways";

/// The files of one open Gateway. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Handoff {
    folder: PathBuf,
    target: Target,
    database_user: String,
    port: u16,
}

/// Removes what a crashed agent left.
pub(crate) fn sweep(runtime_dir: &Path) {
    if let Err(error) = fs::remove_dir_all(runtime_dir.join(FOLDER))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "old handoff files stay");
    }
}

impl Handoff {
    /// Writes everything but the token.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn create(
        runtime_dir: &Path,
        target: &Target,
        database_user: &str,
        port: u16,
        ca_pem: &[u8],
    ) -> io::Result<Self> {
        let folder = runtime_dir.join(FOLDER).join(target.id.as_str());
        fs::create_dir_all(&folder)?;
        let handoff = Self { folder, target: target.clone(), database_user: database_user.to_owned(), port };
        replace(&handoff.path("ca.pem"), ca_pem)?;
        replace(&handoff.path("pg_service.conf"), handoff.service_entry().as_bytes())?;
        Ok(handoff)
    }

    /// Writes the token that the next logins use.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn write_token(&self, token: &Secret<String>) -> io::Result<()> {
        let fields = [&self.target.endpoint.host, &self.port.to_string(), "*", &self.database_user, token.expose()];
        let line = Secret::new(fields.map(|field| if field == "*" { "*".to_owned() } else { escape(field) }).join(":"));
        replace(&self.path("pgpass"), line.expose().as_bytes())
    }

    /// What people use to connect.
    pub(crate) fn connection(&self) -> ConnectionStrings {
        let service_file = self.path("pg_service.conf").display().to_string();
        let service = self.target.id.to_string();
        let psql = format!("PGSERVICEFILE={} psql service={service}", shell_quoted(&service_file));
        ConnectionStrings { port: self.port, url: self.url(), psql, service_file, service }
    }

    fn url(&self) -> String {
        let mut url = url::Url::parse("postgresql://localhost").expect("a constant that is a URL");
        let parts = [
            url.set_host(Some(&self.target.endpoint.host)).is_ok(),
            url.set_port(Some(self.port)).is_ok(),
            url.set_username(&self.database_user).is_ok(),
        ];
        debug_assert!(parts.iter().all(|set| *set), "a postgresql URL takes a host, a port and a user");
        url.set_path(&self.target.database);
        url.query_pairs_mut()
            .append_pair("hostaddr", "127.0.0.1")
            .append_pair("sslmode", "verify-full")
            .append_pair("sslrootcert", &self.path("ca.pem").display().to_string())
            .append_pair("passfile", &self.path("pgpass").display().to_string());
        // libpq decodes %XX but not the plus sign that forms use for a space.
        url.as_str().replace('+', "%20")
    }

    fn service_entry(&self) -> String {
        let Target { id, endpoint, database, .. } = &self.target;
        format!(
            "[{id}]\nhost={}\nhostaddr=127.0.0.1\nport={}\ndbname={database}\nuser={}\nsslmode=verify-full\nsslrootcert={}\npassfile={}\n\
             connect_timeout=30\n",
            endpoint.host,
            self.port,
            self.database_user,
            self.path("ca.pem").display(),
            self.path("pgpass").display(),
        )
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, "handoff files stay");
        }
    }
}

/// As pgpass wants it: a colon ends a field unless a backslash stands before it.
fn escape(field: &str) -> String {
    field.replace('\\', "\\\\").replace(':', "\\:")
}

fn shell_quoted(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let json = serde_json::json!({
            "id": "orders-prod", "engine": "postgres", "endpoint": {"host": "orders.example", "port": 5432}, "region": "eu-west-1",
            "account": "111122223333", "database": "shop", "rdsIdentifier": "orders-prod", "environment": "production",
            "bastion": {"instance": "i-1"}, "localPort": null,
        });
        serde_json::from_value(json).expect("a valid target")
    }

    #[test]
    fn the_token_is_in_the_passfile_and_nowhere_else() {
        let runtime_dir = tempfile::tempdir().expect("a temporary folder");
        let handoff =
            Handoff::create(runtime_dir.path(), &target(), "app ro", 15_432, b"pem").expect("the folder is writable");
        handoff
            .write_token(&Secret::new("db:5432/?Action=connect&X=CANARY".to_owned()))
            .expect("the folder is writable");
        let passfile = runtime_dir.path().join("gateways/orders-prod/pgpass");
        let line = fs::read_to_string(&passfile).expect("it was written");
        assert_eq!(line, "orders.example:15432:*:app ro:db\\:5432/?Action=connect&X=CANARY");
        let strings = format!("{:?}", handoff.connection());
        assert!(!strings.contains("CANARY"), "{strings}");
        assert!(strings.contains("postgresql://app%20ro@orders.example:15432/shop?hostaddr=127.0.0.1"), "{strings}");
        drop(handoff);
        assert!(!passfile.exists(), "a closed gateway leaves no token behind");
    }
}
