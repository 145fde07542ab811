//! The ladder of checks behind `daypass doctor`: each rung says what was seen and what to do. It changes nothing anywhere.

use aws::{BastionStatus, Bastions, Rds, Sts};
use ipc::{Rung, RungState};
use model::{Bastion, Endpoint, ErrorView, Gateway, Identity, SecretsKeptIn, Snapshot, Target, TargetId};

use super::Shared;
use crate::identity::Usable;

/// A clock this far off makes AWS refuse signatures that are not corrected, in seconds.
const TOLERATED_SKEW: u32 = 300;

/// Climbs until a rung does not hold; the ones above it are skipped.
pub(crate) async fn climb(shared: &Shared, snapshot: &Snapshot, target: Option<&TargetId>) -> Vec<Rung> {
    let mut ladder = Ladder { rungs: Vec::new(), broken: false };
    ladder.step("catalog", async || catalog(shared)).await;
    ladder.note(keychain(snapshot));
    ladder.step("clock", async || clock(shared, target).await).await;
    ladder.step("identity", async || identity(snapshot)).await;
    let entry = target.and_then(|target| shared.entry(target).ok());
    let target = entry.as_ref().map(|entry| &entry.target);
    let usable = ladder.find("credentials", async || credentials(shared).await).await;
    if let Some(target) = target {
        ladder.step("account", async || account(shared, usable.as_ref(), target).await).await;
        ladder.step("database", async || database(shared, usable.as_ref(), target).await).await;
        ladder.step("bastion", async || bastion(shared, usable.as_ref(), target).await).await;
        ladder.step("port", async || port(shared, snapshot, target).await).await;
        ladder.step("gateway", async || gateway(snapshot, target)).await;
    }
    ladder.rungs
}

struct Ladder {
    rungs: Vec<Rung>,
    broken: bool,
}

/// What a check that holds saw, and what else to do about it.
struct Seen {
    words: String,
    hint: Option<String>,
}

impl Seen {
    fn well(words: impl Into<String>) -> Result<Self, ErrorView> {
        Ok(Self { words: words.into(), hint: None })
    }
}

impl Ladder {
    async fn step(&mut self, name: &str, check: impl AsyncFnOnce() -> Result<Seen, ErrorView>) {
        self.find(name, async || check().await.map(|seen| (seen, ()))).await;
    }

    /// A rung that also finds something for the ones above it.
    async fn find<T>(&mut self, name: &str, check: impl AsyncFnOnce() -> Result<(Seen, T), ErrorView>) -> Option<T> {
        if self.broken {
            self.note(Rung {
                name: name.to_owned(),
                state: RungState::Skipped,
                seen: "not looked at".to_owned(),
                hint: None,
            });
            return None;
        }
        match check().await {
            Ok((Seen { words, hint }, found)) => {
                let state = if hint.is_some() { RungState::Warned } else { RungState::Passed };
                self.note(Rung { name: name.to_owned(), state, seen: words, hint });
                Some(found)
            }
            Err(ErrorView { message, hint, .. }) => {
                self.broken = true;
                self.note(Rung { name: name.to_owned(), state: RungState::Failed, seen: message, hint: Some(hint) });
                None
            }
        }
    }

    fn note(&mut self, rung: Rung) {
        self.rungs.push(rung);
    }
}

fn catalog(shared: &Shared) -> Result<Seen, ErrorView> {
    // Read afresh: the one in force may be older than the file.
    if let access::Event::CatalogUnreadable { cause } = shared.read_catalog() {
        return Err(cause);
    }
    Seen::well(format!("{} databases in {}", shared.catalog()?.entries.len(), shared.catalog_path.display()))
}

fn keychain(snapshot: &Snapshot) -> Rung {
    let (state, seen, hint) = match &snapshot.secrets_kept_in {
        SecretsKeptIn::Keychain => (RungState::Passed, "the keychain keeps the sign-in".to_owned(), None),
        SecretsKeptIn::Memory { why } => {
            let hint = "you sign in again after each start; unlock or install a keychain to change that".to_owned();
            (RungState::Warned, format!("the sign-in is kept in memory only: {why}"), Some(hint))
        }
    };
    Rung { name: "keychain".to_owned(), state, seen, hint }
}

async fn clock(shared: &Shared, target: Option<&TargetId>) -> Result<Seen, ErrorView> {
    let catalog = shared.catalog()?;
    let region = match target.and_then(|target| catalog.entry(target)) {
        Some(entry) => entry.target.region.clone(),
        None => match catalog.identity_providers.first() {
            Some(provider) => provider.region.clone(),
            None => return Seen::well("not compared: the catalog names no Region"),
        },
    };
    let seconds = aws::measure(&shared.aws(&region)?).await.map_err(|error| error.view())?;
    if seconds.unsigned_abs() < TOLERATED_SKEW {
        return Seen::well(format!("within {} s of AWS's", seconds.unsigned_abs()));
    }
    let words = format!("this computer's clock is {} AWS's", crate::words::apart(seconds));
    Ok(Seen {
        words,
        hint: Some("Daypass reckons with it, other tools will not: set the clock by the network".to_owned()),
    })
}

