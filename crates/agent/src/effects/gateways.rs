//! Opening a Gateway step by step, keeping it, closing it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use access::Event;
use gateway::{ConnectionEvent, Demand, Listener, Login, LoginError, Observer, Route, Traffic, TunnelEvent};
use model::{Engine, ErrorView, MonoTime, OpeningStep, RoleName, StepTime, Target, TargetId};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrets::Secret;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Reporter, asking,
    interruptions::Interruptions,
    notes::Notes,
    sessions::{self, TargetSessions},
};
use crate::{handoff::Handoff, words};

/// How long IAM may take to have heard of a fresh grant.
const PROPAGATION: Duration = Duration::from_secs(90);
const BETWEEN_LOGINS: Duration = Duration::from_secs(2);
/// How long one login may take; Aurora Serverless wakes up in 15 to 30 s.
const LOGIN_LIMIT: Duration = Duration::from_secs(45);
/// A DbAuthToken is good for 15 minutes; clients must always find one with two thirds of that left.
const TOKEN_AGE: Duration = Duration::from_secs(300);
const LOOK_AT_CLOCK: Duration = Duration::from_secs(15);

/// What is to be opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) target: TargetId,
    pub(super) role: RoleName,
    pub(super) fresh_grant: bool,
    pub(super) close: CancellationToken,
}

