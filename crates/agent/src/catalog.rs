//! The Catalog file: which databases there are, how they are reached, and how access to them may be had.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use access::CatalogEntry;
use model::{
    AccessDuration, AccountId, Endpoint, Engine, Entitlement, Environment, ErrorView, Gate, IdentityProvider,
    IdentityProviderId, Region, RoleName, Target, TargetId,
};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use url::Url;

mod way;

/// What a Catalog file says.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Where AWS is.
    pub aws: AwsPlace,
    /// Where one can sign in.
    pub identity_providers: Vec<OidcEntry>,
    /// The Targets and how they may be had.
    pub entries: Vec<CatalogEntry>,
}

/// Where AWS is, when not at its public addresses.
#[derive(Clone, Debug)]
pub struct AwsPlace {
    /// One address for all services; none: AWS's own.
    pub endpoint: Option<Url>,
    /// What the databases' certificates may chain to beside RDS's own authorities, as PEM.
    pub ca_bundle: Option<PathBuf>,
    /// How often a broker is asked about a request.
    pub poll: Duration,
}

impl AwsPlace {
    /// What the databases' certificates may chain to: RDS's own authorities, and those of the bundle the Catalog names.
    ///
    /// # Errors
    /// `ca-bundle-unusable`, with the file's path.
    pub(crate) fn roots(&self) -> Result<Vec<CertificateDer<'static>>, ErrorView> {
        let unusable = |why: String| {
            let path = self.ca_bundle.as_deref().unwrap_or(Path::new("embedded certificates")).display();
            let hint = "get AWS's global-bundle.pem anew, or take `ca-bundle` out of the catalog: Daypass knows RDS's authorities";
            ErrorView::new("ca-bundle-unusable", format!("the certificates {path} cannot be used: {why}"), hint)
        };
        let bundle =
            self.ca_bundle.as_ref().map(std::fs::read).transpose().map_err(|error| unusable(error.to_string()))?;
        gateway::rds_roots(bundle.as_deref()).map_err(|error| unusable(error.to_string()))
    }
}

/// An OpenID Connect provider and the role it leads to.
#[derive(Clone, Debug)]
pub struct OidcEntry {
    /// Its name in commands.
    pub id: IdentityProviderId,
    /// Its name for people.
    pub name: String,
    /// The issuer, exactly as its tokens spell it.
    pub issuer: String,
    /// Our client id there.
    pub client_id: String,
    /// The role assumed with its ID token.
    pub role: String,
    /// The Region whose STS is asked.
    pub region: Region,
}

/// Why a Catalog file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file is not there or cannot be read.
    #[error("cannot read the catalog {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// The file says something that makes no sense.
    #[error("{path}:{line}:{column}: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong, in one line.
        cause: String,
    },
}

impl CatalogError {
    /// The error as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        match self {
            Self::Unreadable { .. } => ErrorView::new(
                "catalog-unreadable",
                self.to_string(),
                "ask your administrator for the catalog file and name it with --catalog FILE",
            ),
            Self::Malformed { path, line, .. } => ErrorView::new(
                "catalog-malformed",
                self.to_string(),
                format!("correct line {line} of {}; nothing else was changed", path.display()),
            ),
        }
    }
}

impl Catalog {
    /// Reads a Catalog file.
    ///
    /// # Errors
    /// [`CatalogError`] names the file, and the line and column where there are such.
    pub fn read(path: &Path) -> Result<Self, CatalogError> {
        let text =
            std::fs::read_to_string(path).map_err(|cause| CatalogError::Unreadable { path: path.to_owned(), cause })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, CatalogError> {
        let malformed = |at: usize, cause: String| {
            let (line, column) = line_and_column(text, at);
            CatalogError::Malformed { path: path.to_owned(), line, column, cause }
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(" ");
            malformed(error.span().map_or(0, |span| span.start), message)
        })?;
        file.into_catalog(path.parent().unwrap_or(Path::new("."))).map_err(|(at, cause)| malformed(at, cause))
    }

    /// The identity providers as the Snapshot shows them.
    #[must_use]
    pub fn identity_provider_views(&self) -> Vec<IdentityProvider> {
        self.identity_providers
            .iter()
            .map(|entry| IdentityProvider { id: entry.id.clone(), name: entry.name.clone() })
            .collect()
    }

    /// The identity provider of this name.
    #[must_use]
    pub fn identity_provider(&self, id: &IdentityProviderId) -> Option<&OidcEntry> {
        self.identity_providers.iter().find(|entry| &entry.id == id)
    }

