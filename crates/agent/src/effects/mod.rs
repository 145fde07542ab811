//! Carrying out what `Access` decided: one task an effect, each reporting what the world answered.

mod asking;
pub(crate) mod doctor;
mod gateways;
mod interruptions;
mod left_sessions;
mod notes;
mod requests;
mod sessions;
mod sign_in;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use access::{CloseReason, Effect, EffectId, Event};
use aws::{AwsConfig, ClockSkew};
use gateways::Closing;
use model::{ConnectionForm, ErrorView, Region, RequestId, SecretsKeptIn, Snapshot, Target, TargetId};
use secrets::{Secret, SecretStore};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinHandle},
};

use ::sign_in::{Oidc, OidcProvider};

use crate::{
    AgentConfig, KeepSecrets,
    catalog::{Catalog, OidcEntry},
    clock::Clock,
    connection::Connection,
    identity::IdentityHolder,
    local_passwords::LocalPasswords,
    state_file::Ports,
    surroundings::Change,
    words,
};

/// How long quitting waits for gateways to close and their SSM sessions to be terminated.
const FAREWELL: Duration = Duration::from_secs(8);

/// What the world said, and which effect it answers.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(crate) answers: Option<EffectId>,
    pub(crate) event: Event,
}

/// What the tasks have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) skew: ClockSkew,
    pub(crate) identity: IdentityHolder,
    pub(crate) local_passwords: LocalPasswords,
    pub(crate) runtime_dir: PathBuf,
    /// Counts what happened to this computer that tears connections: it woke, or its network changed.
    pub(crate) surroundings: watch::Sender<u64>,
    catalog_path: PathBuf,
    catalog: Mutex<Option<Arc<Catalog>>>,
    ports: Mutex<Ports>,
    /// How the Gateways that are open are connected to.
    connections: Mutex<BTreeMap<TargetId, Connection>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The clock skew that the loop knows of.
    told_skew: AtomicI32,
    events: mpsc::Sender<Reported>,
}

impl Shared {
    pub(crate) async fn new(
        config: &AgentConfig,
        ports: Ports,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        events: mpsc::Sender<Reported>,
    ) -> Self {
        let (store, kept_in) = match config.secrets {
            KeepSecrets::InKeychain => SecretStore::open("dev.daypass.Daypass").await,
            KeepSecrets::InMemory => {
                (SecretStore::memory(), SecretsKeptIn::Memory { why: "it was started so".to_owned() })
            }
        };
        Self {
            events,
            clock: config.clock.clone(),
            skew: ClockSkew::default(),
            identity: IdentityHolder::new(store.clone(), kept_in),
            local_passwords: LocalPasswords::new(store),
            runtime_dir: config.places.runtime_dir().to_owned(),
            surroundings: watch::Sender::new(0),
            catalog_path: config.places.catalog.clone(),
            catalog: Mutex::new(None),
            ports: Mutex::new(ports),
            connections: Mutex::default(),
            snapshots,
            told_skew: AtomicI32::new(0),
        }
    }

    /// The Catalog in force.
    ///
    /// # Errors
    /// When none was ever read.
    pub(crate) fn catalog(&self) -> Result<Arc<Catalog>, ErrorView> {
        let held = lock(&self.catalog).clone();
        held.ok_or_else(|| {
            let message = format!("no catalog was read from {}", self.catalog_path.display());
            ErrorView::new("no-catalog", message, "name the file your administrator gave you with --catalog FILE")
        })
    }

    /// A Target with how it may be had.
    pub(crate) fn entry(&self, target: &TargetId) -> Result<access::CatalogEntry, ErrorView> {
        let unknown =
            || ErrorView::new("unknown-target", format!("there is no database `{target}`"), "see `daypass list`");
        self.catalog()?.entry(target).cloned().ok_or_else(unknown)
    }

    /// How AWS is asked in a Region.
    pub(crate) fn aws(&self, region: &Region) -> Result<AwsConfig, ErrorView> {
        let endpoint = self.catalog()?.aws.endpoint.clone();
        AwsConfig::new(region.clone(), endpoint, self.skew.clone()).map_err(|error| error.view())
    }

    /// How an identity provider is spoken to.
    pub(crate) fn oidc(&self, provider: &OidcEntry) -> Result<Oidc, ErrorView> {
        let skew = self.skew.clone();
        let provider = OidcProvider { issuer: provider.issuer.clone(), client_id: provider.client_id.clone() };
        Oidc::new(provider, ::sign_in::Clock::new(move || skew.now())).map_err(|error| error.view())
    }

    /// The port a Target's Gateway has: the one chosen for it here, else the team's, else the one it had before.
    pub(crate) fn port_of(&self, target: &Target) -> Option<u16> {
        let ports = lock(&self.ports);
        ports.chosen.get(&target.id).copied().or(target.local_port).or_else(|| ports.given.get(&target.id).copied())
    }