/// Opens a Gateway, keeps it until it is told to close, closes it.
pub(super) async fn run(reporter: Reporter, opening: Opening) {
    let (notes, report, tunnel_events) = Notes::begin(&reporter, &opening.target);
    match opening.close.run_until_cancelled(open(&reporter, &opening, report, tunnel_events)).await {
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
    database_user: String,
    listener: Listener,
    route: Route,
    tunnel_events: mpsc::UnboundedReceiver<TunnelEvent>,
    handoff: Handoff,
    token_written: MonoTime,
}

async fn open(
    reporter: &Reporter,
    opening: &Opening,
    report: mpsc::UnboundedSender<TunnelEvent>,
    tunnel_events: mpsc::UnboundedReceiver<TunnelEvent>,
) -> Result<Open, ErrorView> {
    let shared = &reporter.shared;
    let (target, database_user) = looked_up(reporter, opening)?;
    let mut steps = Steps { reporter, target: &opening.target, under_way: None };

    steps.begin(OpeningStep::BindPort).await;
    let ca_pem = ca_bundle(reporter)?;
    let listener =
        Listener::bind(shared.port_of(&target)).await.map_err(|error| words::port_in_use(&target, &error))?;
    let port = listener.local_addr().map_err(|error| local_io(&target, &error))?.port();
    shared.remember_port(&target.id, port);

    steps.begin(OpeningStep::CheckAccount).await;
    check_account(reporter, &target).await?;

    steps.begin(OpeningStep::OpenTunnel).await;
    let sessions = TargetSessions { shared: Arc::clone(shared), target: target.clone(), role: opening.role };
    let route = sessions::route(sessions, report).await?;

    steps.begin(OpeningStep::ProveLogin).await;
    let token = prove_login(reporter, opening, &target, &database_user, &route, &ca_pem).await?;
    let handoff = Handoff::create(&shared.runtime_dir, &target, &database_user, port, &ca_pem)
        .and_then(|handoff| handoff.write_token(&token).map(|()| handoff))
        .map_err(|error| local_io(&target, &error))?;
    steps.finish(handoff.connection()).await;
    let token_written = shared.clock.now().mono;
    Ok(Open { target, database_user, listener, route, tunnel_events, handoff, token_written })
}

fn looked_up(reporter: &Reporter, opening: &Opening) -> Result<(Target, String), ErrorView> {
    let entry = reporter.shared.entry(&opening.target)?;
    let entitlement =
        entry.entitlements.iter().find(|entitlement| entitlement.role == opening.role).ok_or_else(|| {
            let message = format!("`{}` is not offered as {}", opening.target, opening.role);
            ErrorView::new("role-not-offered", message, "see `daypass list` for what the catalog offers")
        })?;
    words::region_agrees(&entry.target)?;
    match entry.target.engine {
        Engine::Postgres => Ok((entry.target.clone(), entitlement.database_user.clone())),
        Engine::Mariadb | Engine::Mysql => {
            let message = format!("`{}` speaks MySQL, which this version does not", opening.target);
            Err(ErrorView::new("engine-unsupported", message, "connect to it as before; PostgreSQL databases work"))
        }
    }
}

fn ca_bundle(reporter: &Reporter) -> Result<Vec<u8>, ErrorView> {
    let missing = |why: String| {
        let hint = "download AWS's global-bundle.pem and write its path as `ca-bundle` under [aws] in the catalog";
        ErrorView::new("no-ca-bundle", why, hint)
    };
    let path = reporter.shared.catalog()?.aws.ca_bundle.clone();
    let path = path.ok_or_else(|| missing("the catalog names no certificates to know the database by".to_owned()))?;
    std::fs::read(&path)
        .map_err(|error| missing(format!("the certificates {} cannot be read: {error}", path.display())))
}

async fn check_account(reporter: &Reporter, target: &Target) -> Result<(), ErrorView> {
    let caller = asking::caller(&reporter.shared, &target.region).await?;
    if caller.account == target.account { Ok(()) } else { Err(words::wrong_account(target, &caller.account)) }
}

/// Logs in once; right after a grant also again, quietly and with fresh tokens, until IAM has heard of it.
async fn prove_login(
    reporter: &Reporter,
    opening: &Opening,
    target: &Target,
    database_user: &str,
    route: &Route,
    ca_pem: &[u8],
) -> Result<Secret<String>, ErrorView> {
    let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(ca_pem).filter_map(Result::ok).collect();
    let started = Instant::now();
    loop {
        let token = sign(reporter, target, database_user).await?;
        let login = Login {
            user: database_user.to_owned(),
            database: target.database.clone(),
            password: token.clone(),
            server_name: target.endpoint.host.clone(),
            roots: roots.clone(),
            timeout: LOGIN_LIMIT,
        };
        let stream = route.connect(Demand::Interactive).await.map_err(|error| words::no_tunnel(target, &error))?;
        match gateway::prove_login(stream, &login).await {
            Ok(_) => return Ok(token),
            Err(LoginError::Refused { .. }) if opening.fresh_grant && started.elapsed() < PROPAGATION => {
                tokio::time::sleep(BETWEEN_LOGINS).await;
            }
            Err(error) => return Err(words::login_failed(target, database_user, &error)),
        }
    }
}

/// A DbAuthToken by AWS's clock.
async fn sign(reporter: &Reporter, target: &Target, database_user: &str) -> Result<Secret<String>, ErrorView> {
    let shared = &reporter.shared;
    let usable = shared.identity.usable(shared).await?;
    aws::sign(&usable.credentials, &target.region, &target.endpoint, database_user, shared.skew.now())
        .map_err(|error| error.view())
}

impl Open {
    async fn keep(self, reporter: &Reporter, close: &CancellationToken) {
        let Self { target, database_user, listener, route, mut tunnel_events, handoff, mut token_written } = self;
        let route = Arc::new(route);
        let traffic = Arc::new(Traffic::default());
        let (report, mut connection_events) = mpsc::unbounded_channel();
        let observer = Observer { traffic: Arc::clone(&traffic), events: report };
        let serving = tokio::spawn(gateway::serve(listener, Arc::clone(&route), close.child_token(), observer));
        let mut interruptions = Interruptions::default();
        let mut pulse = tokio::time::interval(LOOK_AT_CLOCK);
        let (mut skew, mut surroundings) = (reporter.shared.skew.watch(), reporter.shared.surroundings.subscribe());
        loop {
            interruptions.look(traffic.open());
            tokio::select! {
                () = close.cancelled() => break,
                Some(event) = tunnel_events.recv() => {
                    interruptions.note(reporter, &target, &event).await;
                    report_tunnel(reporter, &target, event).await;
                }
                () = interruptions.due() => interruptions.tell_refused(reporter, &target).await,
                Some(event) = connection_events.recv() => report_connection(reporter, &target, &traffic, event).await,
                // A token is good only by AWS's clock, which turned out to show another time.
                Ok(()) = skew.changed() => {
                    token_written = renew(reporter, &target, &database_user, &handoff).await.unwrap_or(token_written);
                }
                Ok(()) = surroundings.changed() => {
                    route.reconnect();
                    token_written = renew(reporter, &target, &database_user, &handoff).await.unwrap_or(token_written);
                }
                _ = pulse.tick() => {
                    if reporter.shared.clock.now().mono - token_written >= TOKEN_AGE {
                        token_written = renew(reporter, &target, &database_user, &handoff).await.unwrap_or(token_written);
                    }
                }
            }
        }
        // Nobody may log in with what is left on the disk while the session is being terminated.
        drop(handoff);
        if let Err(error) = serving.await {
            tracing::error!(%error, "the listener did not end well");
        }
        if let Some(route) = Arc::into_inner(route) {
            route.close().await;
        }
    }
}

async fn renew(reporter: &Reporter, target: &Target, database_user: &str, handoff: &Handoff) -> Option<MonoTime> {
    let token = match sign(reporter, target, database_user).await {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!(%error, target = %target.id, "no fresh token for the next logins");
            return None;
        }
    };
    match handoff.write_token(&token) {
        Ok(()) => Some(reporter.shared.clock.now().mono),
        Err(error) => {
            tracing::error!(%error, target = %target.id, "the fresh token cannot be written");
            None
        }
    }
}

