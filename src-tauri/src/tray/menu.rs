//! The tray's menu as a plain value: a Snapshot and the time go in, words and clicks come out.

use std::time::Duration;

use model::{
    Command, ConnectionForm, Decision, Engine, ErrorView, Gate, Gateway, Grant, Identity, IdentityProviderId,
    OpeningStep, PendingReview, RequestState, RoleName, Snapshot, TargetView, WallTime,
};

use crate::{action::Action, countdown};

/// More rows than this make a menu that nobody reads; the window has the rest.
const MOST_ROWS: usize = 12;
/// From here on a limit asks for attention.
const SOON: Duration = Duration::from_secs(120);

/// Everything the tray shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Menu {
    pub(crate) look: Look,
    /// The shortest time left: `orders-prod 42 min`.
    pub(crate) headline: Option<String>,
    pub(crate) entries: Vec<Entry>,
    /// When some words are out of date; none while no time is shown.
    pub(crate) changes_in: Option<Duration>,
}

/// One line of a menu.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    Item { label: String, action: Option<Action> },
    Separator,
    Submenu { label: String, entries: Vec<Entry> },
}

/// What the icon says; each has a shape of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Look {
    Attention,
    Connected,
    Idle,
    SignedOut,
}

/// Makes the menu.
pub(crate) fn menu(snapshot: &Snapshot, now: WallTime) -> Menu {
    let mut menu = Writer { now, changes_in: None };
    let mut entries = menu.who(snapshot);
    entries.push(Entry::Separator);
    entries.extend(menu.rows(snapshot));
    entries.extend(snapshot.warnings.iter().map(problem));
    entries.extend(left_sessions(snapshot));
    if let Some(reviews) = reviews(snapshot) {
        entries.extend([Entry::Separator, reviews]);
    }
    entries.push(Entry::Separator);
    entries.extend(closing(&snapshot.identity));
    entries.dedup_by(|later, earlier| matches!((later, earlier), (Entry::Separator, Entry::Separator)));
    let headline = menu.headline(snapshot);
    Menu { look: look(snapshot, now), headline, entries, changes_in: menu.changes_in }
}

impl Menu {
    /// Whether only words differ, so that an open menu can be kept.
    pub(crate) fn has_shape_of(&self, other: &Self) -> bool {
        same_shape(&self.entries, &other.entries)
    }
}

fn same_shape(ours: &[Entry], theirs: &[Entry]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|pair| match pair {
            (Entry::Item { action: ours, .. }, Entry::Item { action: theirs, .. }) => ours == theirs,
            (Entry::Separator, Entry::Separator) => true,
            (Entry::Submenu { entries: ours, .. }, Entry::Submenu { entries: theirs, .. }) => same_shape(ours, theirs),
            (Entry::Item { .. } | Entry::Separator | Entry::Submenu { .. }, _) => false,
        })
}

/// Writes times, and remembers when they are out of date.
struct Writer {
    now: WallTime,
    changes_in: Option<Duration>,
}

impl Writer {
    fn left(&mut self, until: WallTime) -> String {
        let left = self.now.until(until);
        self.note(countdown::next_change(left));
        countdown::words(left)
    }

    fn since(&mut self, start: WallTime) -> String {
        let elapsed = start.until(self.now);
        self.note(Some(countdown::next_growth(elapsed)));
        countdown::words(elapsed)
    }

    fn note(&mut self, change: Option<Duration>) {
        self.changes_in = [self.changes_in, change].into_iter().flatten().min();
    }

    fn who(&mut self, snapshot: &Snapshot) -> Vec<Entry> {
        match &snapshot.identity {
            Identity::SignedIn { identity_provider, subject, expires_at } => {
                let place = place_name(snapshot, identity_provider);
                vec![words(format!("{subject} · {place} · {}", self.left(*expires_at)))]
            }
            Identity::SigningIn { identity_provider, authorize_url } => {
                let place = place_name(snapshot, identity_provider);
                let mut entries = vec![words(format!("Signing in at {place}: finish in the browser"))];
                if authorize_url.is_some() {
                    entries.push(item("Open the page again", Action::OpenSignInPage));
                }
                entries.push(item("Cancel signing in", Action::Ask(Command::CancelSignIn)));
                entries
            }
            Identity::SignedOut { cause } => {
                let mut entries = vec![words("Not signed in")];
                entries.extend(cause.iter().map(problem));
                entries.extend(ways_to_sign_in(snapshot));
                entries
            }
        }
    }

