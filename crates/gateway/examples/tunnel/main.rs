//! Opens a tunnel from an answer of StartSession, without the rest of Daypass, so that it can be held against other
//! implementations:
//!
//! ```text
//! aws ssm start-session … > answer.json       # or boto3, or any other SDK
//! cargo run -p gateway --example tunnel -- --response @answer.json --local-port 15432 --region eu-west-1
//! ```
//!
//! With a Region or an endpoint, a lost websocket is resumed and the session is ended at AWS, with the credentials of the
//! environment or of a named profile. Without them no AWS call is made: a lost websocket is the end.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]

mod one_session;
mod trust;

use std::{error::Error, fs, io::Read, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use gateway::{
    EndCause, Listener, Observer, Pool, PoolConfig, Route, StartedSession, Traffic, TunnelConfig, TunnelEvent, serve,
};
use serde::Deserialize;
use tokio::{signal::ctrl_c, sync::mpsc};
use tokio_util::sync::CancellationToken;
use url::Url;

use one_session::OneSession;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Opens a tunnel from an answer of StartSession.
#[derive(Parser)]
#[command(name = "tunnel")]
pub(crate) struct Arguments {
    /// The answer: JSON, @FILE that holds it, or - for standard input. It is a secret until the tunnel is open, and other
    /// users of this computer can read arguments.
    #[arg(long, value_name = "JSON|@FILE|-")]
    response: String,
    /// On 127.0.0.1; 0: any that is free.
    #[arg(long, value_name = "PORT")]
    local_port: u16,
    /// Of Systems Manager, for ResumeSession and TerminateSession.
    #[arg(long)]
    region: Option<String>,
    /// Of Systems Manager, in place of the public one: https, or http on loopback.
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    /// Whose credentials sign; else those of the environment.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Certificates (PEM) of authorities to trust in place of the operating system's.
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
}

/// What StartSession answers, as the AWS CLI and the SDKs write it; more members do no harm.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    session_id: String,
    stream_url: String,
    token_value: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tunnel: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Outcome<()> {
    let started = read_answer(&arguments.response)?;
    let sessions = OneSession::new(started, one_session::client(&arguments).await?);
    let tls = arguments.ca_bundle.as_deref().map(trust::only).transpose()?;
    let listener = Listener::bind(Some(arguments.local_port).filter(|port| *port != 0)).await?;
    let (told, events) = mpsc::unbounded_channel();
    let ended = tokio::spawn(tell(events));
    let tunnel = TunnelConfig { tls, ..TunnelConfig::default() };
    // There is one answer, so one session.
    let config = PoolConfig { tunnel, most_sessions: 1, most_moves: 0, ..PoolConfig::default() };
    let pool = Pool::open(sessions, config, told).await?;
    println!("listening at {}", listener.local_addr()?);
    forward(listener, pool.into(), ended).await
}

/// The secret in it is never part of an error.
fn read_answer(response: &str) -> Outcome<StartedSession> {
    let json = match response.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).map_err(|cause| format!("cannot read {file}: {cause}"))?,
        None if response == "-" => {
            let mut json = String::new();
            std::io::stdin().read_to_string(&mut json)?;
            json
        }
        None => response.to_owned(),
    };
    let answer: Answer = serde_json::from_str(&json).map_err(|cause| {
        let (line, column) = (cause.line(), cause.column());
        format!(
            "the response is no answer of StartSession (SessionId, StreamUrl, TokenValue): line {line}, column {column}"
        )
    })?;
    Ok(StartedSession {
        session_id: answer.session_id,
        stream_url: answer.stream_url,
        token: answer.token_value.into(),
    })
}

/// Says what happens; returns how the session ended.
async fn tell(mut events: mpsc::UnboundedReceiver<TunnelEvent>) -> Option<EndCause> {
    while let Some(event) = events.recv().await {
        eprintln!("{event:?}");
        if let TunnelEvent::Ended { cause, .. } = event {
            return Some(cause);
        }
    }
    None
}

async fn forward(
    listener: Listener,
    route: Route,
    mut ended: tokio::task::JoinHandle<Option<EndCause>>,
) -> Outcome<()> {
    let route = Arc::new(route);
    let observer = Observer { traffic: Arc::new(Traffic::default()), events: mpsc::unbounded_channel().0 };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, Arc::clone(&route), shutdown.clone(), observer));
    let cause = tokio::select! {
        stopped = until_stopped() => stopped.map(|()| None)?,
        cause = &mut ended => cause?,
    };
    shutdown.cancel();
    serving.await?;
    if let Some(route) = Arc::into_inner(route) {
        route.close().await;
    }
    match cause {
        None => {
            ended.await?;
            Ok(())
        }
        Some(cause) => Err(cause.into()),
    }
}

#[cfg(unix)]
async fn until_stopped() -> std::io::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        stopped = ctrl_c() => stopped,
        _ = terminated.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn until_stopped() -> std::io::Result<()> {
    ctrl_c().await
}
