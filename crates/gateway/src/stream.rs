//! One connection through a Tunnel.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ssm_proto::{Read, StreamId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::session::{Session, now};

/// A byte stream to the Target. It survives lost websockets; dropping it closes it.
///
/// Reading gives `ConnectionRefused` if the SSM agent could not reach the Target, and `ConnectionReset` if bytes were lost
/// because they were not read for too long. Shutting down the writing side leaves the reading side open.
#[derive(Debug)]
pub struct TunnelStream {
    session: Arc<Session>,
    id: StreamId,
}

impl TunnelStream {
    pub(crate) fn new(session: Arc<Session>, id: StreamId) -> Self {
        Self { session, id }
    }

    /// Nothing more comes because the session has ended, not because the Target has closed.
    pub(crate) fn has_lost_session(&self) -> bool {
        self.session.lock().over
    }

    /// The end of the session as an error of this stream, in the service's words where it said why.
    pub(crate) fn lost_session(&self) -> io::Error {
        let words = match self.session.lock().last_words.as_str() {
            "" => "the session ended before the database answered".to_owned(),
            words => format!("AWS closed the session: {words}"),
        };
        io::Error::new(io::ErrorKind::ConnectionAborted, words)
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.session.lock();
        match state.channel.read(self.id, buffer.initialize_unfilled()) {
            Read::Bytes(length) => {
                buffer.advance(length);
                Poll::Ready(Ok(()))
            }
            Read::Blocked => {
                state.readers.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
            Read::Finished if state.refused.contains(&self.id) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "the bastion could not connect to the database: check host, port and security groups",
            ))),
            Read::Finished => Poll::Ready(Ok(())),
            Read::Reset => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "more arrived than can be kept while it was not read",
            ))),
        }
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.session.lock();
        match state.channel.write(self.id, bytes) {
            Ok(0) if !bytes.is_empty() => {
                state.writers.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
            Ok(taken) => {
                drop(state);
                self.session.wake_driver();
                Poll::Ready(Ok(taken))
            }
            Err(ended) => Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, ended))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.lock().channel.finish(self.id, now());
        self.session.wake_driver();
        Poll::Ready(Ok(()))
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        state.channel.reset(self.id);
        state.readers.remove(&self.id);
        state.writers.remove(&self.id);
        state.refused.remove(&self.id);
        drop(state);
        self.session.wake_driver();
    }
}
