//! Opens a tunnel from an answer of StartSession, without the rest of Daypass:
//!
//! ```text
//! aws ssm start-session --target i-… --document-name AWS-StartPortForwardingSessionToRemoteHost --parameters … > answer.json
//! cargo run -p gateway --example tunnel -- --response answer.json --local-port 15432
//! ```
//!
//! The answer is a JSON object with SessionId, StreamUrl and TokenValue. A lost websocket cannot be resumed, since that takes
//! another token.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::{error::Error, fs, sync::Arc, sync::Mutex};

use gateway::{
    Listener, Observer, ResumedSession, SessionError, Sessions, StartedSession, Traffic, Tunnel, TunnelConfig, serve,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let response: serde_json::Value = serde_json::from_slice(&fs::read(option("--response")?)?)?;
    let member = |name: &str| response[name].as_str().map(str::to_owned).ok_or(format!("the response has no {name}"));
    let started = StartedSession {
        session_id: member("SessionId")?,
        stream_url: member("StreamUrl")?,
        token: member("TokenValue")?.into(),
    };
    let listener = Listener::bind(Some(option("--local-port")?.parse()?)).await?;
    let (told, mut events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            println!("{event:?}");
        }
    });
    let tunnel = Tunnel::open(OneAnswer(Mutex::new(Some(started))), TunnelConfig::default(), told).await?;
    println!("listening at {}", listener.local_addr()?);
    forward(listener, tunnel).await
}

async fn forward(listener: Listener, tunnel: Tunnel) -> Result<(), Box<dyn Error>> {
    let tunnel = Arc::new(tunnel);
    let (told, _) = mpsc::unbounded_channel();
    let observer = Observer { traffic: Arc::new(Traffic::default()), events: told };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, Arc::clone(&tunnel), shutdown.clone(), observer));
    tokio::signal::ctrl_c().await?;
    shutdown.cancel();
    serving.await?;
    if let Some(tunnel) = Arc::into_inner(tunnel) {
        tunnel.close().await;
    }
    Ok(())
}

/// The one session there is.
struct OneAnswer(Mutex<Option<StartedSession>>);

impl Sessions for OneAnswer {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        self.0.lock().ok().and_then(|mut answer| answer.take()).ok_or(SessionError::Gone)
    }

    async fn resume(&self, _: &str) -> Result<Option<ResumedSession>, SessionError> {
        Ok(None)
    }

    async fn terminate(&self, _: &str) -> Result<(), SessionError> {
        // The SSM agent was told through the channel, which is all that can be done without credentials.
        Ok(())
    }
}

fn option(name: &str) -> Result<String, String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).ok_or(format!("{name} VALUE is missing: tunnel --response FILE --local-port PORT"))
}
