//! Opening a Gateway step by step, keeping it, closing it.

mod files;
mod logins;

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use access::{CloseReason, Event};
use gateway::{
    Doors, Front, FrontConfig, FrontEvent, FrontLimits, MysqlSettings, Reason, Route, TunnelEvent, Upstream,
};
use model::{Bastion, Entitlement, ErrorView, OpeningStep, RoleName, Snapshot, StepTime, Target, TargetId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Reporter, asking,
    interruptions::Interruptions,
    notes::Notes,
    sessions::{self, TargetSessions},
};
use crate::{connection::Connection, words};
use files::Files;
use logins::TargetLogins;

/// How long IAM may take to have heard of a fresh grant.
const PROPAGATION: Duration = Duration::from_secs(90);

/// Wrong local passwords in a row before the person hears of it.
const WORTH_TELLING: u32 = 3;

/// What is to be opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) target: TargetId,
    pub(super) role: RoleName,
    pub(super) fresh_grant: bool,
    pub(super) close: Closing,
}

/// How an open Gateway is told to close, and why.
#[derive(Clone, Debug, Default)]
pub(super) struct Closing {
    asked: CancellationToken,
    reason: Arc<OnceLock<CloseReason>>,
}

impl Closing {
    /// The first reason stands.
    pub(super) fn ask(&self, reason: CloseReason) {
        let _earlier = self.reason.set(reason);
        self.asked.cancel();
    }

    fn reason(&self) -> CloseReason {
        self.reason.get().copied().unwrap_or(CloseReason::Quitting)
    }
}

/// Opens a Gateway, keeps it until it is told to close, closes it.
pub(super) async fn run(reporter: Reporter, opening: Opening) {
    let (notes, report, tunnel_events) = Notes::begin(&reporter, &opening.target);
    match opening.close.asked.run_until_cancelled(open(&reporter, &opening, report, tunnel_events)).await {
        Some(Ok(open)) => open.keep(&reporter, &opening.close).await,
        Some(Err(cause)) => reporter.tell(Event::GatewayFailed { target: opening.target, cause }).await,
        None => {}
    }
    // A session may have been started although the Gateway did not open.
    notes.finished().await;
}

/// A Gateway that is open.
struct Open {
    target: Target,
    front: Front,
    route: Arc<Route>,
    tunnel_events: mpsc::UnboundedReceiver<TunnelEvent>,
    front_events: mpsc::UnboundedReceiver<FrontEvent>,
    /// Sessions whose websocket is away.
    broken: BTreeSet<String>,
    /// By which child processes find the database; gone before the session is terminated.
    files: Files,
}

async fn open(
    reporter: &Reporter,
    opening: &Opening,
    report: mpsc::UnboundedSender<TunnelEvent>,
    tunnel_events: mpsc::UnboundedReceiver<TunnelEvent>,
) -> Result<Open, ErrorView> {
    let shared = &reporter.shared;
    let (target, entitlement) = looked_up(reporter, opening)?;
    let mut steps = Steps { reporter, target: &opening.target, under_way: None };

    steps.begin(OpeningStep::BindPort).await;
    let config = front_config(reporter, &target, &entitlement).await?;
    let doors = bind(reporter, &target).await?;
    let connection = connection(reporter, &target, &entitlement, &doors)?;
    let doors = with_socket(doors, &connection)?;

    steps.begin(OpeningStep::CheckAccount).await;
    check_account(reporter, &target).await?;

    steps.begin(OpeningStep::OpenTunnel).await;
    let sessions = TargetSessions { shared: Arc::clone(shared), target: target.clone(), role: opening.role };
    let route = Arc::new(sessions::route(sessions, report).await?);

    steps.begin(OpeningStep::ProveLogin).await;
    let fresh_for = opening.fresh_grant.then_some(PROPAGATION);
    let logins = Arc::new(TargetLogins::new(Arc::clone(shared), target.clone(), entitlement, fresh_for));
    let (report, front_events) = mpsc::unbounded_channel();
    let upstream: Arc<dyn Upstream> = Arc::clone(&route) as _;
    let front =
        Front::open(doors, config, upstream, logins, report).map_err(|error| words::no_front(&target, &error))?;
    front.prove().await.map_err(|why| words::login_failed(&target, &connection.user, &why))?;
    let files =
        Files::write(&connection, front.authority_pem()).map_err(|error| words::local_files(&target, &error))?;
    steps.finish(connection.strings()).await;
    shared.remember_connection(connection);
    Ok(Open { target, front, route, tunnel_events, front_events, broken: BTreeSet::new(), files })
}

