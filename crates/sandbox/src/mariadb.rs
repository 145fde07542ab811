//! A real MariaDB in a temporary folder, filled with a few invoices, gone without a trace when its owner is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::mysql_wire::{ERR, Greeting, NATIVE_PASSWORD, OK, Packets, Response, native_proof, read_error};
use crate::server_process::{ServerFolder, ServerProcess, ServerProcessError, io_error};

/// The database of the invoices. Beside it there is an empty one, `bench`.
pub const DATABASE: &str = "billing";
const SOCKET: &str = "mysql.sock";
const SUPERUSER: &str = "sandbox";
const BILLING: &str = include_str!("billing.sql");
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A small throw-away server: nothing needs to survive a crash.
const SETTINGS: [&str; 17] = [
    "--innodb-log-file-size=4M",
    "--innodb-data-file-path=ibdata1:3M:autoextend",
    "--innodb-temp-data-file-path=ibtmp1:2M:autoextend",
    "--innodb-buffer-pool-size=16M",
    "--innodb-undo-tablespaces=0",
    "--innodb-doublewrite=0",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--aria-log-file-size=8M",
    "--aria-pagecache-buffer-size=4M",
    "--key-buffer-size=1M",
    "--max-allowed-packet=64M",
    "--performance-schema=OFF",
    "--character-set-server=utf8mb4",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--default-time-zone=+00:00",
];

/// A running server. Dropping it stops the server and removes its files.
#[derive(Debug)]
pub struct Mariadb {
    process: ServerProcess,
    door: MariadbDoor,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum MariadbError {
    /// MariaDB is not installed where it usually is.
    #[error(
        "found no MariaDB server (`mariadbd` and its mysql_system_tables.sql) in PATH, /usr/sbin or Homebrew; install \
         it, on Debian with `apt-get install mariadb-server-core`"
    )]
    NotInstalled,
    /// No folder, no account or no process.
    #[error(transparent)]
    Process(#[from] ServerProcessError),
    /// Its own tables could not be made.
    #[error("mariadbd --bootstrap failed: {output}")]
    Bootstrap {
        /// What it said.
        output: String,
    },
    /// The server did not come up, or the invoices could not be filled in.
    #[error("MariaDB did not start: {cause}; its log ends with: {log}")]
    NotReady {
        /// What the last attempt to log in said.
        cause: MysqlError,
        /// The last lines.
        log: String,
    },
}

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum MysqlError {
    /// The socket is not there or broke.
    #[error("no connection to MariaDB: {0}")]
    Io(#[from] io::Error),
    /// The login or the statement failed.
    #[error("{message} ({code})")]
    Failed {
        /// `1045`.
        code: u16,
        /// The server's own words.
        message: String,
    },
}

/// How a user logs in, where it is not by the real server's own `mysql_native_password`.
#[derive(Clone, Eq, PartialEq)]
pub enum MysqlLogin {
    /// MySQL 8's own way.
    CachingSha2 {
        /// In clear: a proof is compared with what it ought to be.
        password: String,
    },
    /// MariaDB's.
    Ed25519 {
        /// Of the key that the password is the seed of.
        public_key: [u8; 32],
    },
    /// A DbAuthToken, as at RDS.
    IamToken,
}

impl fmt::Debug for MysqlLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CachingSha2 { .. } => "CachingSha2",
            Self::Ed25519 { .. } => "Ed25519",
            Self::IamToken => "IamToken",
        })
    }
}

/// A password and how it is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MysqlPlugin {
    /// `caching_sha2_password`.
    CachingSha2,
    /// `client_ed25519`.
    Ed25519,
    /// `mysql_native_password`.
    Native,
}

impl Mariadb {
    /// Starts a server with the invoices in it; takes about half a second.
    ///
    /// # Errors
    /// [`MariadbError`]: not installed, or what stood in the way.
    pub async fn start() -> Result<Self, MariadbError> {
        let installed = Installed::find().ok_or(MariadbError::NotInstalled)?;
        let folder = ServerFolder::new("daypass-my-", &["mysql", "nobody"])?;
        let (door, program) = (MariadbDoor::new(folder.path()), installed.mariadbd.clone());
        let front = Arc::clone(&door.shared);
        let starting = tokio::task::spawn_blocking(move || {
            bootstrap(&installed, &folder)?;
            let init = folder.path().join("billing.sql");
            std::fs::write(&init, seed(&front.password)).map_err(io_error("write", &init))?;
            let mut arguments = arguments(folder.path());
            arguments.extend(["--skip-networking".into(), option("--socket=", &folder.path().join(SOCKET))]);
            arguments.push(option("--init-file=", &init));
            Ok::<_, MariadbError>(folder.run("KILL", &installed.mariadbd, arguments)?)
        });
        let process = starting.await.map_err(|cause| io_error("run", &program)(cause.into()))??;
        let server = Self { process, door };
        server.until_ready().await?;
        Ok(server)
    }

