//! The agent's end.

use std::{fs, io};

use interprocess::{
    local_socket::{
        ConnectOptions, GenericFilePath, ListenerOptions,
        tokio::{Listener, Stream, prelude::*},
    },
    os::unix::local_socket::ListenerOptionsExt as _,
};

use crate::{
    Answer, ClientMessage, IpcError, Outcome, PROTOCOL_VERSION, Reader, Request, ServerMessage, SocketPath, Writer,
    place::own_uid,
};

/// The bound socket. Dropping it removes the socket's file.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    path: SocketPath,
}

impl Server {
    /// Binds the socket (0600, in a folder of 0700). A file that a crashed agent left is replaced, but only when nobody
    /// answers there.
    ///
    /// # Errors
    /// [`IpcError::AnotherAgent`] when somebody answers; [`IpcError::UnsafeFolder`] when others could reach the socket.
    pub async fn bind(path: &SocketPath) -> Result<Self, IpcError> {
        path.check_length()?;
        path.prepare_folder()?;
        remove_when_stale(path).await?;
        match ListenerOptions::new().name(name(path)?).mode(0o600).create_tokio() {
            Ok(listener) => Ok(Self { listener, path: path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(another_agent(path)),
            Err(error) => Err(io_error("bind", path, error)),
        }
    }

    /// The next guest of the same user; others are hung up on and left out.
    ///
    /// # Errors
    /// [`IpcError::Io`] when the system cannot accept (too many open files); wait a moment before the next try.
    pub async fn accept(&self) -> Result<Connection, IpcError> {
        loop {
            let stream = self.listener.accept().await.map_err(|source| io_error("accept at", &self.path, source))?;
            match check_peer(&stream, &self.path) {
                Ok(()) => return Ok(Connection::new(stream)),
                Err(error) => tracing::warn!(%error, "a guest was turned away"),
            }
        }
    }
}

/// One guest.
#[derive(Debug)]
pub struct Connection {
    /// What the guest asks.
    pub reader: Reader<ClientMessage>,
    /// What the guest is told.
    pub writer: Writer<ServerMessage>,
}

impl Connection {
    fn new(stream: Stream) -> Self {
        let (source, sink) = tokio::io::split(stream);
        Self { reader: Reader::new(source), writer: Writer::new(sink) }
    }

    /// Reads the guest's Hello and answers it. It waits as long as the guest is silent: run it in the guest's own task.
    ///
    /// # Errors
    /// [`IpcError::VersionMismatch`] after the guest has been told so; [`IpcError::Closed`] when it went away.
    pub async fn welcome(&mut self) -> Result<(), IpcError> {
        let message = self.reader.next().await?.ok_or(IpcError::Closed)?;
        let theirs = if let Request::Hello { version } = message.request { version } else { 0 };
        let outcome = Outcome::Ok(Answer::Hello { version: PROTOCOL_VERSION });
        self.writer.send(&ServerMessage::Reply { id: message.id, outcome }).await?;
        if theirs == PROTOCOL_VERSION {
            Ok(())
        } else {
            Err(IpcError::VersionMismatch { ours: PROTOCOL_VERSION, theirs })
        }
    }
}

pub(crate) async fn connect(path: &SocketPath) -> Result<Stream, IpcError> {
    path.check_length()?;
    let stream = match ConnectOptions::new().name(name(path)?).connect_tokio().await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(IpcError::NoAgent { path: path.as_path().to_owned() });
        }
        Err(error) => return Err(io_error("connect to", path, error)),
    };
    check_peer(&stream, path)?;
    Ok(stream)
}

async fn remove_when_stale(path: &SocketPath) -> Result<(), IpcError> {
    match connect(path).await {
        Ok(_) => Err(another_agent(path)),
        Err(IpcError::NoAgent { .. }) => match fs::remove_file(path.as_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, error)),
            Ok(()) | Err(_) => Ok(()),
        },
        Err(error) => Err(error),
    }
}

fn check_peer(stream: &Stream, path: &SocketPath) -> Result<(), IpcError> {
    let peer = stream.peer_creds().map_err(|source| io_error("ask who is behind", path, source))?;
    if is_same_user(peer.euid(), own_uid()) {
        Ok(())
    } else {
        Err(IpcError::WrongUser { path: path.as_path().to_owned() })
    }
}

/// A peer that the system does not name is a stranger.
fn is_same_user(peer: Option<u32>, own: u32) -> bool {
    peer == Some(own)
}

fn name(path: &SocketPath) -> Result<interprocess::local_socket::Name<'_>, IpcError> {
    path.as_path().to_fs_name::<GenericFilePath>().map_err(|source| io_error("address", path, source))
}

fn another_agent(path: &SocketPath) -> IpcError {
    IpcError::AnotherAgent { path: path.as_path().to_owned() }
}

fn io_error(doing: &'static str, path: &SocketPath, source: io::Error) -> IpcError {
    IpcError::Io { doing, path: path.as_path().to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_is_let_in() {
        assert!(is_same_user(Some(1000), 1000));
        assert!(!is_same_user(Some(1001), 1000));
        assert!(!is_same_user(Some(0), 1000), "root has other ways, and needs none of ours");
        assert!(!is_same_user(None, 1000), "a nameless peer is a stranger");
    }
}
