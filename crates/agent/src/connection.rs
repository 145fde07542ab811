//! How a database client is told to connect, in the words of each client. Without the local password unless it is asked for.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use model::{ConnectionForm, ConnectionStrings, ConnectionText, Engine, Environment, Target};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrets::Secret;

const HOST: &str = "127.0.0.1";
/// What RFC 3986 leaves unreserved stays as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// `sun_path` of the systems we run on, with its terminating zero.
const LONGEST_SOCKET_PATH: usize = 103;

/// What every form is written from.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) target: Target,
    /// Who clients log in as.
    pub(crate) user: String,
    pub(crate) port: u16,
    /// Of the socket and of the files that child processes find the database by.
    pub(crate) folder: PathBuf,
}

impl Connection {
    /// Where programs of this user enter without a password; none when the path is longer than the system allows.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        let file = match self.target.engine {
            Engine::Postgres => format!(".s.PGSQL.{}", self.port),
            Engine::Mariadb | Engine::Mysql => "mysql.sock".to_owned(),
        };
        let path = self.folder.join(file);
        (path.as_os_str().len() <= LONGEST_SOCKET_PATH).then_some(path)
    }

    /// All forms, as the Snapshot shows them: without the password.
    pub(crate) fn strings(&self) -> ConnectionStrings {
        let texts =
            self.forms().iter().map(|form| ConnectionText { form: *form, text: self.text(*form, None) }).collect();
        ConnectionStrings {
            host: HOST.to_owned(),
            port: self.port,
            user: self.user.clone(),
            database: self.target.database.clone(),
            socket: self.socket().map(|path| path.display().to_string()),
            environment: self.environment(),
            texts,
        }
    }

    /// One form, with the local password if it is given and the form has a place for it; none when the engine has no such
    /// client.
    pub(crate) fn written(&self, form: ConnectionForm, password: Option<&Secret<String>>) -> Option<Secret<String>> {
        let password = password.map(|password| password.expose().as_str());
        self.forms().contains(&form).then(|| Secret::new(self.text(form, password)))
    }

    fn forms(&self) -> &'static [ConnectionForm] {
        use ConnectionForm::{Datagrip, Dbeaver, Env, Jdbc, Mysql, PgService, Pgadmin, Psql, Tableplus, Url};
        match self.target.engine {
            Engine::Postgres => &[Url, Psql, Jdbc, PgService, Env, Dbeaver, Tableplus, Datagrip, Pgadmin],
            Engine::Mariadb | Engine::Mysql => &[Url, Mysql, Jdbc, Env, Dbeaver, Tableplus, Datagrip],
        }
    }

    fn text(&self, form: ConnectionForm, password: Option<&str>) -> String {
        match form {
            ConnectionForm::Url => self.url(password),
            ConnectionForm::Psql => self.psql(),
            ConnectionForm::Mysql => self.mysql(),
            ConnectionForm::Jdbc => self.jdbc(password),
            ConnectionForm::PgService => self.service_entry(),
            ConnectionForm::Env => self.env_file(password),
            ConnectionForm::Dbeaver => self.dbeaver(password),
            ConnectionForm::Tableplus => self.tableplus(password),
            ConnectionForm::Datagrip => self.datagrip(),
            ConnectionForm::Pgadmin => self.pgadmin(),
        }
    }

    /// Without the password libpq's URL goes by the socket, which asks for none; other engines' URLs know no sockets.
    fn url(&self, password: Option<&str>) -> String {
        let (user, database) = (encoded(&self.user), encoded(&self.target.database));
        match (password, self.socket(), self.target.engine) {
            (None, Some(_), Engine::Postgres) => {
                let folder = encoded(&self.folder.display().to_string());
                format!("postgresql://{user}@/{database}?host={folder}&port={}", self.port)
            }
            _ => self.tcp_url(password),
        }
    }

    fn tcp_url(&self, password: Option<&str>) -> String {
        let password = password.map(|password| format!(":{}", encoded(password))).unwrap_or_default();
        let (scheme, user, database) = (self.scheme(), encoded(&self.user), encoded(&self.target.database));
        format!("{scheme}://{user}{password}@{HOST}:{}/{database}{}", self.port, self.options('?'))
    }

    /// Within this computer TLS gains nothing, and libpq and pgJDBC repeat each refused login without it.
    fn options(&self, first: char) -> String {
        match self.target.engine {
            Engine::Postgres => format!("{first}sslmode=disable"),
            Engine::Mariadb | Engine::Mysql => String::new(),
        }
    }

    fn scheme(&self) -> &'static str {
        match self.target.engine {
            Engine::Postgres => "postgresql",
            Engine::Mariadb | Engine::Mysql => "mysql",
        }
    }

    /// JDBC has a driver for each of them.
    fn jdbc_url(&self) -> String {
        let driver = match self.target.engine {
            Engine::Postgres => "postgresql",
            Engine::Mysql => "mysql",
            Engine::Mariadb => "mariadb",
        };
        format!("jdbc:{driver}://{HOST}:{}/{}", self.port, encoded(&self.target.database))
    }

    fn psql(&self) -> String {
        let (host, user, database) = (quoted(&self.libpq_host()), quoted(&self.user), self.psql_database());
        format!("psql -h {host} -p {} -U {user} -d {database}", self.port)
    }

    /// Of a name with `=` or with a URL's beginning psql would make a whole connection string, unless it is given one.
    fn psql_database(&self) -> String {
        let database = &self.target.database;
        if database.contains('=') || database.contains("://") {
            quoted(&format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'")))
        } else {
            quoted(database)
        }
    }

    fn mysql(&self) -> String {
        let (user, database) = (quoted(&self.user), quoted(&self.target.database));
        match self.socket() {
            Some(socket) => format!("mysql -S {} -u {user} -D {database}", quoted(&socket.display().to_string())),
            None => format!("mysql -h {HOST} -P {} -u {user} -p -D {database}", self.port),
        }
    }

    /// The folder of the socket, which libpq takes for a host.
    fn libpq_host(&self) -> String {
        let folder = self.socket().map(|_| self.folder.display().to_string());
        folder.unwrap_or_else(|| HOST.to_owned())
    }

    fn jdbc(&self, password: Option<&str>) -> String {
        let password = password.map(|password| format!("&password={}", encoded(password))).unwrap_or_default();
        format!("{}?user={}{password}{}", self.jdbc_url(), encoded(&self.user), self.options('&'))
    }

    /// An entry for `pg_service.conf`.
    pub(crate) fn service_entry(&self) -> String {
        format!(
            "[{}]\nhost={}\nport={}\ndbname={}\nuser={}\nsslmode=disable\n",
            self.target.id,
            self.libpq_host(),
            self.port,
            self.target.database,
            self.user
        )
    }

    /// Options for the clients of MySQL and MariaDB.
    pub(crate) fn option_file(&self) -> String {
        let place = match self.socket() {
            Some(socket) => format!("socket={}", option_quoted(&socket.display().to_string())),
            None => format!("host={HOST}\nport={}", self.port),
        };
        let (user, database) = (option_quoted(&self.user), option_quoted(&self.target.database));
        format!("[client]\n{place}\nuser={user}\n[mysql]\ndatabase={database}\n")
    }

    /// What a child process needs to find the database by itself; nothing in it is secret.
    fn environment(&self) -> Vec<(String, String)> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let pairs = match self.target.engine {
            Engine::Postgres => {
                [("PGSERVICEFILE", file(SERVICE_FILE)), ("PGSERVICE", self.target.id.to_string())].to_vec()
            }
            Engine::Mariadb | Engine::Mysql => {
                let home = self.folder.display().to_string();
                [("MYSQL_HOME", home.clone()), ("MARIADB_HOME", home)].to_vec()
            }
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn env_file(&self, password: Option<&str>) -> String {
        let port = self.port.to_string();
        let host = self.libpq_host();
        let (prefix, mut pairs) = match self.target.engine {
            Engine::Postgres => (
                "PGPASSWORD",
                vec![
                    ("PGHOST", host),
                    ("PGPORT", port),
                    ("PGUSER", self.user.clone()),
                    ("PGDATABASE", self.target.database.clone()),
                    ("PGSSLMODE", "disable".to_owned()),
                ],
            ),
            Engine::Mariadb | Engine::Mysql => {
                // For these clients `localhost` means the socket, and the socket needs no password.
                let host = if password.is_none() && self.socket().is_some() { "localhost" } else { HOST };
                let mut pairs = vec![("MYSQL_HOST", host.to_owned()), ("MYSQL_TCP_PORT", port)];
                pairs.extend(self.socket().map(|socket| ("MYSQL_UNIX_PORT", socket.display().to_string())));
                pairs.extend([("MYSQL_USER", self.user.clone()), ("MYSQL_DATABASE", self.target.database.clone())]);
                ("MYSQL_PWD", pairs)
            }
        };
        pairs.extend(password.map(|password| (prefix, password.to_owned())));
        pairs.push(("DATABASE_URL", self.url(password)));
        pairs.into_iter().map(|(name, value)| format!("{name}={}\n", env_quoted(&value))).collect()
    }

    /// The argument of DBeaver's `-con`.
    fn dbeaver(&self, password: Option<&str>) -> String {
        let driver = match self.target.engine {
            Engine::Postgres => "postgresql",
            Engine::Mysql => "mysql8",
            Engine::Mariadb => "mariaDB",
        };
        let port = self.port.to_string();
        let id = self.target.id.to_string();
        let mut pairs = vec![
            ("driver", driver),
            ("name", &id),
            ("host", HOST),
            ("port", &port),
            ("database", &self.target.database),
        ];
        pairs.extend([("user", self.user.as_str())]);
        pairs.extend(password.map(|password| ("password", password)));
        pairs.extend([("create", "true"), ("save", "true"), ("connect", "true")]);
        let joined: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        joined.join("|")
    }

    fn tableplus(&self, password: Option<&str>) -> String {
        let environment = match self.target.environment {
            Environment::Development => "development",
            Environment::Production => "production",
            Environment::Staging => "staging",
        };
        let name = encoded(self.target.id.as_str());
        let url = self.tcp_url(password);
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}name={name}&env={environment}")
    }

    /// What DataGrip's "Import from clipboard" takes.
    fn datagrip(&self) -> String {
        let (driver, class) = match self.target.engine {
            Engine::Postgres => ("postgresql", "org.postgresql.Driver"),
            Engine::Mysql => ("mysql.8", "com.mysql.cj.jdbc.Driver"),
            Engine::Mariadb => ("mariadb", "org.mariadb.jdbc.Driver"),
        };
        let (id, user) = (xml_escaped(self.target.id.as_str()), xml_escaped(&self.user));
        let url = xml_escaped(&self.jdbc_url());
        format!(
            "#DataSourceSettings#\n#LocalDataSource: {id}\n#BEGIN#\n<data-source source=\"LOCAL\" name=\"{id}\">\
             <driver-ref>{driver}</driver-ref><synchronize>true</synchronize><jdbc-driver>{class}</jdbc-driver>\
             <jdbc-url>{url}</jdbc-url><user-name>{user}</user-name></data-source>\n#END#\n"
        )
    }

    /// What pgAdmin's "Import servers" takes.
    fn pgadmin(&self) -> String {
        let server = serde_json::json!({
            "Name": self.target.id, "Group": "Daypass", "Host": HOST, "Port": self.port, "MaintenanceDB": self.target.database,
            "Username": self.user, "ConnectionParameters": { "sslmode": "disable" },
        });
        format!("{:#}\n", serde_json::json!({ "Servers": { "1": server } }))
    }
}

