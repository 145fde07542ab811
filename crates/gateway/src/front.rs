//! The login gateway: clients log in here with a local password, and the Front logs in to the Target for them.
//!
//! A client sees an ordinary server of its engine at an address of this machine. It never sees a DbAuthToken or a secret:
//! those are asked of [`Logins`] for each connection and spoken upstream alone, over TLS verified against the Target's real
//! name. Nothing is opened upstream for a client that has not logged in. After the login bytes pass as they are.

mod certificate;
mod config;
mod doors;
mod ending;
mod event;
mod guard;
mod logins;
mod mysql;
mod postgres;
mod splice;
mod upstream;

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use model::Engine;
use secrets::Secret;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Duration, Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::connections::{Open, Traffic};
use certificate::LocalCertificate;
use doors::Client;
use ending::EndingWatch;
use guard::Guard;
use upstream::{Reach, UpstreamTls};

pub use certificate::CertificateError;
pub use config::{FrontConfig, FrontLimits, MysqlSettings};
pub use doors::{DoorError, Doors};
pub use ending::Ending;
pub use event::{Door, FrontEvent, Reason, TurnedAway};
pub use logins::{Credential, Logins, NoCredential, Origin};
pub use upstream::{Duplex, Upstream, UpstreamStream};

/// After a failed accept, most often for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// For connections to say farewell when the Front closes.
const CLOSING: Duration = Duration::from_secs(4);

/// A local server in front of one Target. Dropping it breaks its connections off; [`Front::close`] ends them in good order.
#[derive(Debug)]
pub struct Front {
    shared: Arc<Shared>,
    doors: Arc<Doors>,
    ending: watch::Sender<Option<Ending>>,
    connections: TaskTracker,
    accepting: CancellationToken,
    _stop: DropGuard,
}

impl Front {
    /// Lets clients in at `doors`, from this moment. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`CertificateError`] when no local certificate can be made for the Target's name.
    pub fn open(
        doors: Doors,
        config: FrontConfig,
        upstream: Arc<dyn Upstream>,
        logins: Arc<dyn Logins>,
        events: mpsc::UnboundedSender<FrontEvent>,
    ) -> Result<Self, CertificateError> {
        let (ending, watched) = watch::channel(None);
        let shared = Arc::new(Shared::new(config, upstream, logins, events, watched)?);
        let (stop, accepting) = (CancellationToken::new(), CancellationToken::new());
        let (doors, connections) = (Arc::new(doors), TaskTracker::new());
        let entrance = Entrance { shared: Arc::clone(&shared), connections: connections.clone(), stop: stop.clone() };
        let serving = accepting.clone().run_until_cancelled_owned(entrance.serve(Arc::clone(&doors)));
        connections.spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self { shared, doors, ending, connections, accepting, _stop: stop.drop_guard() })
    }

    /// Logs in to the Target once, as for a client, and leaves again.
    ///
    /// # Errors
    /// [`TurnedAway`], as a client would have been told.
    pub async fn prove(&self) -> Result<(), TurnedAway> {
        match &self.shared.protocol {
            Protocol::Postgres(desk) => postgres::prove(&self.shared, desk).await,
            Protocol::Mysql(desk) => mysql::prove(&self.shared, desk).await,
        }
    }

    /// Where it listens on 127.0.0.1; on ::1 at the same port.
    ///
    /// # Errors
    /// From the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.doors.local_addr()
    }

    /// The Unix socket, if there is one.
    pub fn socket(&self) -> Option<&Path> {
        self.doors.socket()
    }

    /// PEM of the authority that signed the local certificate, for clients that verify it (`sslrootcert`).
    pub fn authority_pem(&self) -> &str {
        &self.shared.certificate.authority_pem
    }

    /// Counts, at any moment.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// What clients log in with from now on. Connections that are open stay.
    pub fn change_password(&self, password: Secret<String>) {
        self.shared.password.send_replace(password);
    }

    /// When connections end and what they are told, from now on; `None` for no end. It may be moved at any time; the end that
    /// is known already changes nothing, and nobody is told of it twice.
    pub fn end(&self, ending: Option<Ending>) {
        self.ending.send_if_modified(|known| {
            let is_new = match (&*known, &ending) {
                (Some(known), Some(ending)) => !known.is_same(ending),
                (None, None) => false,
                (Some(_), None) | (None, Some(_)) => true,
            };
            if is_new {
                *known = ending;
            }
            is_new
        });
    }

    /// Ends all connections, in their protocol where they listen, and lets nobody in. The doors are free on return.
    pub async fn close(self, cause: impl Into<String>, hint: impl Into<String>) {
        let (cause, hint) = (cause.into(), hint.into());
        let Self { shared, doors, ending, connections, accepting, _stop: stop } = self;
        accepting.cancel();
        ending.send_replace(Some(Ending { at: Instant::now(), notice: cause.clone(), cause, hint }));
        connections.close();
        drop(timeout(CLOSING, connections.wait()).await);
        drop(stop);
        connections.wait().await;
        drop((shared, doors));
    }
}

