//! A real PostgreSQL that does its own TLS and asks for a password by SCRAM.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

pub(crate) const NAME: &str = "bench.daypass.example";
pub(crate) const USER: &str = "postgres";
pub(crate) const PASSWORD: &str = "of-the-bench";
const STARTING: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const SETTINGS: &str = "
ssl = on
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 150
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
";

/// Stopped when dropped.
pub(crate) struct PostgresServer {
    pub(crate) address: SocketAddr,
    pub(crate) authority: CertificateDer<'static>,
    folder: TempDir,
    process: Child,
}

impl PostgresServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let owner = other_account();
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).expect("root may");
        }
        initialise(folder.path(), owner);
        let authority = certify(folder.path(), owner);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("loopback has free ports");
        let mut command = program("postgres", owner);
        command.arg("-D").arg(data(folder.path())).args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("PostgreSQL is installed");
        let server = Self { address, authority, folder, process };
        server.until_ready();
        server
    }

    /// PEM of the authority that signed its certificate.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn until_ready(&self) {
        let until = Instant::now() + STARTING;
        while !self.is_ready() {
            assert!(Instant::now() < until, "PostgreSQL starts");
            thread::sleep(LOOK_EVERY);
        }
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new("pg_isready");
        command.args(["-q", "-h", "127.0.0.1", "-p", &self.address.port().to_string()]);
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Fast shutdown; what is left of it goes with the folder.
        let stopped = Command::new("kill").args(["-s", "INT", &self.process.id().to_string()]).status();
        drop(stopped.and_then(|_| self.process.wait()));
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn initialise(folder: &Path, owner: Option<(u32, u32)>) {
    let password = folder.join("password");
    fs::write(&password, PASSWORD).expect("the folder is ours");
    give(&password, owner);
    let mut command = program("initdb", owner);
    command.args(["--username", USER, "--auth", "scram-sha-256", "--no-sync", "--no-locale", "--encoding", "UTF8"]);
    command.arg("--pwfile").arg(&password).arg("-D").arg(data(folder)).stdout(Stdio::null());
    assert!(command.status().expect("PostgreSQL is installed").success(), "initdb makes a cluster");
    fs::write(data(folder).join("postgresql.auto.conf"), SETTINGS).expect("root or the owner may");
}

/// Lays an authority, a certificate and its key; returns the authority.
fn certify(folder: &Path, owner: Option<(u32, u32)>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another one than the server's, or it would count as its own issuer.
    params.distinguished_name.push(DnType::CommonName, "Daypass bench");
    let key = || KeyPair::generate().expect("keys can be made");
    let issuer = CertifiedIssuer::self_signed(params, key()).expect("an authority");
    let server = key();
    let params = CertificateParams::new([NAME.to_owned()]).expect("a name");
    let signed = params.signed_by(&server, &issuer).expect("a certificate");
    for (file, text) in [("server.crt", signed.pem()), ("server.key", server.serialize_pem())] {
        let path = data(folder).join(file);
        fs::write(&path, text).expect("root or the owner may");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
        give(&path, owner);
    }
    fs::write(folder.join("ca.pem"), issuer.pem()).expect("root or the owner may");
    issuer.der().clone()
}

fn give(path: &Path, owner: Option<(u32, u32)>) {
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).expect("root may");
    }
}

/// A server program, from where Debian keeps the newest or from PATH, as `owner`.
fn program(name: &str, owner: Option<(u32, u32)>) -> Command {
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = folders.map(|folder| folder.path().join("bin").join(name)).filter(|path| path.is_file()).max();
    let mut command = Command::new(newest.unwrap_or_else(|| name.into()));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// Whom to be when we are root, which PostgreSQL refuses.
fn other_account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("accounts are listed");
    let found = ["postgres", "nobody"].iter().find_map(|name| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    Some(found.expect("there is somebody else than root"))
}