fn identity(snapshot: &Snapshot) -> Result<Seen, ErrorView> {
    match &snapshot.identity {
        Identity::SignedIn { subject, identity_provider, .. } => {
            Seen::well(format!("{subject}, signed in at {identity_provider}"))
        }
        Identity::SignedOut { cause: Some(cause) } => Err(cause.clone()),
        Identity::SignedOut { cause: None } | Identity::SigningIn { .. } => Err(crate::identity::not_signed_in()),
    }
}

async fn credentials(shared: &Shared) -> Result<(Seen, Usable), ErrorView> {
    let usable = shared.identity.usable(shared).await?;
    let left = shared.skew.now().until(usable.credentials.expires_at).as_secs() / 60;
    Ok((Seen { words: format!("fresh for {left} min, renewed by themselves"), hint: None }, usable))
}

async fn account(shared: &Shared, usable: Option<&Usable>, target: &Target) -> Result<Seen, ErrorView> {
    let usable = usable.ok_or_else(crate::identity::not_signed_in)?;
    let caller = Sts::new(&shared.aws(&target.region)?)
        .caller_identity(&usable.credentials)
        .await
        .map_err(|error| error.view())?;
    if caller.account == target.account {
        return Seen::well(format!("{} as {}", caller.account, caller.arn));
    }
    Err(crate::words::wrong_account(target, &caller.account))
}

async fn database(shared: &Shared, usable: Option<&Usable>, target: &Target) -> Result<Seen, ErrorView> {
    crate::words::region_agrees(target)?;
    let usable = usable.ok_or_else(crate::identity::not_signed_in)?;
    let rds = Rds::new(&shared.aws(&target.region)?, &usable.credentials);
    let found = rds.database(&target.rds_identifier).await.map_err(|error| error.view())?;
    let Endpoint { host, port } = &target.endpoint;
    match found.endpoint {
        Some(real) if real != target.endpoint => {
            let message = format!("the catalog says {host}:{port}, RDS says {real}");
            Err(ErrorView::new(
                "endpoint-differs",
                message,
                format!("write host = \"{}\" and port = {}", real.host, real.port),
            ))
        }
        _ if !found.iam_authentication => {
            let message = format!("{} has IAM authentication switched off", target.rds_identifier);
            Err(ErrorView::new(
                "iam-authentication-off",
                message,
                "ask its owner to switch IAM database authentication on",
            ))
        }
        _ => Seen::well(format!("{} is {}, IAM authentication on, {}", found.engine, found.status, found.resource_id)),
    }
}

async fn bastion(shared: &Shared, usable: Option<&Usable>, target: &Target) -> Result<Seen, ErrorView> {
    let usable = usable.ok_or_else(crate::identity::not_signed_in)?;
    if let Bastion::Direct { at } = &target.bastion {
        let at = at.as_ref().unwrap_or(&target.endpoint);
        return Seen::well(format!("none: this network reaches {at} by itself"));
    }
    let bastions = Bastions::new(&shared.aws(&target.region)?, &usable.credentials);
    let found = bastions.in_order(&target.bastion, &format!("{} on {}", usable.subject, target.id)).await;
    let found = found.map_err(|error| error.view())?;
    let mut hindrance = None;
    for bastion in &found {
        match crate::words::can_carry(target, bastion) {
            Ok(()) => return Seen::well(carries(bastion, found.len())),
            Err(cause) => hindrance = hindrance.or(Some(cause)),
        }
    }
    Err(hindrance.unwrap_or_else(|| crate::words::no_bastion(target)))
}

fn carries(bastion: &BastionStatus, of: usize) -> String {
    let version = bastion.agent_version.as_deref().map_or_else(String::new, |version| format!(", SSM agent {version}"));
    let others = if of > 1 { format!(", one of {of} with that name") } else { String::new() };
    format!("{} is online{version}{others}", bastion.node)
}

async fn port(shared: &Shared, snapshot: &Snapshot, target: &Target) -> Result<Seen, ErrorView> {
    let open = gateway_of(snapshot, target).is_some_and(|gateway| !matches!(gateway, Gateway::Closed { .. }));
    match shared.port_of(target) {
        _ if open => Seen::well("held by the open gateway"),
        None => Seen::well("chosen at the first connection, then always the same"),
        Some(port) => match gateway::Doors::bind(Some(port)).await {
            Ok(_free_again) => Seen::well(format!("{port} is free")),
            Err(error) => Err(crate::words::no_doors(target, &error, None)),
        },
    }
}

fn gateway(snapshot: &Snapshot, target: &Target) -> Result<Seen, ErrorView> {
    match gateway_of(snapshot, target) {
        Some(Gateway::Open { connections, connection, .. }) => {
            Seen::well(format!("open at 127.0.0.1:{}, {connections} connections, login proven", connection.port))
        }
        Some(Gateway::Broken { cause, .. } | Gateway::Closed { cause: Some(cause) }) => Err(cause.clone()),
        Some(Gateway::Closing) => Seen::well("being closed"),
        Some(Gateway::Opening { .. }) => Seen::well("being opened"),
        Some(Gateway::Closed { cause: None }) | None => {
            Seen::well(format!("closed; `daypass connect {}` goes the whole way and logs in once", target.id))
        }
    }
}

fn gateway_of<'a>(snapshot: &'a Snapshot, target: &Target) -> Option<&'a Gateway> {
    snapshot.targets.iter().find(|view| view.target.id == target.id).map(|view| &view.gateway)
}
