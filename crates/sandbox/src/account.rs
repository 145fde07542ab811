//! What is in the account before anybody calls: people, roles, machines and databases.

use model::{AccessDuration, Engine, Environment, RoleName};

mod machines;
mod roles;
mod secrets;

pub(crate) use secrets::{Form, PasswordLogin, SecretPlan};

use machines::{BASTION, OLD_BASTION};
pub(crate) use machines::{Container, EcsTask, Node};

/// The client id under which Daypass is registered at the identity provider.
pub(crate) const CLIENT_ID: &str = "daypass";
/// The document that grants access for a time.
pub(crate) const RUNBOOK: &str = "Daypass-TemporaryAccess";
/// The role of people who ask.
pub(crate) const DEVELOPERS: &str = "JitRds";
/// The role of people who answer.
pub(crate) const APPROVERS: &str = "JitRdsApprover";
/// The role the runbook works as.
pub(crate) const AUTOMATION: &str = "JitRdsAutomation";
/// A role that developers may assume from theirs: it only reads.
pub(crate) const READERS: &str = "JitRdsReader";

const ZONE: &str = "c9daypass0.eu-west-1.rds.amazonaws.com";

/// An account in one Region.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) people: Vec<Person>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) ecs_tasks: Vec<EcsTask>,
    pub(crate) databases: Vec<Database>,
    pub(crate) secrets: Vec<SecretPlan>,
}

/// Somebody who can sign in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// `ana`: how tests and the demo call them.
    pub(crate) short: &'static str,
    pub(crate) email: &'static str,
    pub(crate) name: &'static str,
    /// The identity provider's own id of them, `sub`.
    pub(crate) subject: &'static str,
    pub(crate) roles: &'static [&'static str],
}

/// A database and how its users may be had.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// DBInstanceIdentifier, or DBClusterIdentifier of a cluster.
    pub(crate) identifier: &'static str,
    pub(crate) engine: Engine,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `db-…` or `cluster-…`.
    pub(crate) resource_id: &'static str,
    /// Aurora: the identifier is a cluster's, and this is its writer.
    pub(crate) writer: Option<&'static str>,
    pub(crate) database: &'static str,
    pub(crate) environment: Environment,
    pub(crate) bastion: &'static str,
    pub(crate) entitlements: Vec<Offer>,
}

/// One Role on a database.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) role: RoleName,
    pub(crate) user: &'static str,
    /// None: standing.
    pub(crate) on_request: Option<OnRequest>,
}

/// How an Offer is asked for.
#[derive(Clone, Debug)]
pub(crate) struct OnRequest {
    pub(crate) durations: Vec<AccessDuration>,
    pub(crate) approvers: &'static str,
}

impl Account {
    /// The one account there is.
    pub(crate) fn acme() -> Self {
        Self {
            id: "111122223333".into(),
            region: "eu-west-1".into(),
            people: people(),
            nodes: machines::nodes(),
            ecs_tasks: machines::ecs_tasks(),
            databases: databases(),
            secrets: secrets::secrets(),
        }
    }

    /// A secret's ARN without the six characters at its end.
    pub(crate) fn secret_arn(&self, name: &str) -> String {
        format!("arn:aws:secretsmanager:{}:{}:secret:{name}", self.region, self.id)
    }

    /// By short name or e-mail address.
    pub(crate) fn person(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.short == name || person.email == name)
    }

    pub(crate) fn database(&self, identifier: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.identifier == identifier)
    }

    pub(crate) fn role_arn(&self, role: &str) -> String {
        format!("arn:aws:iam::{}:role/{role}", self.id)
    }

    /// The ARN `rds-db:connect` is allowed or refused on.
    pub(crate) fn db_user_arn(&self, resource_id: &str, user: &str) -> String {
        format!("arn:aws:rds-db:{}:{}:dbuser:{resource_id}/{user}", self.region, self.id)
    }
}

fn people() -> Vec<Person> {
    let person = |short, email, name, subject, roles| Person { short, email, name, subject, roles };
    vec![
        person("ana", "ana@acme.dev", "Ana Alves", "acme|1001", &[DEVELOPERS]),
        person("ben", "ben@acme.dev", "Ben Baker", "acme|1002", &[APPROVERS]),
        person("eva", "eva@acme.dev", "Eva Ek", "acme|1003", &[DEVELOPERS, APPROVERS]),
    ]
}

fn databases() -> Vec<Database> {
    let instance = |identifier, resource_id, environment, bastion, entitlements| Database {
        identifier,
        engine: Engine::Postgres,
        host: format!("{identifier}.{ZONE}"),
        port: 5432,
        resource_id,
        writer: None,
        database: "shop",
        environment,
        bastion,
        entitlements,
    };
    let mysql = |identifier, engine, resource_id, entitlements| Database {
        engine,
        port: 3306,
        database: "billing",
        ..instance(identifier, resource_id, Environment::Staging, BASTION, entitlements)
    };
    let ledger = instance(
        "ledger-prod",
        "cluster-LEDGERPROD7Q2X5N3M6R4T8",
        Environment::Production,
        BASTION,
        vec![read_only(asked())],
    );
    vec![
        instance(
            "orders-prod",
            "db-ORDERSPROD4K6Z2W7Y3V5B9",
            Environment::Production,
            BASTION,
            vec![read_only(asked()), read_write(asked())],
        ),
        instance("billing-staging", "db-BILLINGSTAGING3H5J7L9P2", Environment::Staging, BASTION, vec![read_only(None)]),
        Database { host: format!("ledger-prod.cluster-{ZONE}"), writer: Some("ledger-prod-1"), ..ledger },
        instance(
            "archive-prod",
            "db-ARCHIVEPROD6D8F2G4S7A3C",
            Environment::Production,
            OLD_BASTION,
            vec![read_only(None)],
        ),
        mysql("billing-mysql", Engine::Mysql, "db-BILLINGMYSQL2K4M6P8R3T5", vec![read_only(None), read_write(asked())]),
        mysql("stock-mariadb", Engine::Mariadb, "db-STOCKMARIADB7B9D2F4H6K8", vec![read_only(None)]),
    ]
}

fn read_write(on_request: Option<OnRequest>) -> Offer {
    Offer { role: RoleName::ReadWrite, user: "app_rw", on_request }
}

fn read_only(on_request: Option<OnRequest>) -> Offer {
    Offer { role: RoleName::ReadOnly, user: "app_ro", on_request }
}

fn asked() -> Option<OnRequest> {
    let durations = ["2m", "15m", "1h"].map(|text| text.parse().expect("a literal duration parses"));
    Some(OnRequest { durations: durations.into(), approvers: "payments-leads" })
}
