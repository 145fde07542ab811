//! How a Gateway reaches its Target.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    direct::Direct,
    pool::{Pool, PoolStream},
    tunnel::TunnelError,
};

/// What a connection is for, as far as whoever asks for it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// A person or a program that waits for answers. It moves to no session that a bulk copy fills.
    #[default]
    Interactive,
    /// A copy of much data, as `pg_dump` makes: it gets a session of its own.
    Bulk,
}

/// How a Gateway reaches its Target.
#[derive(Debug)]
pub enum Route {
    /// Through Bastions, by Session Manager sessions.
    Pool(Pool),
    /// By the network this machine is in.
    Direct(Direct),
}

impl Route {
    /// A new connection to the Target.
    ///
    /// # Errors
    /// [`TunnelError`]; [`TunnelError::Direct`] comes from [`Direct`] alone.
    pub async fn connect(&self, demand: Demand) -> Result<RouteStream, TunnelError> {
        match self {
            Self::Pool(pool) => pool.connect(demand).await.map(|stream| RouteStream(Way::Pool(stream))),
            Self::Direct(direct) => direct.connect().await.map(|stream| RouteStream(Way::Direct(stream))),
        }
    }

    /// The machine woke or its network changed: see [`crate::Tunnel::reconnect`].
    pub fn reconnect(&self) {
        match self {
            Self::Pool(pool) => pool.reconnect(),
            Self::Direct(_) => {}
        }
    }

    /// Ends every session; connections end with them. Returns within seconds. Connections of a [`Direct`] are left to those
    /// who have them.
    pub async fn close(self) {
        match self {
            Self::Pool(pool) => pool.close().await,
            Self::Direct(_) => {}
        }
    }
}

impl From<Pool> for Route {
    fn from(pool: Pool) -> Self {
        Self::Pool(pool)
    }
}

impl From<Direct> for Route {
    fn from(direct: Direct) -> Self {
        Self::Direct(direct)
    }
}

/// A byte stream to the Target; dropping it closes it. Errors of reading are those of [`crate::TunnelStream`] or of TCP.
#[derive(Debug)]
pub struct RouteStream(Way);

#[derive(Debug)]
enum Way {
    Pool(PoolStream),
    Direct(TcpStream),
}

impl AsyncRead for RouteStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Way::Pool(stream) => Pin::new(stream).poll_read(cx, buffer),
            Way::Direct(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for RouteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Way::Pool(stream) => Pin::new(stream).poll_write(cx, bytes),
            Way::Direct(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Way::Pool(stream) => Pin::new(stream).poll_flush(cx),
            Way::Direct(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Way::Pool(stream) => Pin::new(stream).poll_shutdown(cx),
            Way::Direct(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
