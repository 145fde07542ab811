//! The websocket service between a client and an SSM agent: what AWS keeps closed, as far as it can be seen from outside.
//!
//! A channel has two legs. The client's is a real websocket on loopback, opened with a token that works once and not for
//! long; the SSM agent's runs in this process. Frames pass unread, after the delay that was asked for. What is under way
//! when a leg is cut is lost.

mod client_leg;
mod limits;
mod session;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::ssm_agent;
use session::Session;

pub use crate::ssm_agent::Vpc;
pub use limits::SessionLimits;

/// The service with all its channels; clones share them. They end with the last clone.
#[derive(Clone)]
pub struct DataChannels {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

struct Shared {
    clock: Clock,
    config: AgentConfig,
    vpc: Vpc,
    address: SocketAddr,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    limits: watch::Sender<SessionLimits>,
    stop: CancellationToken,
}

/// How the SSM agent and the way to it behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Four numbers, as the agent says them in its handshake.
    pub agent_version: String,
    /// Whether the agent sleeps a millisecond after each message, as the real one does: about 0.7 MB/s.
    pub pacing: bool,
    /// From client to agent, and the same back.
    pub one_way_delay: Duration,
    /// From HandshakeComplete until the port is ready; messages in between are not acknowledged.
    pub port_start_delay: Duration,
    /// Until the agent is back after its leg was cut.
    pub reconnect_delay: Duration,
    /// Whether a leg is told to pause while the other one is absent.
    pub pauses_for_absent_leg: bool,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            agent_version: "3.3.1142.0".to_owned(),
            pacing: true,
            one_way_delay: Duration::ZERO,
            port_start_delay: Duration::from_millis(20),
            reconnect_delay: Duration::from_millis(100),
            pauses_for_absent_leg: true,
        }
    }
}

/// Where a session forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortProperties {
    /// As in `AWS-StartPortForwardingSessionToRemoteHost`; `None` for a port of the bastion itself.
    pub host: Option<String>,
    /// On that host.
    pub port: u16,
}

/// What StartSession and ResumeSession answer.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedChannel {
    /// `ws://127.0.0.1:PORT/v1/data-channel/SESSION?role=publish_subscribe`.
    pub stream_url: String,
    /// Opens the client's leg, once, within a minute.
    pub token_value: String,
}

impl fmt::Debug for OpenedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedChannel").field("stream_url", &self.stream_url).finish_non_exhaustive()
    }
}

/// One of a channel's two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The SSM agent's.
    Agent,
    /// The client's.
    Client,
}

impl DataChannels {
    /// Listens on a free port of 127.0.0.1. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Whatever binding a loopback port can fail with.
    pub fn start(clock: Clock, config: AgentConfig, vpc: Vpc) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            clock,
            config,
            vpc,
            address: listener.local_addr()?,
            sessions: Mutex::default(),
            limits: watch::Sender::default(),
            stop: stop.clone(),
        });
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&shared))));
        Ok(Self { shared, _stop: Arc::new(stop.drop_guard()) })
    }

    /// Starts a session: the SSM agent is told at once, the client comes with the token. A session of that name that is
    /// still open ends.
    pub fn open(&self, session_id: &str, properties: PortProperties) -> OpenedChannel {
        self.open_through(&self.shared.config.agent_version, session_id, properties)
    }

    /// The same through an SSM agent of another version.
    pub fn open_through(&self, agent_version: &str, session_id: &str, properties: PortProperties) -> OpenedChannel {
        self.terminate(session_id);
        let session =
            Session::start(session_id, &self.shared.config, self.shared.clock.clone(), self.shared.stop.child_token());
        let agent = ssm_agent::run(ssm_agent::Task {
            session_id: session_id.to_owned(),
            properties,
            config: AgentConfig { agent_version: agent_version.to_owned(), ..self.shared.config.clone() },
            clock: self.shared.clock.clone(),
            vpc: self.shared.vpc.clone(),
            connect: {
                let session = Arc::clone(&session);
                move || session.connect_agent()
            },
        });
        tokio::spawn({
            let session = Arc::clone(&session);
            async move {
                if let Some(output) = session.until_ended(agent).await {
                    session.end(&output);
                }
            }
        });
        let limits = self.shared.limits.subscribe();
        tokio::spawn(limits::enforce(Arc::clone(&session), self.shared.clock.clone(), limits));
        self.shared.sessions().insert(session_id.to_owned(), Arc::clone(&session));
        self.opened(&session)
    }

    /// A new token for a session that is open; `None` when it is over or never was.
    pub fn resume(&self, session_id: &str) -> Option<OpenedChannel> {
        self.shared.open_session(session_id).map(|session| self.opened(&session))
    }

    /// Ends a session in good order. Whether there was one to end.
    pub fn terminate(&self, session_id: &str) -> bool {
        self.close_with_text(session_id, "")
    }

    /// Ends a session with a reason for the person, as the service does after an idle time.
    pub fn close_with_text(&self, session_id: &str, text: &str) -> bool {
        self.shared.open_session(session_id).is_some_and(|session| session.end(text))
    }

    /// From now on sessions and websockets end by themselves.
    pub fn limit(&self, limits: SessionLimits) {
        self.shared.limits.send_replace(limits);
    }

    /// The network the SSM agents stand in.
    pub(crate) fn vpc(&self) -> &Vpc {
        &self.shared.vpc
    }

    /// Whether the session is known and not over.
    pub fn is_open(&self, session_id: &str) -> bool {
        self.shared.open_session(session_id).is_some()
    }

    /// Breaks one leg's connection without a word. What is under way is lost. The SSM agent comes back by itself.
    pub fn cut(&self, session_id: &str, side: Side) {
        self.each(session_id, |session| session.cut(side));
    }

    /// Closes the client's websocket with code 1000 and "Bye", as the service does about every hour.
    pub fn say_bye(&self, session_id: &str) {
        self.each(session_id, Session::say_bye);
    }

    /// Sends `pause_publication` to one leg.
    pub fn pause_publication(&self, session_id: &str, side: Side) {
        self.each(session_id, |session| session.publication(side, false));
    }

    /// Sends `start_publication` to one leg.
    pub fn start_publication(&self, session_id: &str, side: Side) {
        self.each(session_id, |session| session.publication(side, true));
    }

    fn each(&self, session_id: &str, act: impl FnOnce(&Session)) {
        if let Some(session) = self.shared.open_session(session_id) {
            act(&session);
        }
    }

    fn opened(&self, session: &Session) -> OpenedChannel {
        OpenedChannel {
            stream_url: format!(
                "ws://{}{}{}?role=publish_subscribe",
                self.shared.address,
                client_leg::PATH,
                session.id()
            ),
            token_value: session.issue_token(),
        }
    }
}

impl Shared {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_session(&self, session_id: &str) -> Option<Arc<Session>> {
        self.sessions().get(session_id).filter(|session| session.is_open()).cloned()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // A failed accept concerns one client; pausing keeps a full descriptor table from spinning.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let stop = shared.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(client_leg::serve(stream, Arc::clone(&shared))));
    }
}
