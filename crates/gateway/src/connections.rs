//! From accepted connections to streams of a Route.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink, split},
    net::TcpStream,
    select,
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    listener::Listener,
    route::{Demand, Route},
    tunnel::TunnelError,
};

const BUFFER: usize = 16 * 1024;
/// For a client to read the last bytes and close, once the Target has closed.
const FAREWELL: Duration = Duration::from_secs(5);
/// After a failed accept, most often for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What the connections at a Listener did, in order.
#[derive(Clone, Debug)]
pub enum ConnectionEvent {
    /// A client connected. Its stream is being asked for.
    Accepted,
    /// A client got no stream and was closed.
    Failed(TunnelError),
    /// A client's connection ended.
    Closed {
        /// Bytes from the client to the Target.
        up: u64,
        /// Bytes from the Target to the client.
        down: u64,
        /// What went wrong, if anything.
        error: Option<String>,
    },
}

/// Counts over all connections at a Listener.
#[derive(Debug, Default)]
pub struct Traffic {
    accepted: AtomicU64,
    open: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

impl Traffic {
    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections at this moment.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Bytes from clients to the Target.
    pub fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    /// Bytes from the Target to clients.
    pub fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }
}

/// Where [`serve`] tells what happens.
#[derive(Clone, Debug)]
pub struct Observer {
    /// Counts, at any moment.
    pub traffic: Arc<Traffic>,
    /// Transitions.
    pub events: mpsc::UnboundedSender<ConnectionEvent>,
}

/// Gives each connection at `listener` a stream of `route`, until `shutdown`; open connections are closed then.
pub async fn serve(listener: Listener, route: Arc<Route>, shutdown: CancellationToken, observer: Observer) {
    let connections = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok(client) => {
                let connection = connect(client, Arc::clone(&route), observer.clone());
                let shutdown = shutdown.clone();
                connections.spawn(async move { shutdown.run_until_cancelled(connection).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connect(client: TcpStream, route: Arc<Route>, observer: Observer) {
    let open = Open::begin(&observer.traffic);
    tell(&observer, ConnectionEvent::Accepted);
    let event = match route.connect(Demand::Interactive).await {
        Ok(stream) => {
            let outcome = splice(client, stream, &open).await;
            let error = outcome.err().map(|error| error.to_string());
            ConnectionEvent::Closed { up: open.up.load(Relaxed), down: open.down.load(Relaxed), error }
        }
        Err(error) => ConnectionEvent::Failed(error),
    };
    drop(open);
    tell(&observer, event);
}

/// Until the Target closes or the client is gone. A client that only stops sending still gets its answer.
async fn splice(client: TcpStream, stream: impl AsyncRead + AsyncWrite, open: &Open<'_>) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_target, mut to_target) = split(stream);
    let upload = async {
        match pump(&mut from_client, &mut to_target, &[&open.up, &open.traffic.up]).await {
            // The Target has closed: what it said last is still being downloaded.
            Ok(()) | Err(Broken::Write(_)) => {}
            Err(Broken::Read(error)) => return Err(error),
        }
        to_target.shutdown().await?;
        std::future::pending().await
    };
    let download = async {
        pump(&mut from_target, &mut to_client, &[&open.down, &open.traffic.down]).await.map_err(Broken::into_inner)?;
        to_client.shutdown().await
    };
    select! {
        gone = upload => return gone,
        done = download => done?,
    }
    // Closing with unread bytes would reset the connection and take the last answer with it.
    drop(timeout(FAREWELL, copy(&mut from_client, &mut sink())).await);
    Ok(())
}

enum Broken {
    Read(io::Error),
    Write(io::Error),
}

impl Broken {
    fn into_inner(self) -> io::Error {
        match self {
            Self::Read(error) | Self::Write(error) => error,
        }
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    counters: &[&AtomicU64],
) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await.map_err(Broken::Read)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await.map_err(Broken::Write)?;
        for counter in counters {
            counter.fetch_add(u64::try_from(length).unwrap_or(u64::MAX), Relaxed);
        }
    }
}

/// A connection that counts as open until it is dropped.
pub(crate) struct Open<'a> {
    traffic: &'a Traffic,
    up: AtomicU64,
    down: AtomicU64,
}

impl<'a> Open<'a> {
    pub(crate) fn begin(traffic: &'a Traffic) -> Self {
        traffic.accepted.fetch_add(1, Relaxed);
        traffic.open.fetch_add(1, Relaxed);
        Self { traffic, up: AtomicU64::new(0), down: AtomicU64::new(0) }
    }

    pub(crate) fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    pub(crate) fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }

    pub(crate) fn count_up(&self, bytes: usize) {
        count(bytes, [&self.up, &self.traffic.up]);
    }

    pub(crate) fn count_down(&self, bytes: usize) {
        count(bytes, [&self.down, &self.traffic.down]);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.traffic.open.fetch_sub(1, Relaxed);
    }
}

fn count(bytes: usize, counters: [&AtomicU64; 2]) {
    for counter in counters {
        counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }
}

fn tell(observer: &Observer, event: ConnectionEvent) {
    // Nobody listening is no reason to close a connection.
    drop(observer.events.send(event));
}
