//! A real PostgreSQL in a temporary folder, filled with a small shop, gone without a trace when its owner is.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::server_process::{ServerFolder, ServerProcess, ServerProcessError, io_error};

/// Where the socket lies in the folder handed out by [`Postgres::socket_dir`]. No TCP port is opened.
const SOCKET: &str = ".s.PGSQL.5432";
/// The database of the shop.
pub const DATABASE: &str = "shop";
const SUPERUSER: &str = "postgres";
const SHOP: &str = include_str!("shop.sql");
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A throw-away cluster: nothing needs to survive a crash.
const SETTINGS: &str = "
listen_addresses = ''
unix_socket_permissions = 0700
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_connections = 60
shared_buffers = 16MB
autovacuum = off
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
";

/// As at RDS: who is in rds_iam is asked for no password here, because [`crate::rds_front`] has judged a token before;
/// everybody else is asked by the server itself, SCRAM where the password was stored so.
const HBA: &str = "
local all postgres trust
local all +rds_iam trust
local all all md5
";

/// A running server. Dropping it stops the server and removes its files.
#[derive(Debug)]
pub struct Postgres {
    process: ServerProcess,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// PostgreSQL is not installed where it usually is.
    #[error(
        "found no PostgreSQL server (`postgres` and `initdb`) in PATH or under /usr/lib/postgresql; install it, on \
         Debian with `apt-get install postgresql`"
    )]
    NotInstalled,
    /// No folder, no account or no process.
    #[error(transparent)]
    Process(#[from] ServerProcessError),
    /// `initdb` ended with an error.
    #[error("initdb failed: {output}")]
    Initdb {
        /// What it said.
        output: String,
    },
    /// The server did not come up.
    #[error("PostgreSQL did not start: {cause}; its log ends with: {log}")]
    NotReady {
        /// What the last attempt to log in said.
        cause: QueryError,
        /// The last lines.
        log: String,
    },
    /// The shop could not be filled in.
    #[error("cannot fill the database: {0}")]
    Fill(#[from] QueryError),
}

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The socket is not there or broke.
    #[error("no connection to PostgreSQL: {0}")]
    Io(#[from] io::Error),
    /// The login or the statement failed.
    #[error("{message} ({sqlstate})")]
    Failed {
        /// `42P01`.
        sqlstate: String,
        /// The server's own words.
        message: String,
    },
}

/// How the server keeps a password, and so how it asks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoredAs {
    /// `md5…`, asked for as such.
    Md5,
    /// `SCRAM-SHA-256$…`.
    Scram,
}

impl Postgres {
    /// Starts a server with the shop in it; takes about two seconds.
    ///
    /// # Errors
    /// [`PostgresError`]: not installed, or what stood in the way.
    pub async fn start() -> Result<Self, PostgresError> {
        let binaries = Binaries::find().ok_or(PostgresError::NotInstalled)?;
        let folder = ServerFolder::new("daypass-pg-", &["postgres", "nobody"])?;
        let program = binaries.initdb.clone();
        let initialised = tokio::task::spawn_blocking(move || initialise(&binaries.initdb, &folder).map(|()| folder));
        let folder = initialised.await.map_err(|cause| io_error("run", &program)(cause.into()))??;
        let (data, sockets) = (folder.path().join("data"), folder.path().to_owned());
        let process = folder.run(
            "QUIT",
            &binaries.postgres,
            [OsStr::new("-D"), data.as_os_str(), OsStr::new("-k"), sockets.as_os_str()],
        )?;
        let server = Self { process };
        server.until_ready().await?;
        server.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        server.execute(DATABASE, SHOP).await?;
        Ok(server)
    }

    /// The folder with the server's socket, for `host=` of libpq. Only its owner and root may enter; members of rds_iam
    /// are trusted to be whom they say.
    pub fn socket_dir(&self) -> &Path {
        self.process.folder()
    }

    /// Runs statements (one, or several in one transaction) as superuser.
    ///
    /// # Errors
    /// [`QueryError`], with the server's own words for a statement that fails.
    pub async fn execute(&self, database: &str, statements: &str) -> Result<(), QueryError> {
        execute(self.socket_dir(), database, statements).await
    }

    async fn until_ready(&self) -> Result<(), PostgresError> {
        const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.execute("postgres", "SELECT").await {
                Ok(()) => return Ok(()),
                Err(cause) if Instant::now() >= deadline || self.has_died() => {
                    return Err(PostgresError::NotReady { cause, log: self.process.log_tail() });
                }
                Err(_) => tokio::time::sleep(BETWEEN_ATTEMPTS).await,
            }
        }
    }

    /// The server holds its pid file before it says its first word.
    fn has_died(&self) -> bool {
        !self.process.log().is_empty() && !self.process.folder().join("data/postmaster.pid").exists()
    }
}