    pub(crate) fn remember_port(&self, target: &TargetId, port: u16) {
        lock(&self.ports).given.insert(target.clone(), port);
    }

    fn choose_port(&self, target: TargetId, port: u16) {
        lock(&self.ports).chosen.insert(target, port);
    }

    /// What is true, now and after each change.
    pub(crate) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    pub(crate) fn remember_connection(&self, connection: Connection) {
        lock(&self.connections).insert(connection.target.id.clone(), connection);
    }

    pub(crate) fn forget_connection(&self, target: &TargetId) {
        lock(&self.connections).remove(target);
    }

    /// How to connect to an open Gateway, in the words of one client.
    ///
    /// # Errors
    /// `not-connected`, `form-unknown`, or the keychain's.
    pub(crate) async fn connection_text(
        &self,
        target: &TargetId,
        form: ConnectionForm,
        with_password: bool,
    ) -> Result<Secret<String>, ErrorView> {
        let connection = lock(&self.connections).get(target).cloned();
        let connection = connection.ok_or_else(|| words::not_connected(target))?;
        let password = if with_password { Some(self.local_passwords.of(target).await?) } else { None };
        connection.written(form, password.as_ref()).ok_or_else(|| words::form_unknown(target, connection.target.engine))
    }

    /// Reports that the sign-in is of no more use and only a person can renew it. It never waits: whoever finds out may hold
    /// what the loop waits for.
    pub(crate) fn tell_sign_in_lost(&self, cause: ErrorView) {
        if self.events.try_send(Reported::unasked(Event::SignInFailed { cause })).is_err() {
            tracing::warn!("the end of the sign-in is told by the next call that needs it");
        }
    }

    async fn tell_skew(&self) {
        let seconds = self.skew.seconds();
        if self.told_skew.swap(seconds, Ordering::Relaxed) != seconds {
            let _ended = self.events.send(Reported::unasked(Event::ClockSkewMeasured { seconds })).await;
        }
    }

    fn read_catalog(&self) -> Event {
        match Catalog::read(&self.catalog_path) {
            Ok(catalog) => {
                let (identity_providers, entries) = (catalog.identity_provider_views(), catalog.entries.clone());
                *lock(&self.catalog) = Some(Arc::new(catalog));
                Event::CatalogLoaded { identity_providers, entries }
            }
            Err(error) => Event::CatalogUnreadable { cause: error.view() },
        }
    }
}

/// Where one effect's task reports.
#[derive(Clone, Debug)]
struct Reporter {
    answers: EffectId,
    shared: Arc<Shared>,
}

impl Reporter {
    /// Reports an answer; before it the clock skew, if it was measured anew on the way, since instants in the answer are
    /// judged by it.
    async fn tell(&self, event: Event) {
        self.shared.tell_skew().await;
        // The loop is gone only when the agent ends; nobody is left to know.
        let _ended = self.shared.events.send(Reported { answers: Some(self.answers), event }).await;
    }
}

/// An open or opening Gateway.
#[derive(Debug)]
struct OpenGateway {
    close: Closing,
    task: JoinHandle<()>,
}

/// Everything that is under way.
#[derive(Debug)]
pub(crate) struct World {
    shared: Arc<Shared>,
    sign_in: Option<AbortHandle>,
    reviews: Option<AbortHandle>,
    left_sessions: Option<AbortHandle>,
    watches: BTreeMap<RequestId, AbortHandle>,
    gateways: BTreeMap<TargetId, OpenGateway>,
}

