//! Being a guest of the agent, and starting one when there is none.

use std::{path::PathBuf, process::Stdio, time::Duration};

use ipc::{Client, IpcError, Private, Request, ServerMessage, SocketPath};
use model::{Command, Snapshot, TargetId, TargetView};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{args::Global, failure::Failure};

/// How long a new agent may take to say that it is ready: the keychain is asked first, and it may be slow.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The way to the agent.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    socket: SocketPath,
    global: Global,
}

impl Guest {
    pub(crate) fn new(global: &Global) -> Self {
        Self { socket: SocketPath::find(global.data_dir.as_deref()), global: global.clone() }
    }

    /// Connects, after starting an agent when there is none.
    pub(crate) async fn visit(&self) -> Result<Client, Failure> {
        match Client::connect(&self.socket).await {
            Err(IpcError::NoAgent { .. }) => {
                self.start_agent().await?;
                Ok(Client::connect(&self.socket).await?)
            }
            other => Ok(other?),
        }
    }

    /// Connects only when an agent is there.
    pub(crate) async fn visit_running(&self) -> Result<Option<Client>, Failure> {
        match Client::connect(&self.socket).await {
            Err(IpcError::NoAgent { .. }) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// Has a Command carried out.
    pub(crate) async fn command(&self, command: Command) -> Result<(), Failure> {
        Ok(self.visit().await?.command(command).await?)
    }

    /// Asks for words that hold the local password, or may.
    pub(crate) async fn private(&self, request: Request) -> Result<Private, Failure> {
        Ok(self.visit().await?.private(request).await?)
    }

    /// What is true now.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Failure> {
        Ok(self.visit().await?.snapshot().await?)
    }

    /// Follows the snapshots until `decide` has an answer. The first one is at least as new as the last answered Command.
    pub(crate) async fn follow<T>(&self, mut decide: impl FnMut(&Snapshot) -> Option<T>) -> Result<T, Failure> {
        let mut client = self.visit().await?;
        client.subscribe().await?;
        while let Some(message) = client.next().await? {
            if let ServerMessage::Snapshot(snapshot) = message
                && let Some(decided) = decide(&snapshot)
            {
                return Ok(decided);
            }
        }
        Err(IpcError::Closed.into())
    }

    async fn start_agent(&self) -> Result<(), Failure> {
        let failed = |why: String| {
            let hint = "start it by hand with `daypass agent` to see more";
            Failure::new("no-agent", format!("the background agent did not start: {why}"), hint)
        };
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = tokio::process::Command::new(program);
        command.args(["agent", "--while-needed"]).args(self.options());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own: Ctrl-C in this terminal is for this command, not for the agent it started.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let mut said =
            BufReader::new(child.stdout.take().ok_or_else(|| failed("it has no output".to_owned()))?).lines();
        match tokio::time::timeout(START_LIMIT, said.next_line()).await {
            Ok(Ok(Some(line))) if line == READY => Ok(()),
            Ok(Ok(Some(line))) => Err(failed(line)),
            Ok(_) => Err(failed("it ended at once".to_owned())),
            Err(_) => Err(failed(format!("it was not ready after {} s", START_LIMIT.as_secs()))),
        }
    }

    fn options(&self) -> Vec<PathBuf> {
        let mut options = Vec::new();
        for (name, value) in [("--data-dir", &self.global.data_dir), ("--catalog", &self.global.catalog)] {
            if let Some(value) = value {
                let value = std::path::absolute(value).unwrap_or_else(|_| value.clone());
                options.extend([PathBuf::from(name), value]);
            }
        }
        options
    }
}

/// The line an agent prints when guests can come.
pub(crate) const READY: &str = "ready";

/// The view of one Target.
pub(crate) fn view_of<'a>(snapshot: &'a Snapshot, target: &TargetId) -> Option<&'a TargetView> {
    snapshot.targets.iter().find(|view| &view.target.id == target)
}

/// The view of one Target, or an error that names the ones there are.
pub(crate) fn known<'a>(snapshot: &'a Snapshot, target: &TargetId) -> Result<&'a TargetView, Failure> {
    view_of(snapshot, target).ok_or_else(|| {
        let names: Vec<&str> = snapshot.targets.iter().map(|view| view.target.id.as_str()).collect();
        let hint = match (names.as_slice(), snapshot.warnings.first()) {
            ([], Some(warning)) => format!("{}: {}", warning.message, warning.hint),
            ([], None) => "the catalog is empty: name one with --catalog FILE".to_owned(),
            (names, _) => format!("the catalog has {}", names.join(", ")),
        };
        Failure::new("unknown-target", format!("there is no database `{target}`"), hint)
    })
}
