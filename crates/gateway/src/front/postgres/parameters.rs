//! What is said to the Target at start-up, made from what the client said.

use db_proto::postgres::{ParameterError, Startup, StartupParameters};

use super::super::{FrontConfig, logins::Origin};
use crate::route::Demand;

const APPLICATION_NAME: &str = "application_name";
const OPTIONS: &str = "options";
/// `NAMEDATALEN` less its NUL: the server cuts the name here.
const LONGEST_NAME: usize = 63;
/// Settings in `options` that come later win, and a client's own come later.
const READ_ONLY: &str = "-c default_transaction_read_only=on";
/// Programs that copy whole databases.
const COPYING: [&str; 4] = ["pg_basebackup", "pg_dump", "pg_dumpall", "pg_restore"];

/// A start-up of our own, to prove a login.
pub(super) fn proof(config: &FrontConfig) -> Result<Startup, ParameterError> {
    let parameters = StartupParameters::new(&config.database_user, &config.database)?;
    Ok(Startup { parameters, minor: 0, options: Vec::new() })
}

/// The start-up for the Target.
pub(super) fn upstream(
    config: &FrontConfig,
    client: &StartupParameters,
    user: &str,
    origin: &Origin,
) -> Result<StartupParameters, ParameterError> {
    let mut parameters = StartupParameters::new(user, database(config, client))?;
    let mut named = false;
    let mut read_only = !config.read_only;
    for (name, value) in client.others() {
        match name.as_str() {
            APPLICATION_NAME if value.is_empty() => continue,
            APPLICATION_NAME => named = true,
            OPTIONS if !read_only => {
                parameters = parameters.with(OPTIONS, format!("{READ_ONLY} {value}"))?;
                read_only = true;
                continue;
            }
            _ => {}
        }
        parameters = parameters.with(name, value)?;
    }
    if !read_only {
        parameters = parameters.with(OPTIONS, READ_ONLY)?;
    }
    if named { Ok(parameters) } else { parameters.with(APPLICATION_NAME, origin_name(origin)) }
}

/// What the connection is called; empty where it has no name.
pub(super) fn application_name(parameters: &StartupParameters) -> &str {
    value(parameters, APPLICATION_NAME).unwrap_or_default()
}

/// What the connection is for.
pub(super) fn demand(parameters: &StartupParameters) -> Demand {
    let copies = COPYING.contains(&application_name(parameters)) || is_replication(parameters);
    if copies { Demand::Bulk } else { Demand::Interactive }
}

/// Whether the client wants to replicate rather than to ask.
pub(super) fn is_replication(parameters: &StartupParameters) -> bool {
    const OFF: [&str; 5] = ["0", "f", "false", "n", "no"];
    value(parameters, "replication").is_some_and(|value| !OFF.contains(&value) && value != "off")
}

/// libpq names the user where its user names no database.
fn database<'a>(config: &'a FrontConfig, client: &'a StartupParameters) -> &'a str {
    if client.database() == client.user() { &config.database } else { client.database() }
}

/// Person and AccessRequest, in the printable ASCII that the server keeps of a name.
fn origin_name(origin: &Origin) -> String {
    let request = origin.request.iter().flat_map(|request| [" ", request]);
    let name: String = ["daypass ", &origin.person].into_iter().chain(request).collect();
    name.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(LONGEST_NAME).collect()
}

/// The last one counts, as at the server.
fn value<'a>(parameters: &'a StartupParameters, name: &str) -> Option<&'a str> {
    parameters.others().iter().rev().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(database: &str, others: &[(&str, &str)]) -> StartupParameters {
        let parameters = StartupParameters::new("orders", database).expect("plain words");
        others.iter().fold(parameters, |all, (name, value)| all.with(*name, *value).expect("plain words"))
    }

    fn sent(read_only: bool, client: &StartupParameters) -> StartupParameters {
        let origin = Origin { person: "\u{e9}va@acme.dev".to_owned(), request: Some("r".repeat(80)) };
        upstream(&FrontConfig { read_only, ..FrontConfig::example() }, client, "app_clone", &origin).expect("it fits")
    }

    #[test]
    fn what_a_client_sets_is_passed_on_and_what_it_leaves_out_is_filled_in() {
        let bare = sent(false, &client("orders", &[("application_name", "")]));
        assert_eq!((bare.user(), bare.database()), ("app_clone", "shop"));
        let name = application_name(&bare);
        assert!(name.starts_with("daypass ?va@acme.dev rrr") && name.len() == LONGEST_NAME, "{name}");

        let full = client("other", &[("application_name", "till"), ("options", "-c geqo=off"), ("TimeZone", "UTC")]);
        let passed = sent(false, &full);
        assert_eq!((passed.database(), passed.others()), ("other", full.others()));
    }

    #[test]
    fn read_only_comes_before_the_clients_own_options() {
        let options = |client: &StartupParameters| value(&sent(true, client), "options").map(str::to_owned);
        assert_eq!(options(&client("shop", &[])).as_deref(), Some("-c default_transaction_read_only=on"));
        let own = client("shop", &[("options", "-c default_transaction_read_only=off")]);
        let expected = "-c default_transaction_read_only=on -c default_transaction_read_only=off";
        assert_eq!(options(&own).as_deref(), Some(expected));
    }

    #[test]
    fn programs_that_copy_whole_databases_are_known() {
        for (others, expected) in [
            (&[("application_name", "pg_dump")][..], Demand::Bulk),
            (&[("application_name", "psql")], Demand::Interactive),
            (&[("replication", "database")], Demand::Bulk),
            (&[("replication", "off")], Demand::Interactive),
        ] {
            assert_eq!(demand(&client("shop", others)), expected, "{others:?}");
        }
    }
}
