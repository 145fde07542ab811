//! A byte path to a Target that outlives websockets and sessions.

mod keeper;

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use ssm_proto::{AgentVersion, Config, Refusal};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    dial::{DialError, Proxy},
    direct::DirectError,
    pool::MoveCause,
    sessions::{SessionError, Sessions},
    stream::TunnelStream,
};
use keeper::{Keeper, Request};

/// How a Tunnel behaves.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Of the data channel.
    pub channel: Config,
    /// From dialling to an open websocket.
    pub dial_timeout: Duration,
    /// Silence after which the service is pinged.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take.
    pub pong_deadline: Duration,
    /// How the service is reached.
    pub proxy: Proxy,
    /// For `wss:`; with `None` the operating system's roots decide.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self {
            channel: Config::default(),
            dial_timeout: Duration::from_secs(15),
            ping_interval: Duration::from_secs(25),
            pong_deadline: Duration::from_secs(10),
            proxy: Proxy::default(),
            tls: None,
        }
    }
}

/// What happens to a Tunnel, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelEvent {
    /// AWS has a session: whoever keeps books notes it, so that none is left behind unseen.
    Started {
        /// As AWS names it.
        session_id: String,
    },
    /// Bytes flow.
    Opened {
        /// As AWS names it.
        session_id: String,
        /// Of the SSM agent.
        agent_version: AgentVersion,
        /// From the session document, to be shown to the person; often empty.
        customer_message: String,
    },
    /// The websocket is lost, or could not be had again. Connections wait.
    Broken {
        /// As AWS names it.
        session_id: String,
        /// In words.
        cause: String,
    },
    /// There is a websocket again.
    Healed {
        /// As AWS names it.
        session_id: String,
    },
    /// A connection moved to another session before its Target had said anything.
    Moved {
        /// Session it was in, as AWS names it.
        from: String,
        /// Session it is in.
        to: String,
        /// Why.
        cause: MoveCause,
    },
    /// The SSM agent could not reach the Target for one connection.
    ConnectRefused {
        /// As AWS names it.
        session_id: String,
    },
    /// One connection was given up because its program did not read it.
    Overflowed {
        /// As AWS names it.
        session_id: String,
    },
    /// The session has ended, its connections with it. The next connection starts a new one.
    Ended {
        /// As AWS names it.
        session_id: String,
        /// Why.
        cause: EndCause,
        /// Set if it still exists at AWS because it could not be ended there.
        unterminated: Option<SessionError>,
    },
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndCause {
    /// The service closed it: idle time-out, maximum duration, ended by someone, or the SSM agent failed.
    #[error("AWS closed the session: {}", if .reason.is_empty() { "it gave no reason" } else { .reason })]
    ByService {
        /// In the service's words; empty after a normal end.
        reason: String,
    },
    /// The Tunnel was closed here.
    #[error("the tunnel was closed")]
    Closed,
    /// It could not be resumed because it no longer exists.
    #[error("the session has ended while it was not connected")]
    Gone,
    /// It is of no use.
    #[error(transparent)]
    Refused(Refusal),
}

/// Why there is no Tunnel, or no connection through it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TunnelError {
    /// The Tunnel was closed.
    #[error("the tunnel was closed")]
    Closed,
    /// The Target could not be dialled, on a route without sessions.
    #[error(transparent)]
    Direct(DirectError),
    /// The service could not be reached.
    #[error(transparent)]
    Dial(Arc<DialError>),
    /// The session ended before bytes could flow.
    #[error(transparent)]
    Ended(EndCause),
    /// AWS gave no session.
    #[error(transparent)]
    Start(SessionError),
}

/// Where events of a Tunnel go.
pub(crate) type Tell = Box<dyn Fn(TunnelEvent) + Send + Sync>;

/// Asks a Tunnel for connections.
#[derive(Clone, Debug)]
pub(crate) struct Door(mpsc::Sender<Request>);

impl Door {
    pub(crate) async fn connect(&self) -> Result<TunnelStream, TunnelError> {
        let (reply, stream) = oneshot::channel();
        self.ask(Request::Connect(reply), stream).await
    }

    async fn ask<T>(
        &self,
        request: Request,
        answer: oneshot::Receiver<Result<T, TunnelError>>,
    ) -> Result<T, TunnelError> {
        self.0.send(request).await.map_err(|_| TunnelError::Closed)?;
        answer.await.unwrap_or(Err(TunnelError::Closed))
    }
}

/// One byte path to a Target. Dropping it ends the session in the background; [`Tunnel::close`] waits for that.
#[derive(Debug)]
pub struct Tunnel {
    door: Door,
    nudge: Arc<Notify>,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Starts a session and returns once its handshake is complete.
    ///
    /// # Errors
    /// [`TunnelError`]; a session that was started for it is ended again.
    pub async fn open(
        sessions: impl Sessions,
        config: TunnelConfig,
        events: mpsc::UnboundedSender<TunnelEvent>,
    ) -> Result<Self, TunnelError> {
        // Nobody listening is no reason to stop carrying bytes.
        let tell = Box::new(move |event| drop(events.send(event)));
        Self::start(sessions, config, tell, false, CancellationToken::new()).await
    }

    /// Of one session alone, ended by `stop`: when it has ended, connecting gives [`TunnelError::Closed`].
    pub(crate) async fn open_once(
        sessions: impl Sessions,
        config: TunnelConfig,
        tell: Tell,
        stop: CancellationToken,
    ) -> Result<Self, TunnelError> {
        Self::start(sessions, config, tell, true, stop).await
    }

    async fn start(
        sessions: impl Sessions,
        config: TunnelConfig,
        tell: Tell,
        once: bool,
        stop: CancellationToken,
    ) -> Result<Self, TunnelError> {
        let (requests, inbox) = mpsc::channel(64);
        let nudge = Arc::new(Notify::new());
        let keeper = Keeper::new(sessions, config, tell, once, Arc::clone(&nudge), stop.clone());
        let tunnel =
            Self { door: Door(requests), nudge, stop: stop.drop_guard(), task: tokio::spawn(keeper.keep(inbox)) };
        let (reply, opened) = oneshot::channel();
        match tunnel.door.ask(Request::Open(reply), opened).await {
            Ok(()) => Ok(tunnel),
            Err(error) => {
                tunnel.close().await;
                Err(error)
            }
        }
    }

    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// A new connection to the Target. Waits for a new session if the old one is gone; otherwise it may be written to at once.
    ///
    /// # Errors
    /// [`TunnelError`].
    pub async fn connect(&self) -> Result<TunnelStream, TunnelError> {
        self.door.connect().await
    }

    /// The machine woke or its network changed: replaces the websocket at once instead of waiting for silence to be noticed.
    pub fn reconnect(&self) {
        self.nudge.notify_one();
    }

    /// Ends the session: tells the SSM agent, then AWS. Returns within seconds even if neither answers.
    pub async fn close(self) {
        let Self { task, stop, .. } = self;
        drop(stop);
        // The task catches its own errors; a panic in it has been reported by the runtime.
        drop(task.await);
    }
}