/// In the folder of an open Gateway.
pub(crate) const SERVICE_FILE: &str = "pg_service.conf";
/// In the folder of an open Gateway: the name that MYSQL_HOME asks for.
pub(crate) const OPTION_FILE: &str = "my.cnf";

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn quoted(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// MySQL's option files know quotes and backslashes.
fn option_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Single quotes keep everything as it is in every reader of `.env` files; what holds one itself goes into double quotes.
fn env_quoted(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:@".contains(&b)) {
        text.to_owned()
    } else if text.contains('\'') {
        let mut escaped = text.to_owned();
        for special in ['\\', '"', '$', '`'] {
            escaped = escaped.replace(special, &format!("\\{special}"));
        }
        format!("\"{escaped}\"")
    } else {
        format!("'{text}'")
    }
}

fn xml_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const FOLDER: &str = "gateways";

/// The folder of a Target's open Gateway.
pub(crate) fn folder(runtime_dir: &Path, target: &Target) -> PathBuf {
    runtime_dir.join(FOLDER).join(target.id.as_str())
}

/// Removes what a crashed agent left.
pub(crate) fn sweep(runtime_dir: &Path) {
    if let Err(error) = fs::remove_dir_all(runtime_dir.join(FOLDER))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "files of closed gateways stay");
    }
}

#[cfg(test)]
mod tests;
