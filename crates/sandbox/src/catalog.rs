//! The catalog file that tells Daypass about this account.

use std::fmt::Write as _;

use model::{Engine, Environment};

use crate::account::{APPROVERS, Account, CLIENT_ID, DEVELOPERS, Database, Offer, RUNBOOK};

/// Where things listen this time.
pub(crate) struct Addresses<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) issuer: &'a str,
    /// A path; none leaves the line out.
    pub(crate) ca_bundle: Option<&'a str>,
}

/// The whole file.
pub(crate) fn toml(account: &Account, addresses: &Addresses<'_>) -> String {
    let mut out = String::from("version = 1\n\n[aws]\n");
    line(&mut out, "endpoint", addresses.endpoint);
    if let Some(path) = addresses.ca_bundle {
        line(&mut out, "ca-bundle", path);
    }
    out.push_str("poll-seconds = 1\n");
    for (id, name, role) in
        [("acme", "Acme (sandbox)", DEVELOPERS), ("acme-approvers", "Acme approvers (sandbox)", APPROVERS)]
    {
        out.push_str("\n[[identity-provider]]\n");
        line(&mut out, "id", id);
        line(&mut out, "name", name);
        line(&mut out, "issuer", addresses.issuer);
        line(&mut out, "client-id", CLIENT_ID);
        line(&mut out, "role", &account.role_arn(role));
        line(&mut out, "region", &account.region);
    }
    for database in &account.databases {
        target(&mut out, account, database);
    }
    out
}

fn target(out: &mut String, account: &Account, database: &Database) {
    out.push_str("\n[[target]]\n");
    line(out, "id", database.identifier);
    line(out, "engine", engine(database.engine));
    line(out, "host", &database.host);
    number(out, "port", database.port);
    line(out, "region", &account.region);
    line(out, "account", &account.id);
    line(out, "database", database.database);
    line(out, "rds-identifier", database.identifier);
    line(out, "environment", environment(database.environment));
    let _ = writeln!(out, "bastion = {{ instance = {} }}", quoted(database.bastion));
    for offer in &database.entitlements {
        entitlement(out, offer);
    }
}

fn entitlement(out: &mut String, offer: &Offer) {
    out.push_str("\n[[target.entitlement]]\n");
    line(out, "role", offer.role.as_str());
    line(out, "user", offer.user);
    let Some(on_request) = &offer.on_request else {
        line(out, "gate", "standing");
        return;
    };
    line(out, "gate", "on-request");
    line(out, "runbook", RUNBOOK);
    let durations: Vec<String> = on_request.durations.iter().map(|duration| quoted(&duration.to_string())).collect();
    let _ = writeln!(out, "durations = [{}]", durations.join(", "));
    line(out, "approvers", on_request.approvers);
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key} = {}", quoted(value));
}

fn number(out: &mut String, key: &str, value: u16) {
    let _ = writeln!(out, "{key} = {value}");
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn engine(engine: Engine) -> &'static str {
    match engine {
        Engine::Mariadb => "mariadb",
        Engine::Mysql => "mysql",
        Engine::Postgres => "postgres",
    }
}

fn environment(environment: Environment) -> &'static str {
    match environment {
        Environment::Development => "development",
        Environment::Production => "production",
        Environment::Staging => "staging",
    }
}