async fn front_config(
    reporter: &Reporter,
    target: &Target,
    entitlement: &Entitlement,
) -> Result<FrontConfig, ErrorView> {
    let shared = &reporter.shared;
    Ok(FrontConfig {
        engine: target.engine,
        target: target.id.to_string(),
        database_user: entitlement.database_user.clone(),
        database: target.database.clone(),
        read_only: entitlement.role == RoleName::ReadOnly,
        server_name: target.endpoint.host.clone(),
        roots: shared.catalog()?.aws.roots()?,
        local_password: shared.local_passwords.of(&target.id).await?,
        limits: FrontLimits { fresh_grant: PROPAGATION, ..FrontLimits::default() },
        mysql: MysqlSettings::default(),
    })
}

fn looked_up(reporter: &Reporter, opening: &Opening) -> Result<(Target, Entitlement), ErrorView> {
    let entry = reporter.shared.entry(&opening.target)?;
    let entitlement = entry.entitlements.iter().find(|entitlement| entitlement.role == opening.role);
    let entitlement = entitlement.ok_or_else(|| {
        let message = format!("`{}` is not offered as {}", opening.target, opening.role);
        ErrorView::new("role-not-offered", message, "see `daypass list` for what the catalog offers")
    })?;
    words::region_agrees(&entry.target)?;
    Ok((entry.target.clone(), entitlement.clone()))
}

/// The port first, the same each time.
async fn bind(reporter: &Reporter, target: &Target) -> Result<Doors, ErrorView> {
    let shared = &reporter.shared;
    let preferred = shared.port_of(target);
    let doors = match Doors::bind(preferred).await {
        Ok(doors) => doors,
        Err(error) => return Err(words::no_doors(target, &error, next_free(preferred).await)),
    };
    let port = doors.local_addr().map_err(|error| words::local_files(target, &error))?.port();
    shared.remember_port(&target.id, port);
    Ok(doors)
}

/// The next port after a taken one that could be had, to be offered; nothing is kept open.
async fn next_free(taken: Option<u16>) -> Option<u16> {
    let taken = taken?;
    for port in (taken.checked_add(1)?..=u16::MAX).take(100) {
        if Doors::bind(Some(port)).await.is_ok() {
            return Some(port);
        }
    }
    None
}

fn connection(
    reporter: &Reporter,
    target: &Target,
    entitlement: &Entitlement,
    doors: &Doors,
) -> Result<Connection, ErrorView> {
    let port = doors.local_addr().map_err(|error| words::local_files(target, &error))?.port();
    let folder = crate::connection::folder(&reporter.shared.runtime_dir, target);
    Ok(Connection { target: target.clone(), user: entitlement.database_user.clone(), port, folder })
}

/// The way in without a password, where the system's paths are long enough for it.
fn with_socket(doors: Doors, connection: &Connection) -> Result<Doors, ErrorView> {
    let Connection { target, folder, .. } = connection;
    if connection.socket().is_none() {
        tracing::warn!(target = %target.id, folder = %folder.display(), "no Unix socket: its path would be too long");
        return Ok(doors);
    }
    doors.with_socket(folder, target.engine).map_err(|error| words::no_doors(target, &error, None))
}

async fn check_account(reporter: &Reporter, target: &Target) -> Result<(), ErrorView> {
    let caller = asking::caller(&reporter.shared, &target.region).await?;
    if caller.account == target.account { Ok(()) } else { Err(words::wrong_account(target, &caller.account)) }
}

impl Open {
    async fn keep(mut self, reporter: &Reporter, close: &Closing) {
        let shared = &reporter.shared;
        let mut interruptions = Interruptions::default();
        let (mut snapshots, mut renewals) = (shared.snapshots(), shared.local_passwords.renewals());
        let mut surroundings = shared.surroundings.subscribe();
        snapshots.mark_changed();
        loop {
            interruptions.look(self.front.traffic().open());
            tokio::select! {
                () = close.asked.cancelled() => break,
                Some(event) = self.tunnel_events.recv() => {
                    interruptions.note(reporter, &self.target, &event).await;
                    self.report_tunnel(reporter, event).await;
                }
                () = interruptions.due() => interruptions.tell_refused(reporter, &self.target).await,
                Some(event) = self.front_events.recv() => self.report_front(reporter, event).await,
                Ok(()) = snapshots.changed() => self.tell_end(reporter, &snapshots.borrow_and_update()),
                Ok(()) = renewals.changed() => self.take_password(reporter).await,
                Ok(()) = surroundings.changed() => {
                    self.route.reconnect();
                    // The timers of this process stood still while the computer slept.
                    self.tell_end(reporter, &snapshots.borrow());
                }
            }
        }
        self.close(reporter, close.reason()).await;
    }

    /// What ends access first is when its connections end.
    fn tell_end(&self, reporter: &Reporter, snapshot: &Snapshot) {
        let view = snapshot.targets.iter().find(|view| view.target.id == self.target.id);
        let limit = view.and_then(|view| view.binding_limit);
        let now = reporter.shared.clock.now().wall;
        self.front.end(limit.map(|limit| words::ending(&self.target, limit, now)));
    }

