//! One JSON text a line, never longer than the limit.

use std::marker::PhantomData;

use interprocess::local_socket::tokio::Stream;
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};

use crate::IpcError;

/// The most bytes of one message, line feed included. A Snapshot of a thousand Targets has about 1 MiB.
pub const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// The receiving half of a connection.
#[derive(Debug)]
pub struct Reader<T> {
    source: BufReader<ReadHalf<Stream>>,
    line: Vec<u8>,
    message: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Reader<T> {
    pub(crate) fn new(source: ReadHalf<Stream>) -> Self {
        Self { source: BufReader::new(source), line: Vec::new(), message: PhantomData }
    }

    /// The next message; none when the other end hung up between two messages. Dropping the future loses nothing.
    ///
    /// # Errors
    /// After [`IpcError::Malformed`] the next line can still be read; after any other error the connection is useless.
    pub async fn next(&mut self) -> Result<Option<T>, IpcError> {
        loop {
            let chunk = self.source.fill_buf().await.map_err(IpcError::Broken)?;
            if chunk.is_empty() {
                return if self.line.is_empty() { Ok(None) } else { Err(IpcError::Closed) };
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(chunk.len(), |at| at + 1);
            if self.line.len() + taken > MESSAGE_LIMIT {
                return Err(IpcError::TooLong { limit: MESSAGE_LIMIT });
            }
            self.line.extend(chunk.iter().take(taken));
            self.source.consume(taken);
            if end.is_some() {
                let message = serde_json::from_slice(&self.line).map_err(IpcError::Malformed);
                self.line.clear();
                return message.map(Some);
            }
        }
    }
}

/// The sending half of a connection.
#[derive(Debug)]
pub struct Writer<T> {
    sink: WriteHalf<Stream>,
    message: PhantomData<fn(&T)>,
}

impl<T: Serialize> Writer<T> {
    pub(crate) fn new(sink: WriteHalf<Stream>) -> Self {
        Self { sink, message: PhantomData }
    }

    /// Sends one message and waits until the system has taken it.
    ///
    /// # Errors
    /// [`IpcError::TooLong`] before anything is sent; [`IpcError::Broken`] when the other end is gone.
    pub async fn send(&mut self, message: &T) -> Result<(), IpcError> {
        let mut line = serde_json::to_vec(message).map_err(IpcError::Malformed)?;
        line.push(b'\n');
        if line.len() > MESSAGE_LIMIT {
            return Err(IpcError::TooLong { limit: MESSAGE_LIMIT });
        }
        self.sink.write_all(&line).await.map_err(IpcError::Broken)?;
        self.sink.flush().await.map_err(IpcError::Broken)
    }
}