async fn report_tunnel(reporter: &Reporter, target: &Target, event: TunnelEvent) {
    let target = target.id.clone();
    match event {
        TunnelEvent::Broken { cause, .. } => {
            let cause =
                ErrorView::new("tunnel-broken", cause, "connections wait while it is mended; nothing to do yet");
            reporter.tell(Event::GatewayBroke { target, cause }).await;
        }
        TunnelEvent::Healed { .. } | TunnelEvent::Opened { .. } => reporter.tell(Event::GatewayHealed { target }).await,
        TunnelEvent::Ended { session_id, cause, unterminated } => {
            // The next connection starts a new session on the same port: for the person nothing has ended.
            tracing::info!(%target, session_id, %cause, ?unterminated, "a session has ended");
            reporter.tell(Event::GatewayHealed { target }).await;
        }
        TunnelEvent::ConnectRefused { .. } => tracing::warn!(%target, "the bastion cannot connect to the database"),
        TunnelEvent::Overflowed { .. } => tracing::warn!(%target, "a client that did not read was given up"),
        TunnelEvent::Moved { from, to, cause } => tracing::info!(%target, from, to, ?cause, "a connection moved"),
        TunnelEvent::Started { session_id } => tracing::info!(%target, session_id, "a session was started"),
    }
}

async fn report_connection(reporter: &Reporter, target: &Target, traffic: &Traffic, event: ConnectionEvent) {
    if let ConnectionEvent::Failed(error) = &event {
        let cause = words::no_tunnel(target, error);
        reporter.tell(Event::GatewayBroke { target: target.id.clone(), cause }).await;
    }
    let connections = u32::try_from(traffic.open()).unwrap_or(u32::MAX);
    reporter.tell(Event::ConnectionsChanged { target: target.id.clone(), connections }).await;
}

fn local_io(target: &Target, error: &std::io::Error) -> ErrorView {
    let message = format!("the files of the gateway of `{}` cannot be written: {error}", target.id);
    ErrorView::new("handoff-failed", message, "make room in, or permissions for, the runtime folder and connect again")
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
