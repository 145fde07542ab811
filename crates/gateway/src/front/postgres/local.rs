//! The login of a client at this machine.

use std::{io, mem, time::Duration};

use db_proto::postgres::{CancelKey, LoggedIn, ScramVerifier, ServerEvent, ServerLogin, Startup, TlsOffer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, empty},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    super::{
        Shared, Visit,
        certificate::ALPN_POSTGRESQL,
        doors::Client,
        event::{Reason, TurnedAway},
        upstream::UpstreamStream,
    },
    Desk, words,
};

/// First byte of a TLS record: a client that opens with TLS directly (`sslnegotiation=direct`).
const TLS_RECORD: u8 = 0x16;
/// For a client that is turned away to take its last words.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// What a client may send before it is logged in; none does, but some might.
const MOST_AHEAD: usize = 64 * 1024;

/// A client that came in.
pub(super) enum Arrival {
    /// To cancel another one's query.
    Cancel(CancelKey),
    /// To be logged in, and it may.
    Client(Box<Local>, Startup),
}

/// The client's side of a connection.
pub(super) struct Local {
    stream: UpstreamStream,
    machine: ServerLogin,
}

/// Logs a client in at this machine. One that is turned away has been told when this returns.
pub(super) async fn arrive(client: Client, visit: &Visit, desk: &Desk) -> Result<Arrival, TurnedAway> {
    let shared = &*visit.shared;
    let until = Instant::now() + shared.config.limits.start_up;
    let verifier = match &client {
        #[cfg(unix)]
        Client::Socket(_) => None,
        Client::Tcp(_) => Some(desk.verifier(&shared.local_password())),
    };
    let mut local = timeout_at(until, Local::open(client, shared)).await.map_err(|_| words::stalled())??;
    match timeout_at(until, local.log_in(shared, verifier.as_ref())).await {
        Ok(Ok(Step::Cancel(key))) => Ok(Arrival::Cancel(key)),
        Ok(Ok(Step::Enter(startup))) => Ok(Arrival::Client(Box::new(local), startup)),
        Ok(Err(why)) => {
            if why.reason == Reason::LocalPassword {
                visit.wrong_password().await;
            }
            local.turn_away(&why).await;
            Err(why)
        }
        Err(_) => {
            let why = words::stalled();
            local.turn_away(&why).await;
            Err(why)
        }
    }
}

enum Step {
    Cancel(CancelKey),
    Enter(Startup),
}

impl Local {
    async fn open(client: Client, shared: &Shared) -> Result<Self, TurnedAway> {
        match client {
            #[cfg(unix)]
            Client::Socket(stream) => {
                Ok(Self { stream: Box::new(stream), machine: ServerLogin::new(TlsOffer::Decline) })
            }
            Client::Tcp(stream) if opens_with_tls(&stream).await.map_err(|error| left(&error))? => {
                let stream = shared.acceptor().accept(stream).await.map_err(|error| words::no_local_tls(&error))?;
                // As the server does: whoever may be misled into speaking another protocol offers no `postgresql`.
                if stream.get_ref().1.alpn_protocol() != Some(ALPN_POSTGRESQL) {
                    return Err(words::no_alpn());
                }
                Ok(Self { stream: Box::new(stream), machine: ServerLogin::encrypted() })
            }
            Client::Tcp(stream) => Ok(Self { stream: Box::new(stream), machine: ServerLogin::new(TlsOffer::Accept) }),
        }
    }

    /// Until the client may enter, or goes.
    async fn log_in(&mut self, shared: &Shared, verifier: Option<&ScramVerifier>) -> Result<Step, TurnedAway> {
        let mut entering = None;
        loop {
            match self.next().await.map_err(|error| left(&error))? {
                ServerEvent::StartTls => self.encrypt(shared.acceptor()).await?,
                ServerEvent::Cancel(key) => return Ok(Step::Cancel(key)),
                ServerEvent::Startup(startup) => {
                    shared.check_user(startup.parameters.user())?;
                    shared.check_ending()?;
                    match verifier {
                        Some(verifier) => self.machine.ask_scram(verifier, rand::random()),
                        None => return Ok(Step::Enter(startup)),
                    }
                    entering = Some(startup);
                }
                ServerEvent::PasswordProven => {
                    shared.guard.right();
                    return entering.map(Step::Enter).ok_or_else(words::stalled);
                }
                ServerEvent::PasswordWrong | ServerEvent::Password(_) => {
                    let user = entering.as_ref().map(|startup| startup.parameters.user());
                    return Err(shared.wrong_password(user.unwrap_or_default()));
                }
                ServerEvent::Failed(error) => return Err(words::broken_protocol(&error)),
            }
        }
    }

    async fn encrypt(&mut self, acceptor: TlsAcceptor) -> Result<(), TurnedAway> {
        let stream = mem::replace(&mut self.stream, Box::new(empty()));
        let stream = acceptor.accept(stream).await.map_err(|error| words::no_local_tls(&error))?;
        self.stream = Box::new(stream);
        self.machine.tls_established();
        Ok(())
    }

    /// Returns when the client has gone, while it is waited for something else. What it sends meanwhile is kept for later.
    pub(super) async fn left(&mut self) -> TurnedAway {
        let mut buffer = [0; 1024];
        let mut ahead = 0;
        while ahead < MOST_AHEAD {
            match self.stream.read(&mut buffer).await {
                Ok(0) => return words::client_left("it did not wait for the database"),
                Ok(length) => {
                    ahead += length;
                    self.machine.receive(&buffer[..length]);
                }
                Err(error) => return left(&error),
            }
        }
        std::future::pending().await
    }

    /// Tells the client that it is logged in; what it has sent ahead goes to the Target.
    pub(super) async fn accept(
        mut self,
        session: &LoggedIn,
        target: &mut UpstreamStream,
    ) -> io::Result<UpstreamStream> {
        self.machine.accept(session);
        timeout(LAST_WORDS, self.flush()).await??;
        let ahead = self.machine.take_unread();
        if !ahead.is_empty() {
            target.write_all(&ahead).await?;
            target.flush().await?;
        }
        Ok(self.stream)
    }

    /// Tells the client why it is not logged in, as far as it listens.
    pub(super) async fn turn_away(&mut self, why: &TurnedAway) {
        self.machine.refuse(&words::error_response(why));
        let telling = async {
            self.flush().await?;
            self.stream.shutdown().await?;
            // Closing with unread bytes would reset the connection and take the last words with it.
            tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await
        };
        drop(timeout(LAST_WORDS, telling).await);
    }

    async fn next(&mut self) -> io::Result<ServerEvent> {
        let mut buffer = [0; 4096];
        loop {
            self.flush().await?;
            if let Some(event) = self.machine.poll_event() {
                return Ok(event);
            }
            match self.stream.read(&mut buffer).await? {
                0 => self.machine.closed(),
                length => self.machine.receive(&buffer[..length]),
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if let Some(bytes) = self.machine.poll_transmit() {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }
}

async fn opens_with_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first == [TLS_RECORD])
}

fn left(error: &io::Error) -> TurnedAway {
    words::client_left(&error.to_string())
}