impl World {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            sign_in: None,
            reviews: None,
            left_sessions: None,
            watches: BTreeMap::new(),
            gateways: BTreeMap::new(),
        }
    }

    /// What is known at the start: the Catalog, where secrets are kept, who is still signed in.
    pub(crate) async fn start(&self) -> Vec<Event> {
        tokio::spawn(report_skew(Arc::clone(&self.shared)));
        let kept_in = self.shared.identity.kept_in().clone();
        let mut known = vec![self.shared.read_catalog(), Event::SecretsKept { kept_in }];
        known.extend(self.shared.identity.restore(&self.shared).await);
        known
    }

    /// The ports given so far.
    pub(crate) fn ports(&self) -> Ports {
        lock(&self.shared.ports).clone()
    }

    /// Begins to carry out an effect. Nothing here waits for the world, except for forgetting secrets, which must be over
    /// before anything else happens.
    pub(crate) async fn begin(&mut self, id: EffectId, effect: Effect) {
        let reporter = Reporter { answers: id, shared: Arc::clone(&self.shared) };
        match effect {
            Effect::AbandonSignIn => abort(self.sign_in.take()),
            Effect::BeginSignIn { identity_provider } => {
                let task = tokio::spawn(sign_in::run(reporter, identity_provider));
                abort(self.sign_in.replace(task.abort_handle()));
            }
            Effect::CloseGateway { target, reason } => self.close_gateway(reporter, target, reason),
            Effect::EndGrant { request, broker_ref, target } => {
                tokio::spawn(requests::end(reporter, request, broker_ref, target));
            }
            Effect::EndSession { session, region } => {
                tokio::spawn(left_sessions::end(reporter, session, region));
            }
            Effect::ForgetSecrets => {
                abort(self.reviews.take());
                abort(self.left_sessions.take());
                std::mem::take(&mut self.watches).into_values().for_each(|watch| watch.abort());
                self.shared.identity.forget(&self.shared).await;
            }
            Effect::KeepPort { target, port } => self.shared.choose_port(target, port),
            Effect::OpenGateway { target, role, fresh_grant } => self.open_gateway(reporter, target, role, fresh_grant),
            Effect::PlaceRequest { request } => drop(tokio::spawn(requests::place(reporter, request))),
            // The loop carries these two out itself.
            Effect::Quit | Effect::Save { .. } => {}
            Effect::SubmitReview { broker_ref, decision, comment } => {
                tokio::spawn(requests::review(reporter, broker_ref, decision, comment));
            }
            Effect::WatchRequest { request, broker_ref, target } => {
                let task = tokio::spawn(requests::watch(reporter, request.clone(), broker_ref, target));
                abort(self.watches.insert(request, task.abort_handle()));
            }
            Effect::WatchReviews { .. } => {
                let task = tokio::spawn(requests::watch_reviews(reporter));
                abort(self.reviews.replace(task.abort_handle()));
            }
            Effect::WatchSessions { .. } => {
                let task = tokio::spawn(left_sessions::watch(reporter));
                abort(self.left_sessions.replace(task.abort_handle()));
            }
            Effect::WithdrawRequest { request, broker_ref, target } => {
                tokio::spawn(requests::withdraw(reporter, request, broker_ref, target));
            }
        }
    }

    fn open_gateway(&mut self, reporter: Reporter, target: TargetId, role: model::RoleName, fresh_grant: bool) {
        let close = Closing::default();
        let before = self.gateways.remove(&target);
        let opening = gateways::Opening { target: target.clone(), role, fresh_grant, close: close.clone() };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // The port is free only once the one before has let go of it.
                before.close.ask(CloseReason::Disconnected);
                let _ended = before.task.await;
            }
            gateways::run(reporter, opening).await;
        });
        self.gateways.insert(target, OpenGateway { close, task });
    }

    fn close_gateway(&mut self, reporter: Reporter, target: TargetId, reason: CloseReason) {
        let open = self.gateways.remove(&target);
        tokio::spawn(async move {
            if let Some(open) = open {
                open.close.ask(reason);
                let _ended = open.task.await;
            }
            reporter.tell(Event::GatewayClosed { target }).await;
        });
    }

    /// Replaces every connection at once that was torn unseen, and looks whether Credentials still hold.
    pub(crate) fn surroundings_changed(&self, change: Change) {
        match change {
            Change::GoingToSleep => tracing::info!("this computer goes to sleep"),
            Change::NetworkChanged | Change::Woke => {
                tracing::info!(?change, "tunnels are connected anew");
                self.shared.surroundings.send_modify(|changes| *changes = changes.wrapping_add(1));
                tokio::spawn(look_at_credentials(Arc::clone(&self.shared)));
            }
        }
    }

    /// Ends everything, waiting for gateways to close properly.
    pub(crate) async fn end(&mut self) {
        abort(self.sign_in.take());
        abort(self.reviews.take());
        abort(self.left_sessions.take());
        std::mem::take(&mut self.watches).into_values().for_each(|watch| watch.abort());
        let gateways: Vec<OpenGateway> = std::mem::take(&mut self.gateways).into_values().collect();
        gateways.iter().for_each(|gateway| gateway.close.ask(CloseReason::Quitting));
        let closed = async {
            for gateway in gateways {
                let _ended = gateway.task.await;
            }
        };
        if tokio::time::timeout(FAREWELL, closed).await.is_err() {
            tracing::warn!("some sessions may still be open; they are found at the next start");
        }
    }
}

/// They may have expired while the computer slept; without a person there are none.
async fn look_at_credentials(shared: Arc<Shared>) {
    if let Err(error) = shared.identity.usable(&shared).await {
        tracing::info!(%error, "no credentials for now");
    }
}

/// Reports how far AWS's clock is off whenever that turns out to have changed.
async fn report_skew(shared: Arc<Shared>) {
    let mut skew = shared.skew.watch();
    while skew.changed().await.is_ok() && !shared.events.is_closed() {
        shared.tell_skew().await;
    }
}

fn abort(task: Option<AbortHandle>) {
    if let Some(task) = task {
        task.abort();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