    fn rows(&mut self, snapshot: &Snapshot) -> Vec<Entry> {
        let signed_in = matches!(snapshot.identity, Identity::SignedIn { .. });
        let mut shown: Vec<&TargetView> =
            snapshot.targets.iter().filter(|view| signed_in || is_under_way(view)).collect();
        let left_out = shown.len() > MOST_ROWS;
        if left_out {
            let (under_way, at_rest): (Vec<_>, Vec<_>) = shown.into_iter().partition(|view| is_under_way(view));
            shown = under_way.into_iter().chain(at_rest).take(MOST_ROWS).collect();
            shown.sort_by(|one, other| one.target.id.cmp(&other.target.id));
        }
        let mut entries: Vec<Entry> = shown.into_iter().map(|view| self.row(view)).collect();
        if left_out {
            entries.push(item("More databases…", Action::ShowWindow(None)));
        }
        entries
    }

    fn row(&mut self, view: &TargetView) -> Entry {
        let id = &view.target.id;
        let limit = view.binding_limit.map(|limit| format!(" · {}", self.left(limit.expires_at))).unwrap_or_default();
        match &view.gateway {
            Gateway::Open { role, .. } => submenu(format!("● {id} · {role}{limit}"), connected(view)),
            Gateway::Broken { .. } => submenu(format!("▲ {id} · reconnecting{limit}"), connected(view)),
            Gateway::Opening { step, .. } => {
                let cancel = item("Cancel", Action::Ask(Command::CloseGateway { target: id.clone() }));
                submenu(format!("◔ {id} · {}", doing(*step)), vec![cancel])
            }
            Gateway::Closed { .. } => self.closed_row(view, &limit),
            Gateway::Closing => words(format!("◔ {id} · disconnecting")),
        }
    }

    fn closed_row(&mut self, view: &TargetView, limit: &str) -> Entry {
        let id = &view.target.id;
        if let Some(request) = &view.request
            && matches!(request.state, RequestState::Pending { .. })
        {
            let label = format!("◔ {id} · waiting for approval, {}", self.since(request.requested_at));
            let cancel = Action::Ask(Command::CancelRequest { request: request.id.clone() });
            let details = Action::ShowWindow(Some(id.clone()));
            return submenu(label, vec![item("Cancel request", cancel), item("Details…", details)]);
        }
        match &view.grant {
            Some(Grant::Provisioning { role }) => words(format!("◔ {id} · {role} approved, being set up")),
            Some(Grant::Active { role, .. }) => {
                let entries =
                    vec![item("Connect", connect(view, Some(*role))), item("Give access back", release(view))];
                submenu(format!("○ {id} · {role}{limit}"), entries)
            }
            Some(Grant::Ended { .. }) | None => at_rest(view),
        }
    }

    fn headline(&mut self, snapshot: &Snapshot) -> Option<String> {
        let open = |view: &&TargetView| matches!(view.gateway, Gateway::Open { .. } | Gateway::Broken { .. });
        let limits = snapshot
            .targets
            .iter()
            .filter(open)
            .filter_map(|view| Some((view.binding_limit?.expires_at, &view.target.id)));
        let (expires_at, id) = limits.min()?;
        Some(format!("{id} {}", self.left(expires_at)))
    }
}

fn at_rest(view: &TargetView) -> Entry {
    let id = &view.target.id;
    let standing = view.entitlements.iter().any(|entitlement| entitlement.gate == Gate::Standing);
    if standing {
        let failed = matches!(view.gateway, Gateway::Closed { cause: Some(_) });
        let state = if failed { "did not connect, try again" } else { "connect" };
        return item(format!("○ {id} · {state}"), connect(view, None));
    }
    if view.entitlements.is_empty() {
        return words(format!("◌ {id} · no access"));
    }
    item(format!("◌ {id} · request access…"), Action::ShowWindow(Some(id.clone())))
}

fn connected(view: &TargetView) -> Vec<Entry> {
    let id = &view.target.id;
    let (shell, form) = match view.target.engine {
        Engine::Postgres => ("Copy psql command", ConnectionForm::Psql),
        Engine::Mariadb | Engine::Mysql => ("Copy mysql command", ConnectionForm::Mysql),
    };
    let mut entries = vec![
        item("Copy connection string", Action::Copy(id.clone(), ConnectionForm::Url)),
        item(shell, Action::Copy(id.clone(), form)),
        item("Copy password", Action::CopyPassword(id.clone())),
        item("Details…", Action::ShowWindow(Some(id.clone()))),
        item("Disconnect", Action::Ask(Command::CloseGateway { target: id.clone() })),
    ];
    if matches!(view.grant, Some(Grant::Active { .. })) {
        entries.push(item("Give access back", release(view)));
    }
    entries
}

fn connect(view: &TargetView, role: Option<RoleName>) -> Action {
    Action::Ask(Command::OpenGateway { target: view.target.id.clone(), role })
}

fn release(view: &TargetView) -> Action {
    Action::Ask(Command::ReleaseGrant { target: view.target.id.clone() })
}

