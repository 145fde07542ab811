//! Several sessions to one Target, so that a bulk copy delays nobody.

mod desk;
mod members;
mod meter;
mod placement;
mod stream;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    route::Demand,
    session::now,
    sessions::Sessions,
    tunnel::{TunnelConfig, TunnelError, TunnelEvent},
};
use desk::{Denied, Desk};
use members::Members;
use placement::Placement;

pub use placement::MoveCause;
pub use stream::PoolStream;

/// How a [`Pool`] behaves.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Of each session.
    pub tunnel: TunnelConfig,
    /// Sessions at a time, at least one.
    pub most_sessions: usize,
    /// How long a connection waits for a session that no bulk copy fills before it shares one.
    pub patience: Duration,
    /// After so long without connections a session ends, unless it is the first or the only one that no bulk copy fills.
    pub idle: Duration,
    /// Who speaks first once connected.
    pub first_word: FirstWord,
    /// How long the Target's first byte may take before a connection moves to a fresh session.
    pub first_byte: Duration,
    /// How often one connection moves at most.
    pub most_moves: u32,
    /// A session this old may have an address of the Target that is out of date, as after a failover.
    pub stale_after: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            tunnel: TunnelConfig::default(),
            most_sessions: 8,
            patience: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            first_word: FirstWord::Client,
            first_byte: Duration::from_secs(4),
            most_moves: 2,
            stale_after: Duration::from_secs(60),
        }
    }
}

/// Who speaks first once connected: when a silent Target is a sign of a stalled session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstWord {
    /// As with PostgreSQL: the Target's answer is due after the client's first bytes.
    Client,
    /// As with MySQL: the Target's greeting is due after connecting.
    Target,
}

/// Sessions to one Target. Dropping it ends them in the background; [`Pool::close`] waits for that.
///
/// Interactive connections share one session. A session through which more than 128 KiB went within the last second is one
/// that a bulk copy fills: new connections get another one, which is started ahead of them, at most two a second, and ends
/// when it is idle. As long as the Target has not said anything, a connection moves to a fresh session if its own ends or
/// stalls. A session that ended is replaced when the next connection comes.
///
/// Memory is bounded by [`PoolConfig::most_sessions`] times what [`crate::Config`] allows a session, and 16 KiB for each
/// connection that has heard nothing from the Target yet; an idle connection takes less than a KiB here.
#[derive(Debug)]
pub struct Pool {
    desk: Arc<Desk>,
    first_word: FirstWord,
    first_byte: Duration,
    nudge: Arc<Notify>,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Pool {
    /// Starts the first session and returns once its handshake is complete. What happens to each session goes to `events`.
    ///
    /// # Errors
    /// [`TunnelError`]; a session that was started for it is ended again.
    pub async fn open(
        sessions: impl Sessions,
        config: PoolConfig,
        events: mpsc::UnboundedSender<TunnelEvent>,
    ) -> Result<Self, TunnelError> {
        let (placement, first) = Placement::new(&config, now());
        let desk = Desk::new(placement, events);
        let (nudge, token) = (Arc::new(Notify::new()), CancellationToken::new());
        let stop = token.clone().drop_guard();
        let mut members = Members::new(sessions, config.tunnel, Arc::clone(&desk), Arc::clone(&nudge), token);
        members.open_first(first).await?;
        let task = tokio::spawn(members.keep());
        Ok(Self { desk, first_word: config.first_word, first_byte: config.first_byte, nudge, stop, task })
    }

    /// A new connection to the Target, by the session that suits `demand`.
    ///
    /// # Errors
    /// [`TunnelError`].
    pub async fn connect(&self, demand: Demand) -> Result<PoolStream, TunnelError> {
        match self.desk.seat(demand).open().await {
            Ok((seated, stream)) => Ok(PoolStream::new(seated, stream, self.first_word, self.first_byte)),
            Err(Denied::Refused(error)) => Err(error),
            Err(Denied::Stay) => Err(TunnelError::Closed),
        }
    }

    /// Sessions that are open or being started.
    pub fn sessions(&self) -> usize {
        self.desk.sessions()
    }

    /// The machine woke or its network changed: see [`crate::Tunnel::reconnect`].
    pub fn reconnect(&self) {
        self.nudge.notify_one();
    }

    /// Ends every session. Returns within seconds even if nobody answers.
    pub async fn close(self) {
        let Self { stop, task, .. } = self;
        drop(stop);
        // The task catches its own errors; a panic in it has been reported by the runtime.
        drop(task.await);
    }
}