    /// The way in, for an endpoint in front of it.
    pub fn door(&self) -> MariadbDoor {
        self.door.clone()
    }

    /// Runs one statement as superuser.
    ///
    /// # Errors
    /// [`MysqlError`], with the server's own words for a statement that fails.
    pub async fn execute(&self, statement: &str) -> Result<(), MysqlError> {
        self.door.execute(statement).await
    }

    async fn until_ready(&self) -> Result<(), MariadbError> {
        const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);
        const LAST_OF_THE_SEED: &str = "DO (SELECT COUNT(*) FROM billing.invoice_lines)";
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.execute(LAST_OF_THE_SEED).await {
                Ok(()) => return Ok(()),
                Err(cause @ MysqlError::Failed { .. }) => return Err(self.not_ready(cause)),
                Err(cause) if Instant::now() >= deadline || self.has_died() => return Err(self.not_ready(cause)),
                Err(MysqlError::Io(_)) => tokio::time::sleep(BETWEEN_ATTEMPTS).await,
            }
        }
    }

    fn not_ready(&self, cause: MysqlError) -> MariadbError {
        MariadbError::NotReady { cause, log: self.process.log_tail() }
    }

    fn has_died(&self) -> bool {
        let log = self.process.log();
        log.contains("[ERROR] Aborting") || log.contains("Shutdown complete")
    }
}

/// Who may come in, and how: shared by the server and the endpoints in front of it.
#[derive(Clone)]
pub struct MariadbDoor {
    socket: PathBuf,
    default_plugin: Option<&'static str>,
    shared: Arc<Doorkeeper>,
}

struct Doorkeeper {
    /// What the front logs in with after it has judged a user itself.
    password: String,
    logins: Mutex<BTreeMap<String, MysqlLogin>>,
    seen: Mutex<BTreeSet<String>>,
}

impl MariadbDoor {
    fn new(folder: &Path) -> Self {
        let token = |name: &str| (name.to_owned(), MysqlLogin::IamToken);
        let shared = Doorkeeper {
            password: hex::encode(rand::random::<[u8; 16]>()),
            logins: Mutex::new(BTreeMap::from([token("app_ro"), token("app_rw")])),
            seen: Mutex::default(),
        };
        Self { socket: folder.join(SOCKET), default_plugin: None, shared: Arc::new(shared) }
    }

    /// The same, greeting as MySQL 8 does: with `caching_sha2_password`.
    #[must_use]
    pub fn like_mysql_8(mut self) -> Self {
        self.default_plugin = Some("caching_sha2_password");
        self
    }

    /// Gives `user` another password; makes the user, a reader of the invoices, when there is none.
    ///
    /// # Errors
    /// [`MysqlError`]: the server did not do it; [`io::ErrorKind::InvalidInput`] for an Ed25519 password that is not 32
    /// bytes long.
    pub async fn set_password(&self, user: &str, password: &str, plugin: MysqlPlugin) -> Result<(), MysqlError> {
        let login = match plugin {
            MysqlPlugin::CachingSha2 => Some(MysqlLogin::CachingSha2 { password: password.to_owned() }),
            MysqlPlugin::Ed25519 => Some(MysqlLogin::Ed25519 { public_key: public_key(password)? }),
            MysqlPlugin::Native => None,
        };
        let name = format!("'{}'@'%'", quoted(user));
        let stored = quoted(if login.is_none() { password } else { self.password() });
        self.execute(&format!("CREATE USER IF NOT EXISTS {name} IDENTIFIED BY '{stored}'")).await?;
        self.execute(&format!("ALTER USER {name} IDENTIFIED BY '{stored}'")).await?;
        self.execute(&format!("GRANT SELECT ON {DATABASE}.* TO {name}")).await?;
        locked(&self.shared.seen).remove(user);
        match login {
            Some(login) => locked(&self.shared.logins).insert(user.to_owned(), login),
            None => locked(&self.shared.logins).remove(user),
        };
        Ok(())
    }