/// Gives `user`, who logs in with a password, another one; makes the user, a reader of the shop, when there is none.
pub(crate) async fn set_password(
    folder: &Path,
    user: &str,
    password: &str,
    stored: StoredAs,
) -> Result<(), QueryError> {
    let (user, password) = (user.replace('"', "\"\""), password.replace('\'', "''"));
    let encryption = match stored {
        StoredAs::Md5 => "md5",
        StoredAs::Scram => "scram-sha-256",
    };
    let name = user.replace('\'', "''");
    let statements = format!(
        "SET password_encryption = '{encryption}'; SET standard_conforming_strings = on;
         DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN
             CREATE ROLE \"{user}\" LOGIN IN ROLE shop_reader; END IF; END $$;
         ALTER ROLE \"{user}\" PASSWORD '{password}'"
    );
    execute(folder, DATABASE, &statements).await
}

/// Connects to the server whose folder this is.
pub(crate) async fn connect(folder: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(folder.join(SOCKET)).await
}

/// Runs statements as superuser of the server whose folder this is.
pub(crate) async fn execute(folder: &Path, database: &str, statements: &str) -> Result<(), QueryError> {
    const PROTOCOL_3: u32 = 196_608;
    let mut stream = connect(folder).await?;
    let parameters = format!("user\0{SUPERUSER}\0database\0{database}\0\0");
    let length = u32::try_from(parameters.len() + 8).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), &PROTOCOL_3.to_be_bytes(), parameters.as_bytes()].concat()).await?;
    until_ready_for_query(&mut stream).await?;
    let length = u32::try_from(statements.len() + 5).map_err(io::Error::other)?;
    stream.write_all(&[&b"Q"[..], &length.to_be_bytes(), statements.as_bytes(), &[0]].concat()).await?;
    until_ready_for_query(&mut stream).await
}

/// Reads up to `ReadyForQuery`, or to the end when the login is refused.
async fn until_ready_for_query(stream: &mut UnixStream) -> Result<(), QueryError> {
    let mut outcome = Ok(());
    loop {
        let (kind, body) = match read_message(stream).await {
            Ok(message) => message,
            Err(cause) => return outcome.and(Err(cause.into())),
        };
        match kind {
            b'E' => outcome = Err(failure(&body)),
            b'Z' => return outcome,
            _ => {}
        }
    }
}

/// One message: its type, and what follows the length.
pub(crate) async fn read_message<S: AsyncReadExt + Unpin>(stream: &mut S) -> io::Result<(u8, Vec<u8>)> {
    const LONGEST: usize = 1 << 20;
    let kind = stream.read_u8().await?;
    let length = usize::try_from(stream.read_u32().await?).map_err(io::Error::other)?;
    let length = length.checked_sub(4).filter(|length| *length <= LONGEST);
    let mut body = vec![0; length.ok_or_else(|| io::Error::other("a message of an impossible length"))?];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

/// The fields of an `ErrorResponse` that tell what happened.
fn failure(body: &[u8]) -> QueryError {
    let fields: Vec<_> = body.split(|byte| *byte == 0).filter_map(|field| field.split_first()).collect();
    let field = |wanted: u8| {
        let text = fields.iter().find(|(kind, _)| **kind == wanted).map(|(_, text)| String::from_utf8_lossy(text));
        text.unwrap_or_default().into_owned()
    };
    QueryError::Failed { sqlstate: field(b'C'), message: field(b'M') }
}

/// The two programs needed.
struct Binaries {
    initdb: PathBuf,
    postgres: PathBuf,
}

impl Binaries {
    /// In PATH, or in the folder of the newest version where Debian and Red Hat put them.
    fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut installed: Vec<_> = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"]
            .iter()
            .filter_map(|parent| std::fs::read_dir(parent).ok())
            .flat_map(|folders| folders.filter_map(Result::ok).map(|folder| folder.path().join("bin")))
            .collect();
        installed.sort_by_key(|folder| std::cmp::Reverse(major_version(folder)));
        std::env::split_paths(&path).chain(installed).find_map(|folder| {
            let found = Self { initdb: folder.join("initdb"), postgres: folder.join("postgres") };
            (found.initdb.is_file() && found.postgres.is_file()).then_some(found)
        })
    }
}

fn major_version(bin: &Path) -> u32 {
    let folder = bin.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    folder.trim_start_matches("postgresql@").parse().unwrap_or(0)
}

fn initialise(initdb: &Path, folder: &ServerFolder) -> Result<(), PostgresError> {
    let data = folder.path().join("data");
    let output = folder
        .command(initdb)
        .args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync", "-D"])
        .arg(&data)
        .output()
        .map_err(io_error("run", initdb))?;
    let Output { status, stderr, .. } = output;
    if !status.success() {
        return Err(PostgresError::Initdb { output: String::from_utf8_lossy(&stderr).trim().to_owned() });
    }
    for (name, content) in [("postgresql.auto.conf", SETTINGS), ("pg_hba.conf", HBA)] {
        let path = data.join(name);
        std::fs::write(&path, content).map_err(io_error("write", &path))?;
    }
    Ok(())
}
