//! `daypass-sandbox serve`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use sandbox::{Sandbox, SandboxConfig, SandboxError};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Runs an account until it is told to end, and writes the catalog that leads to it.
#[derive(Args)]
pub(crate) struct Serve {
    /// Where catalog.toml and ca.pem are written; made when it is not there.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Ben approves each request after this time: 2s, 1m.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    colleague_approves_after: Option<Duration>,
    /// Everything that is made up follows from this number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Lets the SSM agent send as fast as it can.
    #[arg(long)]
    no_pacing: bool,
    /// How far away the account is, one way, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay: u64,
    /// How many seconds the account's clock is ahead of this machine's; negative: behind.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_hyphen_values = true)]
    clock_offset: i64,
    /// Ends when the standard input is closed, as it is when the program that started this one dies.
    #[arg(long)]
    until_stdin_closes: bool,
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot write the catalog into {}: {cause}; give a folder that can be written with --dir", dir.display())]
    Catalog { dir: PathBuf, cause: std::io::Error },
    #[error("cannot listen for signals or write to the standard output: {0}")]
    Process(#[from] std::io::Error),
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), ServeError> {
        let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let started = async {
            let sandbox = Sandbox::start(self.config()).await?;
            announce(&sandbox, &self.dir)?;
            Ok::<_, ServeError>(sandbox)
        };
        let ended = async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
                () = stdin_closed(), if self.until_stdin_closes => {}
            }
        };
        tokio::pin!(ended);
        // A signal that comes before PostgreSQL is up ends it as well: what was started is dropped.
        let sandbox = tokio::select! {
            sandbox = started => sandbox?,
            () = &mut ended => return Ok(()),
        };
        ended.await;
        drop(sandbox);
        Ok(())
    }

    fn config(&self) -> SandboxConfig {
        SandboxConfig {
            seed: self.seed,
            clock_offset: SignedDuration::from_secs(self.clock_offset),
            pacing: !self.no_pacing,
            one_way_delay: Duration::from_millis(self.delay),
            colleague: self.colleague_approves_after,
            with_postgres: true,
        }
    }
}

fn announce(sandbox: &Sandbox, dir: &Path) -> Result<(), ServeError> {
    let written = std::fs::create_dir_all(dir).and_then(|()| sandbox.write_catalog(dir));
    let catalog = written.map_err(|cause| ServeError::Catalog { dir: dir.to_owned(), cause })?;
    let databases: BTreeMap<_, _> = sandbox.databases().collect();
    let line = json!({
        "endpoint": sandbox.endpoint_url(),
        "issuer": sandbox.issuer_url(),
        "catalog": catalog,
        "databases": databases,
        "admin": format!("{}/_sandbox", sandbox.endpoint_url()),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// On a thread of its own: a read that never returns must not hold up the end of the program.
async fn stdin_closed() {
    let (closed, until_closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Whatever comes in is of no interest, and a broken pipe is a closed one.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = closed.send(());
    });
    let _ = until_closed.await;
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let flaw = || format!("`{text}` is not a time: write it like 500ms, 2s or 1m");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(flaw)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| flaw())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(flaw()),
    }
}
