//! A Front before any PostgreSQL, MySQL or MariaDB server, without the rest of Daypass, so that clients and their own test
//! suites can be held against it:
//!
//! ```text
//! cargo run -p gateway --example front -- --engine postgres --to 127.0.0.1:5432 --server-name db.example --ca ca.pem \
//!     --user postgres --password-file server.txt --local-password-file local.txt --port 15432
//! ```
//!
//! The server has to offer TLS. Its password is read anew for each login.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use futures_util::{FutureExt, future::BoxFuture};
use gateway::{
    Credential, Direct, Doors, Front, FrontConfig, FrontEvent, FrontLimits, Logins, MysqlSettings, NoCredential,
    Origin, Route,
};
use model::Engine;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    signal::ctrl_c,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const DIALLING: Duration = Duration::from_secs(10);

/// Serves clients of a database, and logs in to it for them.
#[derive(Parser)]
#[command(name = "front")]
struct Arguments {
    /// What the server speaks.
    #[arg(long)]
    engine: Spoken,
    /// The server.
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// The name that its certificate must have.
    #[arg(long, value_name = "NAME")]
    server_name: String,
    /// Certificates (PEM) of the authorities to trust.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The database user, for clients and at the server.
    #[arg(long)]
    user: String,
    /// The database for clients that name none; else it is called as the user.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The user's password at the server.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
    /// What clients log in with.
    #[arg(long, value_name = "FILE")]
    local_password_file: PathBuf,
    /// On 127.0.0.1 and ::1; 0: any that is free.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Packets of MySQL and MariaDB are compressed on the way to the server.
    #[arg(long)]
    compress: bool,
    /// Says what happens.
    #[arg(long)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Spoken {
    Mariadb,
    Mysql,
    Postgres,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("front: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Outcome<()> {
    let (host, port) = arguments.to.rsplit_once(':').ok_or("--to takes HOST:PORT")?;
    let route = Route::from(Direct::new(host.trim_matches(['[', ']']), port.parse()?, DIALLING));
    let logins = FileLogins { user: arguments.user.clone(), password: arguments.password_file.clone() };
    let doors = Doors::bind(Some(arguments.port).filter(|port| *port != 0)).await?;
    let (told, events) = unbounded_channel();
    let front = Front::open(doors, config(&arguments)?, Arc::new(route), Arc::new(logins), told)?;
    front.prove().await?;
    println!("listening at {}", front.local_addr()?);
    tokio::select! {
        stopped = ctrl_c() => stopped?,
        () = tell(events, arguments.verbose) => {}
    }
    front.close("the front was stopped", "start it again").await;
    Ok(())
}

fn config(arguments: &Arguments) -> Outcome<FrontConfig> {
    Ok(FrontConfig {
        engine: match arguments.engine {
            Spoken::Mariadb => Engine::Mariadb,
            Spoken::Mysql => Engine::Mysql,
            Spoken::Postgres => Engine::Postgres,
        },
        target: "example".to_owned(),
        database_user: arguments.user.clone(),
        database: arguments.database.clone().unwrap_or_else(|| arguments.user.clone()),
        read_only: false,
        server_name: arguments.server_name.clone(),
        roots: CertificateDer::pem_file_iter(&arguments.ca)?.collect::<Result<_, _>>()?,
        local_password: first_line(&arguments.local_password_file)?.into(),
        mysql: MysqlSettings { compression: Some(arguments.compress), local_files: false },
        limits: FrontLimits::default(),
    })
}

async fn tell(mut events: UnboundedReceiver<FrontEvent>, verbose: bool) {
    while let Some(event) = events.recv().await {
        if verbose || matches!(event, FrontEvent::TurnedAway { .. }) {
            eprintln!("{event:?}");
        }
    }
}

/// One user, and a file with the password.
struct FileLogins {
    user: String,
    password: PathBuf,
}

impl Logins for FileLogins {
    fn credential(&self) -> BoxFuture<'_, Result<Credential, NoCredential>> {
        let password = first_line(&self.password);
        let credential =
            password.map(|password| Credential::Secret { user: self.user.clone(), password: password.into() });
        let hint = "write the password into the file".to_owned();
        async { credential.map_err(|cause| NoCredential { cause, hint }) }.boxed()
    }

    fn refused(&self, _: &Credential) {}

    fn fresh_until(&self) -> Option<Instant> {
        None
    }

    fn origin(&self) -> Origin {
        Origin::default()
    }
}

fn first_line(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|cause| format!("cannot read {}: {cause}", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
