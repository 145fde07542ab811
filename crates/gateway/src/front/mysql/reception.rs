//! A client's login on this side.

use std::io::{self, Cursor};

use bytes::Bytes;
use db_proto::mysql::{ErrPacket, Greeting, LoginRequest, ServerEvent, ServerLogin, ServerStart, Verifier};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, empty, join, split},
    time::timeout,
};

use super::words;
use crate::front::{
    Duplex, Shared, Visit,
    doors::Client,
    event::{Door, Reason, TurnedAway},
};

const BUFFER: usize = 4096;
/// What a client may send ahead while it is being logged in.
const MOST_AHEAD: usize = 64 * 1024;

/// A client that has proven who it is.
pub(crate) struct Guest {
    pub(crate) stream: Box<dyn Duplex>,
    pub(crate) request: LoginRequest,
    machine: ServerLogin,
    /// It came through the Unix socket, and is of this user.
    trusted: bool,
}

impl Guest {
    /// Returns when `client` has logged in.
    pub(crate) async fn receive(client: Client, greeting: Greeting, visit: &Visit) -> Result<Self, TurnedAway> {
        let trusted = client.door() == Door::Socket;
        // At the socket too: MariaDB's client of 11.4 and later leaves servers that have no TLS.
        let start = ServerStart { greeting, tls: true, seed: rand::random() };
        let stream: Box<dyn Duplex> = match client {
            #[cfg(unix)]
            Client::Socket(stream) => Box::new(stream),
            Client::Tcp(stream) => Box::new(stream),
        };
        let mut guest = Self { stream, request: LoginRequest::default(), machine: ServerLogin::new(start), trusted };
        let limit = visit.shared.config.limits.start_up;
        match timeout(limit, guest.converse(visit)).await {
            Ok(outcome) => outcome.map(|()| guest),
            Err(_) => {
                let message = format!("the client did not log in within {} s", limit.as_secs());
                Err(TurnedAway::new(Reason::Client, "08S01", message, None))
            }
        }
    }

    /// Has the client prove itself anew: `payload` is its `COM_CHANGE_USER`.
    pub(crate) async fn change_user(&mut self, payload: &[u8], visit: &Visit) -> Result<(), TurnedAway> {
        self.machine = ServerLogin::change_user(payload, self.request.capabilities, rand::random());
        self.converse(visit).await
    }

    /// Logs the client in with the payload of an OK packet.
    pub(crate) async fn accept(&mut self, ok: &[u8]) -> io::Result<()> {
        self.machine.accept(ok);
        self.transmit().await
    }

    /// What the client has sent behind its login.
    pub(crate) fn take_unread(&mut self) -> Bytes {
        self.machine.take_unread()
    }

    /// Tells the client why it is not logged in.
    pub(crate) async fn turn_away(&mut self, error: &ErrPacket) {
        self.machine.refuse(error);
        // Whether it listens is its own affair.
        drop(self.transmit().await);
        drop(self.stream.shutdown().await);
    }

    /// Returns when the client leaves while it waits.
    pub(crate) async fn leaves(&mut self) -> TurnedAway {
        let mut buffer = vec![0; BUFFER];
        let mut ahead = 0;
        while ahead < MOST_AHEAD {
            match self.stream.read(&mut buffer).await {
                Ok(0) => {
                    return TurnedAway::new(Reason::Client, "08S01", "the client left before it was logged in", None);
                }
                Ok(length) => {
                    ahead += length;
                    self.machine.receive(&buffer[..length]);
                }
                Err(cause) => return words::client_gone(&cause),
            }
        }
        std::future::pending().await
    }

    async fn converse(&mut self, visit: &Visit) -> Result<(), TurnedAway> {
        let mut buffer = vec![0; BUFFER];
        loop {
            self.transmit().await.map_err(|cause| words::client_gone(&cause))?;
            match self.machine.poll_event() {
                Some(ServerEvent::StartTls(early)) => self.encrypt(&visit.shared, early).await?,
                Some(ServerEvent::Asked(request)) => self.ask(*request, &visit.shared).await?,
                Some(ServerEvent::Proven) => {
                    if !self.trusted {
                        visit.shared.guard.right();
                    }
                    return Ok(());
                }
                Some(ServerEvent::WrongPassword { .. }) => {
                    visit.wrong_password().await;
                    return Err(self.refuse(visit.shared.wrong_password(&self.request.user)).await);
                }
                Some(ServerEvent::Failed(error)) => {
                    drop(self.stream.shutdown().await);
                    return Err(TurnedAway::new(Reason::Client, "08S01", error.to_string(), None));
                }
                None => match self.stream.read(&mut buffer).await.map_err(|cause| words::client_gone(&cause))? {
                    0 => self.machine.closed(),
                    length => self.machine.receive(&buffer[..length]),
                },
            }
        }
    }

    async fn ask(&mut self, request: LoginRequest, shared: &Shared) -> Result<(), TurnedAway> {
        // In `COM_CHANGE_USER` a client does not say again what it said at its login.
        let longest_packet = self.request.longest_packet.max(request.longest_packet);
        self.request = LoginRequest { longest_packet, ..request };
        if let Err(why) = shared.check_user(&self.request.user).and_then(|()| shared.check_ending()) {
            return Err(self.refuse(why).await);
        }
        if self.trusted {
            self.machine.trust();
        } else {
            self.machine.verify(Verifier::of(shared.local_password().expose().as_bytes()));
        }
        Ok(())
    }

    async fn refuse(&mut self, why: TurnedAway) -> TurnedAway {
        self.turn_away(&words::err_packet(&why, None)).await;
        why
    }

    async fn encrypt(&mut self, shared: &Shared, early: Bytes) -> Result<(), TurnedAway> {
        let (read, write) = split(std::mem::replace(&mut self.stream, Box::new(empty())));
        let joined = join(Cursor::new(early).chain(read), write);
        let encrypted = shared.acceptor().accept(joined).await;
        self.stream = Box::new(encrypted.map_err(|cause| {
            TurnedAway::new(Reason::Client, "08S01", format!("the client broke off the TLS handshake: {cause}"), None)
        })?);
        self.machine.tls_established();
        Ok(())
    }

    async fn transmit(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.machine.poll_transmit() {
            self.stream.write_all(&bytes).await?;
        }
        self.stream.flush().await
    }
}