fn doing(step: OpeningStep) -> &'static str {
    match step {
        OpeningStep::BindPort => "taking the port",
        OpeningStep::CheckAccount => "checking the account",
        OpeningStep::OpenTunnel => "opening the tunnel",
        OpeningStep::ProveLogin => "proving the login",
    }
}

fn ways_to_sign_in(snapshot: &Snapshot) -> Vec<Entry> {
    if let [_, _, ..] = snapshot.identity_providers.as_slice() {
        let ask = |id: &IdentityProviderId| Action::Ask(Command::SignIn { identity_provider: Some(id.clone()) });
        return snapshot
            .identity_providers
            .iter()
            .map(|place| item(format!("Sign in at {}", place.name), ask(&place.id)))
            .collect();
    }
    vec![item("Sign in", Action::Ask(Command::SignIn { identity_provider: None }))]
}

fn place_name<'a>(snapshot: &'a Snapshot, id: &'a IdentityProviderId) -> &'a str {
    let place = snapshot.identity_providers.iter().find(|place| place.id == *id);
    place.map_or(id.as_str(), |place| place.name.as_str())
}

fn problem(cause: &ErrorView) -> Entry {
    item(format!("▲ {}", shortened(&cause.message)), Action::ShowWindow(None))
}

fn reviews(snapshot: &Snapshot) -> Option<Entry> {
    let waiting: Vec<&PendingReview> = snapshot.reviews.iter().filter(|review| !review.own).collect();
    let title = match waiting.len() {
        0 => return None,
        1 => "1 request to review".to_owned(),
        several => format!("{several} requests to review"),
    };
    Some(submenu(title, waiting.into_iter().map(review).collect()))
}

/// Those from elsewhere are in the window: most likely somebody uses them.
fn left_sessions(snapshot: &Snapshot) -> Option<Entry> {
    let label = match snapshot.left_sessions.of_this_computer().count() {
        0 => return None,
        1 => "▲ 1 session was left open · end it".to_owned(),
        several => format!("▲ {several} sessions were left open · end them"),
    };
    Some(item(label, Action::Ask(Command::EndLeftSessions)))
}

fn review(review: &PendingReview) -> Entry {
    let PendingReview { requester, role, target, .. } = review;
    let label = format!("{requester}: {role} on {target}, {}", countdown::spoken(&review.duration));
    let answer = |decision| {
        Action::Ask(Command::ReviewRequest { broker_ref: review.broker_ref.clone(), decision, comment: None })
    };
    let entries = vec![
        words(format!("“{}”", shortened(&review.justification))),
        item("Approve", answer(Decision::Approve)),
        item("Deny", answer(Decision::Deny)),
        item("Details…", Action::ShowWindow(None)),
    ];
    submenu(label, entries)
}

fn closing(identity: &Identity) -> Vec<Entry> {
    let mut entries = vec![item("Open Daypass", Action::ShowWindow(None))];
    if matches!(identity, Identity::SignedIn { .. }) {
        entries.push(item("Sign out", Action::Ask(Command::SignOut)));
    }
    entries.push(item("Quit", Action::Ask(Command::Quit)));
    entries
}

fn look(snapshot: &Snapshot, now: WallTime) -> Look {
    let ends_soon = |view: &TargetView| view.binding_limit.is_some_and(|limit| now.until(limit.expires_at) < SOON);
    let open = |view: &TargetView| matches!(view.gateway, Gateway::Open { .. });
    let broken = |view: &TargetView| matches!(view.gateway, Gateway::Broken { .. });
    let targets = &snapshot.targets;
    let wants = snapshot.reviews.iter().any(|review| !review.own) || !snapshot.warnings.is_empty();
    if wants || targets.iter().any(|view| broken(view) || (open(view) && ends_soon(view))) {
        Look::Attention
    } else if targets.iter().any(open) {
        Look::Connected
    } else if matches!(snapshot.identity, Identity::SignedIn { .. }) {
        Look::Idle
    } else {
        Look::SignedOut
    }
}

fn is_under_way(view: &TargetView) -> bool {
    let asked = view.request.as_ref().is_some_and(|request| matches!(request.state, RequestState::Pending { .. }));
    let granted = matches!(view.grant, Some(Grant::Active { .. } | Grant::Provisioning { .. }));
    asked || granted || !matches!(view.gateway, Gateway::Closed { .. })
}

/// Menus do not wrap.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

pub(super) fn item(label: impl Into<String>, action: Action) -> Entry {
    Entry::Item { label: label.into(), action: Some(action) }
}

pub(super) fn words(label: impl Into<String>) -> Entry {
    Entry::Item { label: label.into(), action: None }
}

pub(super) fn submenu(label: impl Into<String>, entries: Vec<Entry>) -> Entry {
    Entry::Submenu { label: label.into(), entries }
}