    /// Runs one statement as superuser.
    pub(crate) async fn execute(&self, statement: &str) -> Result<(), MysqlError> {
        const QUERY: u8 = 3;
        let mut server = Packets::new(self.connect().await?);
        let first = server.read().await?;
        let greeting = Greeting::read(first.clone()).ok_or_else(|| failure(&first))?;
        let proof = native_proof(self.password(), &greeting.nonce());
        server.write(&Response::new(SUPERUSER).answering(&proof, NATIVE_PASSWORD)).await?;
        expect_ok(&server.read().await?)?;
        server.write_command(&[&[QUERY], statement.as_bytes()].concat()).await?;
        expect_ok(&server.read().await?)
    }

    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.socket).await
    }

    /// What the greeting names instead of the server's own; none leaves it.
    pub(crate) fn default_plugin(&self) -> Option<&'static str> {
        self.default_plugin
    }

    /// None: the server itself decides.
    pub(crate) fn login_of(&self, user: &str) -> Option<MysqlLogin> {
        locked(&self.shared.logins).get(user).cloned()
    }

    pub(crate) fn password(&self) -> &str {
        &self.shared.password
    }

    /// Whether `user` has shown the present password in clear, as the cache of `caching_sha2_password` remembers.
    pub(crate) fn has_seen(&self, user: &str) -> bool {
        locked(&self.shared.seen).contains(user)
    }

    pub(crate) fn note_seen(&self, user: &str) {
        locked(&self.shared.seen).insert(user.to_owned());
    }
}

impl fmt::Debug for MariadbDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MariadbDoor").field("socket", &self.socket).finish_non_exhaustive()
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "''")
}

/// MariaDB hashes a password of any length into a key; for one of 32 bytes that is the key of RFC 8032.
fn public_key(password: &str) -> io::Result<[u8; 32]> {
    let pair = Ed25519KeyPair::from_seed_unchecked(password.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an Ed25519 password has 32 bytes here"))?;
    pair.public_key().as_ref().try_into().map_err(io::Error::other)
}

fn expect_ok(said: &[u8]) -> Result<(), MysqlError> {
    if said.first() == Some(&OK) { Ok(()) } else { Err(failure(said)) }
}

fn failure(said: &[u8]) -> MysqlError {
    if said.first() != Some(&ERR) {
        return io::Error::other("an answer that is neither OK nor an error").into();
    }
    let (code, message) = read_error(said);
    MysqlError::Failed { code, message }
}

/// The program and the folder with the statements that make its own tables.
struct Installed {
    mariadbd: PathBuf,
    share: PathBuf,
}

impl Installed {
    fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = ["/usr/sbin", "/usr/libexec", "/opt/homebrew/opt/mariadb/bin", "/usr/local/opt/mariadb/bin"];
        std::env::split_paths(&path).chain(usual.map(PathBuf::from)).find_map(|folder| {
            let mariadbd = folder.join("mariadbd");
            let shares = ["share/mysql", "share/mariadb"].map(|share| folder.parent().map(|root| root.join(share)));
            let share = shares.into_iter().flatten().find(|share| tables(share, "").is_some())?;
            mariadbd.is_file().then_some(Self { mariadbd, share })
        })
    }
}

/// The file of statements; its name begins with `mysql_` up to MariaDB 10 and with `mariadb_` from 11 on.
fn tables(share: &Path, suffix: &str) -> Option<PathBuf> {
    let names = ["mysql", "mariadb"].map(|prefix| share.join(format!("{prefix}_system_tables{suffix}.sql")));
    names.into_iter().find(|path| path.is_file())
}

/// Makes the data folder and MariaDB's own tables in it.
fn bootstrap(installed: &Installed, folder: &ServerFolder) -> Result<(), MariadbError> {
    let mut statements = b"CREATE DATABASE mysql;\nUSE mysql;\n".to_vec();
    for suffix in ["", "_data"] {
        let path = tables(&installed.share, suffix).ok_or(MariadbError::NotInstalled)?;
        statements.extend(std::fs::read(&path).map_err(io_error("read", &path))?);
    }
    let made = folder.command("mkdir").arg(folder.path().join(DATA)).status();
    made.map_err(io_error("create", folder.path()))?;
    let mut command = folder.command(&installed.mariadbd);
    command.args(arguments(folder.path())).arg("--bootstrap");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(io_error("run", &installed.mariadbd))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Should it have died, its own words say more than a broken pipe.
        let _ = stdin.write_all(&statements);
    }
    let output = child.wait_with_output().map_err(io_error("run", &installed.mariadbd))?;
    if output.status.success() {
        return Ok(());
    }
    Err(MariadbError::Bootstrap { output: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}

const DATA: &str = "data";

fn arguments(folder: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--no-defaults".into(), option("--datadir=", &folder.join(DATA))];
    // A server that starts removes the temporary tables of others that share its folder for them.
    arguments.push(option("--tmpdir=", folder));
    arguments.extend(SETTINGS.iter().map(OsString::from));
    arguments
}

fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

/// What the server runs before it lets anybody in.
fn seed(front: &str) -> String {
    let superuser = format!(
        "CREATE USER {SUPERUSER}@localhost IDENTIFIED BY '{front}';\n\
         GRANT ALL ON *.* TO {SUPERUSER}@localhost WITH GRANT OPTION;\n"
    );
    superuser + &BILLING.replace("{front}", front)
}