/// Accepts clients.
struct Entrance {
    shared: Arc<Shared>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl Entrance {
    async fn serve(self, doors: Arc<Doors>) {
        let starting = Arc::new(Semaphore::new(self.shared.config.limits.most_starting));
        loop {
            match doors.accept().await {
                Ok(client) => match Arc::clone(&starting).try_acquire_owned() {
                    Ok(permit) => self.let_in(client, permit),
                    Err(_) => tracing::warn!("a client was closed: too many are waiting to be logged in"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a client could not be accepted");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    fn let_in(&self, client: Client, permit: OwnedSemaphorePermit) {
        let visit = Visit::new(Arc::clone(&self.shared), permit, client.door());
        let stop = self.stop.clone();
        self.connections.spawn(async move { stop.run_until_cancelled(visit.serve(client)).await });
    }
}

impl Client {
    fn door(&self) -> Door {
        match self {
            #[cfg(unix)]
            Self::Socket(_) => Door::Socket,
            Self::Tcp(_) => Door::Tcp,
        }
    }
}

/// One client, from its arrival to its end.
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    connection: u64,
    starting: Option<OwnedSemaphorePermit>,
}

/// What became of a client that was not turned away.
pub(crate) enum Visited {
    /// It was logged in and is gone; with what went wrong, if anything.
    Closed(Option<String>),
    /// It wanted no login: it cancelled another one's query.
    Errand,
}

impl Visit {
    fn new(shared: Arc<Shared>, permit: OwnedSemaphorePermit, door: Door) -> Self {
        let connection = shared.accepted.fetch_add(1, Relaxed);
        let visit = Self { shared, connection, starting: Some(permit) };
        visit.tell(FrontEvent::Accepted { connection, door });
        visit
    }

    async fn serve(mut self, client: Client) {
        let shared = Arc::clone(&self.shared);
        let open = Open::begin(&shared.traffic);
        let visited = match &shared.protocol {
            Protocol::Postgres(desk) => postgres::serve(client, &mut self, desk, &open).await,
            Protocol::Mysql(desk) => mysql::serve(client, &mut self, desk, &open).await,
        };
        let (connection, up, down) = (self.connection, open.up(), open.down());
        drop(open);
        match visited {
            Ok(Visited::Closed(error)) => self.tell(FrontEvent::Closed { connection, up, down, error }),
            Ok(Visited::Errand) => {}
            Err(why) => self.tell(FrontEvent::TurnedAway { connection, why }),
        }
    }

    /// The client is logged in and counts no longer as starting.
    pub(crate) fn logged_in(&mut self, user: &str, database: &str, application: &str) {
        self.starting = None;
        let [user, database, application] = [user, database, application].map(str::to_owned);
        self.tell(FrontEvent::LoggedIn { connection: self.connection, user, database, application });
    }

    /// Returns when a client that gave a wrong password may be told so.
    pub(crate) async fn wrong_password(&self) {
        let failures = self.shared.guard.wrong();
        self.tell(FrontEvent::WrongPassword { connection: self.connection, failures });
        self.shared.guard.hold_back(failures).await;
    }

    fn tell(&self, event: FrontEvent) {
        // Nobody listening is no reason to close a connection.
        drop(self.shared.events.send(event));
    }
}

/// What all connections of a Front have in common.
pub(crate) struct Shared {
    pub(crate) config: FrontConfig,
    pub(crate) certificate: LocalCertificate,
    pub(crate) guard: Guard,
    pub(crate) upstream_tls: UpstreamTls,
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) logins: Arc<dyn Logins>,
    protocol: Protocol,
    traffic: Traffic,
    events: mpsc::UnboundedSender<FrontEvent>,
    ending: watch::Receiver<Option<Ending>>,
    password: watch::Sender<Secret<String>>,
    accepted: AtomicU64,
}

/// What an engine keeps for all connections.
enum Protocol {
    Mysql(mysql::Desk),
    Postgres(postgres::Desk),
}

impl Shared {
    fn new(
        config: FrontConfig,
        upstream: Arc<dyn Upstream>,
        logins: Arc<dyn Logins>,
        events: mpsc::UnboundedSender<FrontEvent>,
        ending: watch::Receiver<Option<Ending>>,
    ) -> Result<Self, CertificateError> {
        let (protocol, alpn) = match config.engine {
            Engine::Postgres => (Protocol::Postgres(postgres::Desk::default()), &[certificate::ALPN_POSTGRESQL][..]),
            Engine::Mariadb | Engine::Mysql => (Protocol::Mysql(mysql::Desk::new(&config)), &[][..]),
        };
        Ok(Self {
            certificate: LocalCertificate::make(&config.server_name, alpn)?,
            upstream_tls: UpstreamTls::new(&config)?,
            password: watch::Sender::new(config.local_password.clone()),
            config,
            guard: Guard::default(),
            upstream,
            logins,
            protocol,
            traffic: Traffic::default(),
            events,
            ending,
            accepted: AtomicU64::new(0),
        })
    }

    /// The way to a login at the Target.
    pub(crate) fn reach(&self, demand: crate::Demand) -> Reach<'_> {
        Reach { config: &self.config, upstream: &*self.upstream, logins: &*self.logins, demand }
    }

    /// Whether the way to the Target is slow, see [`Upstream::is_slow`].
    pub(crate) fn is_slow(&self) -> bool {
        self.upstream.is_slow()
    }

    /// TLS towards clients.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.certificate.config))
    }

    /// One connection's view of the end of the Grant.
    pub(crate) fn ending(&self) -> EndingWatch {
        EndingWatch::new(self.ending.clone(), self.config.limits.notice, self.config.limits.last_call)
    }

    /// Whether `name` is a user clients may log in as; else the words that name the right one.
    pub(crate) fn check_user(&self, name: &str) -> Result<(), TurnedAway> {
        let FrontConfig { database_user, target, .. } = &self.config;
        if name == database_user || name == target {
            return Ok(());
        }
        let message = format!("user \"{name}\" is not the one this address serves: log in as \"{database_user}\"");
        let hint = format!("\"{target}\" works as a user name too; `daypass url {target}` prints all settings");
        Err(TurnedAway::new(Reason::LocalUser, "28000", message, hint))
    }

    /// The words for a client whose local password is wrong.
    pub(crate) fn wrong_password(&self, user: &str) -> TurnedAway {
        let message = format!("password authentication failed for user \"{user}\"");
        let hint = format!(
            "Daypass made a password of its own for this address: copy it from the window, or run `daypass password {}`",
            self.config.target
        );
        TurnedAway::new(Reason::LocalPassword, "28P01", message, hint)
    }

    /// The words for a client that comes when the Grant has ended, or is about to.
    pub(crate) fn check_ending(&self) -> Result<(), TurnedAway> {
        let Some(ending) = self.ending().closing() else { return Ok(()) };
        Err(TurnedAway::new(Reason::Ended, "57P03", ending.cause, ending.hint))
    }

    /// Waits until the Grant is over, for a client that waits for its login; with the words for it.
    pub(crate) async fn ended(&self) -> TurnedAway {
        let mut ending = self.ending();
        loop {
            ending.over().await;
            if let Err(why) = self.check_ending() {
                return why;
            }
        }
    }

    /// What clients log in with at the port, at this moment.
    pub(crate) fn local_password(&self) -> Secret<String> {
        self.password.borrow().clone()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}