    /// The entry of this name.
    #[must_use]
    pub fn entry(&self, id: &TargetId) -> Option<&CatalogEntry> {
        self.entries.iter().find(|entry| &entry.target.id == id)
    }
}

/// Line and column, from 1, of a byte offset.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    version: toml::Spanned<u32>,
    #[serde(default)]
    aws: AwsTable,
    #[serde(default)]
    identity_provider: Vec<IdentityProviderTable>,
    #[serde(default)]
    target: Vec<toml::Spanned<TargetTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AwsTable {
    endpoint: Option<toml::Spanned<Url>>,
    ca_bundle: Option<PathBuf>,
    poll_seconds: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IdentityProviderTable {
    id: IdentityProviderId,
    name: String,
    issuer: toml::Spanned<String>,
    client_id: String,
    role: String,
    region: Region,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TargetTable {
    id: TargetId,
    engine: Engine,
    host: String,
    port: u16,
    region: Region,
    account: AccountId,
    database: String,
    rds_identifier: String,
    #[serde(default)]
    environment: Environment,
    bastion: way::BastionField,
    document: Option<way::DocumentField>,
    local_port: Option<u16>,
    entitlement: Vec<toml::Spanned<EntitlementTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EntitlementTable {
    role: RoleName,
    user: Option<String>,
    secret: Option<String>,
    gate: GateName,
    runbook: Option<String>,
    #[serde(default)]
    durations: Vec<AccessDuration>,
    #[serde(default)]
    approvers: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum GateName {
    OnRequest,
    Standing,
}

/// A byte offset and what is wrong there.
type Fault = (usize, String);

impl File {
    fn into_catalog(self, folder: &Path) -> Result<Catalog, Fault> {
        if *self.version.get_ref() != 1 {
            let cause = format!("version {} is not known to this Daypass; version 1 is", self.version.get_ref());
            return Err((self.version.span().start, cause));
        }
        let aws = AwsPlace {
            endpoint: self.aws.endpoint.map(|url| trusted_address(url.span().start, url.into_inner())).transpose()?,
            ca_bundle: self.aws.ca_bundle.map(|path| folder.join(path)),
            poll: Duration::from_secs(u64::from(self.aws.poll_seconds.unwrap_or(15).max(1))),
        };
        let identity_providers =
            self.identity_provider.into_iter().map(IdentityProviderTable::into_entry).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        let mut entries = Vec::new();
        for table in self.target {
            let at = table.span().start;
            let entry = table.into_inner().into_entry(at)?;
            if !names.insert(entry.target.id.clone()) {
                return Err((at, format!("the target `{}` is there twice", entry.target.id)));
            }
            entries.push(entry);
        }
        entries.sort_by(|a, b| a.target.id.cmp(&b.target.id));
        Ok(Catalog { aws, identity_providers, entries })
    }
}

impl IdentityProviderTable {
    fn into_entry(self) -> Result<OidcEntry, Fault> {
        let Self { id, name, issuer, client_id, role, region } = self;
        let at = issuer.span().start;
        let url = Url::parse(issuer.get_ref())
            .map_err(|error| (at, format!("`{}` is no address: {error}", issuer.get_ref())))?;
        trusted_address(at, url)?;
        Ok(OidcEntry { id, name, issuer: issuer.into_inner(), client_id, role, region })
    }
}

impl TargetTable {
    fn into_entry(self, at: usize) -> Result<CatalogEntry, Fault> {
        if self.entitlement.is_empty() {
            return Err((
                at,
                format!("the target `{}` offers no role: it needs at least one [[target.entitlement]]", self.id),
            ));
        }
        let entitlements = self.entitlement.into_iter().map(|table| {
            let at = table.span().start;
            table.into_inner().into_entitlement(&self.id, at)
        });
        let entitlements = entitlements.collect::<Result<_, _>>()?;
        let (bastion, document) = way::parsed(self.bastion, self.document)?;
        let target = Target {
            id: self.id,
            engine: self.engine,
            endpoint: Endpoint { host: self.host, port: self.port },
            region: self.region,
            account: self.account,
            database: self.database,
            rds_identifier: self.rds_identifier,
            environment: self.environment,
            bastion,
            document,
            local_port: self.local_port,
        };
        Ok(CatalogEntry { target, entitlements })
    }
}

impl EntitlementTable {
    fn into_entitlement(mut self, target: &TargetId, at: usize) -> Result<Entitlement, Fault> {
        let gate = match (self.gate, self.runbook) {
            (GateName::Standing, None) if self.durations.is_empty() => Gate::Standing,
            (GateName::Standing, _) => {
                return Err((at, "a standing role has no `runbook` and no `durations`".to_owned()));
            }
            (GateName::OnRequest, Some(runbook)) if !self.durations.is_empty() => {
                self.durations.sort();
                Gate::OnRequest { runbook, durations: self.durations, approvers: self.approvers }
            }
            (GateName::OnRequest, _) => {
                return Err((at, "a role on request needs a `runbook` and at least one of `durations`".to_owned()));
            }
        };
        let database_user = match (self.user, &self.secret) {
            (Some(user), _) => user,
            // Clients must name somebody before the secret is read, and go on doing so when its user alternates.
            (None, Some(_)) => target.to_string(),
            (None, None) => {
                return Err((at, "a role needs a database `user`, or the `secret` that holds one".to_owned()));
            }
        };
        Ok(Entitlement { role: self.role, database_user, secret: self.secret, gate })
    }
}

/// Plain http is only for this computer: anything else on the way could read or change what passes.
fn trusted_address(at: usize, url: Url) -> Result<Url, Fault> {
    let loopback = url.host_str().is_some_and(model::is_loopback_host);
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err((at, format!("`{url}` is not https (plain http is only for 127.0.0.1)"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
version = 1
[aws]
endpoint = "http://127.0.0.1:4566"
ca-bundle = "ca.pem"
[[identity-provider]]
id = "acme"
name = "Acme"
issuer = "https://login.acme.dev"
client-id = "daypass"
role = "arn:aws:iam::111122223333:role/JitRds"
region = "eu-west-1"
[[target]]
id = "orders-prod"
engine = "postgres"
host = "orders-prod.c9.eu-west-1.rds.amazonaws.com"
port = 5432
region = "eu-west-1"
account = "111122223333"
database = "shop"
rds-identifier = "orders-prod"
environment = "production"
bastion = { instance = "i-0da7a9a55ba5710e1" }
[[target.entitlement]]
role = "read-only"
user = "app_ro"
gate = "on-request"
runbook = "Daypass-TemporaryAccess"
durations = ["1h", "2m"]
approvers = "payments-leads"
"#;

    fn parse(text: &str) -> Result<Catalog, CatalogError> {
        Catalog::parse(text, Path::new("/etc/daypass/catalog.toml"))
    }

    fn fault_of(text: &str) -> String {
        parse(text).expect_err("the catalog is broken").to_string()
    }

    #[test]
    fn a_catalog_says_where_things_are_and_how_they_may_be_had() {
        let catalog = parse(GOOD).expect("a good catalog");
        assert_eq!(catalog.aws.ca_bundle.as_deref(), Some(Path::new("/etc/daypass/ca.pem")));
        let entry = catalog.entries.first().expect("one target");
        assert_eq!(entry.target.endpoint.to_string(), "orders-prod.c9.eu-west-1.rds.amazonaws.com:5432");
        let Gate::OnRequest { durations, .. } = &entry.entitlements.first().expect("one role").gate else {
            panic!("it is on request")
        };
        assert_eq!(durations.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2m", "1h"], "shortest first");
    }

    #[test]
    fn a_broken_catalog_is_told_by_line_and_column() {
        let cases = [
            (GOOD.replace("port = 5432", "port = \"x\""), "/etc/daypass/catalog.toml:17:8: "),
            (GOOD.replace("engine = \"postgres\"", "engine = \"oracle\""), ":15:10: "),
            (
                GOOD.replace("region = \"eu-west-1\"\naccount", "region = \"ireland\"\naccount"),
                "`ireland` is not a AWS Region",
            ),
            (GOOD.replace("database = ", "databse = "), "unknown field `databse`"),
            (GOOD.replace("version = 1", "version = 7"), ":2:11: version 7 is not known"),
            (GOOD.replace("http://127.0.0.1:4566", "http://aws.example"), ":4:12: `http://aws.example/` is not https"),
            (GOOD.replace("\"1h\", \"2m\"", ""), "a role on request needs"),
            (GOOD.replace("[[target]]", "[[target"), ":13:"),
        ];
        for (text, expected) in cases {
            let fault = fault_of(&text);
            assert!(fault.contains(expected), "`{fault}` must say `{expected}`");
            assert_eq!(fault.lines().count(), 1, "`{fault}` must fit one line");
        }
    }
}
