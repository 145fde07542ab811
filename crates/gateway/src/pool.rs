//! Several sessions to one Target, so that a bulk copy delays nobody.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};

use crate::{
    route::Demand,
    sessions::Sessions,
    stream::TunnelStream,
    tunnel::{Tunnel, TunnelConfig, TunnelError, TunnelEvent},
};

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
            patience: Duration::from_secs(3),
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
#[derive(Debug)]
pub struct Pool {
    tunnel: Tunnel,
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
        Ok(Self { tunnel: Tunnel::open(sessions, config.tunnel, events).await? })
    }

    /// A new connection to the Target, by the session that suits `demand`.
    ///
    /// # Errors
    /// [`TunnelError`].
    pub async fn connect(&self, _demand: Demand) -> Result<PoolStream, TunnelError> {
        Ok(PoolStream { stream: self.tunnel.connect().await? })
    }

    /// The machine woke or its network changed: see [`Tunnel::reconnect`].
    pub fn reconnect(&self) {
        self.tunnel.reconnect();
    }

    /// Ends every session. Returns within seconds even if nobody answers.
    pub async fn close(self) {
        self.tunnel.close().await;
    }
}

/// A byte stream to the Target, like [`TunnelStream`].
#[derive(Debug)]
pub struct PoolStream {
    stream: TunnelStream,
}

impl AsyncRead for PoolStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PoolStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