    async fn take_password(&self, reporter: &Reporter) {
        match reporter.shared.local_passwords.of(&self.target.id).await {
            Ok(password) => self.front.change_password(password),
            Err(error) => tracing::error!(%error, target = %self.target.id, "the new local password is not in force"),
        }
    }

    /// The Gateway is broken while any of its sessions is.
    async fn report_tunnel(&mut self, reporter: &Reporter, event: TunnelEvent) {
        let target = self.target.id.clone();
        match event {
            TunnelEvent::Broken { session_id, cause } => {
                self.broken.insert(session_id);
                let hint = "connections wait while it is mended; nothing to do yet";
                let cause = ErrorView::new("tunnel-broken", cause, hint);
                reporter.tell(Event::GatewayBroke { target, cause }).await;
            }
            TunnelEvent::Healed { session_id } => self.mended(reporter, &session_id).await,
            TunnelEvent::Ended { session_id, cause, unterminated } => {
                // The next connection starts a new session on the same port: for the person nothing has ended.
                tracing::info!(%target, session_id, %cause, ?unterminated, "a session has ended");
                self.mended(reporter, &session_id).await;
            }
            TunnelEvent::Moved { from, to, cause } => tracing::info!(%target, from, to, ?cause, "a connection moved"),
            TunnelEvent::ConnectRefused { .. } => tracing::warn!(%target, "the bastion cannot connect to the database"),
            TunnelEvent::Overflowed { .. } => tracing::warn!(%target, "a client that did not read was given up"),
            TunnelEvent::Opened { session_id, .. } | TunnelEvent::Started { session_id } => {
                tracing::info!(%target, session_id, "a session was started");
            }
        }
    }

    async fn mended(&mut self, reporter: &Reporter, session_id: &str) {
        if self.broken.remove(session_id) && self.broken.is_empty() {
            reporter.tell(Event::GatewayHealed { target: self.target.id.clone() }).await;
        }
    }

    async fn report_front(&self, reporter: &Reporter, event: FrontEvent) {
        let target = self.target.id.clone();
        match event {
            FrontEvent::WrongPassword { failures, .. } if failures >= WORTH_TELLING => {
                let cause = words::wrong_local_password(&self.target, failures);
                reporter.tell(Event::GatewayInterrupted { target: target.clone(), cause }).await;
            }
            FrontEvent::TurnedAway { why, .. } => {
                tracing::info!(%target, %why, "a client was turned away");
                // What a bastion cannot reach is told with RDS's own words on it.
                let told = match why.reason {
                    Reason::Authentication | Reason::Credential | Reason::Late => true,
                    Reason::Route => matches!(self.target.bastion, Bastion::Direct { .. }),
                    Reason::Client
                    | Reason::Database
                    | Reason::Ended
                    | Reason::LocalPassword
                    | Reason::LocalUser
                    | Reason::Tls
                    | Reason::TlsChain
                    | Reason::TlsName => false,
                };
                if told {
                    let cause = words::turned_away(&why);
                    reporter.tell(Event::GatewayInterrupted { target: target.clone(), cause }).await;
                }
            }
            FrontEvent::Accepted { .. }
            | FrontEvent::Closed { .. }
            | FrontEvent::LoggedIn { .. }
            | FrontEvent::WrongPassword { .. } => {}
        }
        let connections = u32::try_from(self.front.traffic().open()).unwrap_or(u32::MAX);
        reporter.tell(Event::ConnectionsChanged { target, connections }).await;
    }

    async fn close(self, reporter: &Reporter, reason: CloseReason) {
        let Self { target, front, route, files, .. } = self;
        reporter.shared.forget_connection(&target.id);
        let (cause, hint) = words::closed_because(&target, reason);
        front.close(cause, hint).await;
        // The socket's file is gone with the Front; now the folder is empty but for ours.
        drop(files);
        if let Some(route) = Arc::into_inner(route) {
            route.close().await;
        }
    }
}

/// Reports each step as it begins, with the time the one before it took.
struct Steps<'a> {
    reporter: &'a Reporter,
    target: &'a TargetId,
    under_way: Option<(OpeningStep, Instant)>,
}

impl Steps<'_> {
    async fn begin(&mut self, step: OpeningStep) {
        let done = self.under_way.replace((step, Instant::now())).map(step_time);
        self.reporter.tell(Event::GatewayStepped { target: self.target.clone(), step, done }).await;
    }

    async fn finish(self, connection: model::ConnectionStrings) {
        if let Some((step, since)) = self.under_way {
            let done = Some(step_time((step, since)));
            self.reporter.tell(Event::GatewayStepped { target: self.target.clone(), step, done }).await;
        }
        self.reporter.tell(Event::GatewayOpened { target: self.target.clone(), connection }).await;
    }
}

fn step_time((step, since): (OpeningStep, Instant)) -> StepTime {
    StepTime { step, milliseconds: u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX) }
}
