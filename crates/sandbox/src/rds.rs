//! Describing databases.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use model::Engine;
use serde_json::Value;

use crate::account::{Account, Database};
use crate::cloud::Cloud;
use crate::iam::Ask;
use crate::sigv4::Caller;
use crate::wire::{Answer, ApiError, Protocol};
use crate::xml::Xml;

pub(crate) fn answer(
    cloud: &Cloud,
    protocol: Protocol,
    operation: &str,
    input: &Value,
    caller: &Caller,
) -> Result<Answer, ApiError> {
    let call = Call { account: &cloud.account, master_secrets: cloud.secrets.of_masters(), protocol, input };
    let (kind, identifier) = match operation {
        "DescribeDBInstances" => ("db", "DBInstanceIdentifier"),
        "DescribeDBClusters" => ("cluster", "DBClusterIdentifier"),
        _ => {
            let text = format!("Could not find operation {operation} for version 2014-10-31");
            return Err(ApiError::new("InvalidAction", text));
        }
    };
    let asked = call.field(identifier).map(str::to_lowercase);
    let name = asked.as_deref().unwrap_or("*");
    let resource = format!("arn:aws:rds:{}:{}:{kind}:{name}", cloud.account.region, cloud.account.id);
    cloud.authorize(protocol, caller, &Ask::new(format!("rds:{operation}"), resource))?;
    if kind == "db" { call.instances(asked.as_deref()) } else { call.clusters(asked.as_deref()) }
}

struct Call<'a> {
    account: &'a Account,
    /// ARNs of the secrets that RDS manages itself, by DBInstanceIdentifier.
    master_secrets: BTreeMap<&'static str, String>,
    protocol: Protocol,
    input: &'a Value,
}

impl Call<'_> {
    /// Instances, and the writers of clusters, which are instances too.
    fn instances(&self, asked: Option<&str>) -> Result<Answer, ApiError> {
        let found = self.found(asked, |database| Some(database.writer.unwrap_or(database.identifier)));
        if let (Some(asked), true) = (asked, found.is_empty()) {
            let text = format!("DBInstance {asked} not found.");
            return Err(ApiError::new("DBInstanceNotFound", text).with_status(StatusCode::NOT_FOUND));
        }
        self.page(found, "DBInstances", "DBInstance", |xml, name, database| {
            instance(xml, self.account, name, database);
            if let Some(arn) = self.master_secrets.get(name) {
                xml.nest("MasterUserSecret", |xml| {
                    xml.text("SecretArn", arn).text("SecretStatus", "active");
                });
            }
        })
    }

    fn clusters(&self, asked: Option<&str>) -> Result<Answer, ApiError> {
        let found = self.found(asked, |database| database.writer.map(|_| database.identifier));
        if let (Some(asked), true) = (asked, found.is_empty()) {
            let text = format!("DBCluster {asked} not found.");
            return Err(ApiError::new("DBClusterNotFoundFault", text).with_status(StatusCode::NOT_FOUND));
        }
        self.page(found, "DBClusters", "DBCluster", |xml, name, database| cluster(xml, self.account, name, database))
    }

    /// Databases by the identifier they go by in this operation, those the filters leave, in alphabetical order.
    fn found(&self, asked: Option<&str>, named: impl Fn(&Database) -> Option<&str>) -> Vec<(&str, &Database)> {
        let mut found: Vec<(&str, &Database)> = Vec::new();
        for database in &self.account.databases {
            let name = match database.writer {
                Some(writer) if named(database) == Some(writer) => writer,
                _ => database.identifier,
            };
            let listed = named(database).is_some() && asked.is_none_or(|asked| asked == name);
            if listed && self.passes_filters(name, database) {
                found.push((name, database));
            }
        }
        found.sort_by_key(|(name, _)| *name);
        found
    }

    fn passes_filters(&self, name: &str, database: &Database) -> bool {
        (1..).map_while(|at| Some((at, self.field(&format!("Filters.Filter.{at}.Name"))?))).all(|(at, filter)| {
            let wanted = (1..).map_while(|value| self.field(&format!("Filters.Filter.{at}.Values.Value.{value}")));
            let given = match filter {
                "db-instance-id" => name,
                "db-cluster-id" => database.writer.map_or("", |_| database.identifier),
                "dbi-resource-id" | "db-cluster-resource-id" => database.resource_id,
                "engine" => engine(database),
                _ => return false,
            };
            wanted.into_iter().any(|wanted| wanted == given)
        })
    }

    /// `MaxRecords` of them from the one that `Marker` names.
    fn page(
        &self,
        found: Vec<(&str, &Database)>,
        list: &str,
        element: &str,
        write: impl Fn(&mut Xml, &str, &Database),
    ) -> Result<Answer, ApiError> {
        let most = self.field("MaxRecords").unwrap_or("100");
        let most: usize = most.parse().ok().filter(|most| (20..=100).contains(most)).ok_or_else(|| {
            let text = format!("Invalid value {most} for MaxRecords. Must be between 20 and 100");
            ApiError { code: "InvalidParameterValue".into(), ..ApiError::validation(self.protocol, text) }
        })?;
        let marker = self.field("Marker");
        let mut rest = found.into_iter().filter(|(name, _)| marker.is_none_or(|marker| *name > marker)).peekable();
        let mut xml = Xml::default();
        let mut last = "";
        xml.nest(list, |xml| {
            for (name, database) in rest.by_ref().take(most) {
                last = name;
                xml.nest(element, |xml| write(xml, name, database));
            }
        });
        if rest.peek().is_some() {
            xml.text("Marker", last);
        }
        Ok(Answer::Xml(xml))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.input.get(name)?.as_str()
    }
}

fn engine(database: &Database) -> &'static str {
    match database.engine {
        Engine::Mariadb => "mariadb",
        Engine::Mysql => "mysql",
        Engine::Postgres if database.writer.is_some() => "aurora-postgresql",
        Engine::Postgres => "postgres",
    }
}

/// The version, and what the master user is called.
fn version_and_master(database: &Database) -> (&'static str, &'static str) {
    match database.engine {
        Engine::Mariadb => ("10.11.19", "admin"),
        Engine::Mysql => ("8.4.7", "admin"),
        Engine::Postgres => ("15.18", "postgres"),
    }
}

const CREATED: &str = "2025-03-03T08:00:00Z";
const VPC: &str = "vpc-0da7a9a55";

fn instance(xml: &mut Xml, account: &Account, name: &str, database: &Database) {
    xml.text("DBInstanceIdentifier", name).text("DBInstanceClass", "db.t4g.medium").text("Engine", engine(database));
    let (version, master) = version_and_master(database);
    xml.text("DBInstanceStatus", "available").text("MasterUsername", master).text("DBName", database.database);
    xml.nest("Endpoint", |xml| {
        let address = database.writer.map_or_else(
            || database.host.clone(),
            |writer| database.host.replacen(&format!("{}.cluster-", database.identifier), &format!("{writer}."), 1),
        );
        xml.text("Address", address).text("Port", database.port).text("HostedZoneId", "Z29XKXDKYMONMX");
    });
    let resource_id = if database.writer.is_some() { "db-LEDGERWRITER2V4B6N8M3K5J7" } else { database.resource_id };
    xml.text("AllocatedStorage", 20).text("InstanceCreateTime", CREATED).text("EngineVersion", version);
    xml.text("DbiResourceId", resource_id).text("IAMDatabaseAuthenticationEnabled", true);
    xml.text("PubliclyAccessible", false).text("MultiAZ", false).text("StorageEncrypted", true);
    xml.text("AvailabilityZone", format!("{}a", account.region)).text("BackupRetentionPeriod", 7);
    xml.text("DBInstanceArn", format!("arn:aws:rds:{}:{}:db:{name}", account.region, account.id));
    if database.writer.is_some() {
        xml.text("DBClusterIdentifier", database.identifier);
    }
    xml.nest("DBSubnetGroup", |xml| {
        xml.text("DBSubnetGroupName", "private").text("VpcId", VPC).text("SubnetGroupStatus", "Complete");
    });
    security_groups(xml);
    certificate(xml);
    tags(xml, database);
}

fn cluster(xml: &mut Xml, account: &Account, name: &str, database: &Database) {
    xml.text("DBClusterIdentifier", name).text("Engine", engine(database)).text("EngineVersion", "15.12");
    xml.text("EngineMode", "provisioned").text("Status", "available").text("MasterUsername", "postgres");
    xml.text("DatabaseName", database.database).text("Endpoint", &database.host).text("Port", database.port);
    xml.text("ReaderEndpoint", database.host.replacen(".cluster-", ".cluster-ro-", 1));
    xml.text("DbClusterResourceId", database.resource_id).text("IAMDatabaseAuthenticationEnabled", true);
    xml.text("DBClusterArn", format!("arn:aws:rds:{}:{}:cluster:{name}", account.region, account.id));
    xml.text("ClusterCreateTime", CREATED).text("StorageEncrypted", true).text("MultiAZ", false);
    xml.text("DBSubnetGroup", "private");
    xml.nest("DBClusterMembers", |xml| {
        xml.nest("DBClusterMember", |xml| {
            xml.text("DBInstanceIdentifier", database.writer.unwrap_or_default()).text("IsClusterWriter", true);
            xml.text("DBClusterParameterGroupStatus", "in-sync").text("PromotionTier", 1);
        });
    });
    security_groups(xml);
    tags(xml, database);
}

fn security_groups(xml: &mut Xml) {
    xml.nest("VpcSecurityGroups", |xml| {
        xml.nest("VpcSecurityGroupMembership", |xml| {
            xml.text("VpcSecurityGroupId", "sg-0da7a9a55").text("Status", "active");
        });
    });
}

fn certificate(xml: &mut Xml) {
    const AUTHORITY: &str = "rds-ca-rsa2048-g1";
    xml.text("CACertificateIdentifier", AUTHORITY);
    xml.nest("CertificateDetails", |xml| {
        xml.text("CAIdentifier", AUTHORITY).text("ValidTill", "2027-03-03T08:00:00Z");
    });
}

fn tags(xml: &mut Xml, database: &Database) {
    let environment = match database.environment {
        model::Environment::Development => "development",
        model::Environment::Production => "production",
        model::Environment::Staging => "staging",
    };
    xml.nest("TagList", |xml| {
        for (key, value) in [("environment", environment), ("jit-access", "enabled")] {
            xml.nest("Tag", |xml| {
                xml.text("Key", key).text("Value", value);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(account: &Account, marker: Option<&str>) -> String {
        let input = marker
            .map_or_else(|| json!({ "MaxRecords": "20" }), |marker| json!({ "MaxRecords": "20", "Marker": marker }));
        let master_secrets = BTreeMap::from([("orders-prod", "arn:of-a-secret".to_owned())]);
        let call = Call { account, master_secrets, protocol: Protocol::Query { namespace: "" }, input: &input };
        match call.instances(None).expect("20 is allowed") {
            Answer::Xml(xml) => Xml::document("DescribeDBInstancesResponse", "", |whole| {
                whole.wrap("DescribeDBInstancesResult", xml);
            }),
            Answer::Json(_) => unreachable!("RDS answers XML"),
        }
    }

    #[test]
    fn more_databases_than_a_page_holds_come_with_a_marker() {
        let mut account = Account::acme();
        let one = account.databases[0].clone();
        let names: [&'static str; 4] = ["a", "b", "c", "d"];
        account.databases.extend((0..24).map(|n| Database { identifier: names[n % 4], ..one.clone() }));
        let first = page(&account, None);
        assert_eq!(first.matches("<DBInstance>").count(), 20);
        let marker = first.split_once("<Marker>").expect("there are more").1.split_once('<').expect("it is closed").0;
        let rest = page(&account, Some(marker));
        assert!(rest.contains("orders-prod") && !rest.contains("<Marker>"), "the last page says so");
        assert!(rest.contains("<SecretArn>arn:of-a-secret</SecretArn>"), "where its master's password is");
    }

    #[test]
    fn a_filter_that_is_not_known_finds_nothing() {
        let account = Account::acme();
        let filtered = |name: &str, value: &str| {
            let input = json!({ "Filters.Filter.1.Name": name, "Filters.Filter.1.Values.Value.1": value });
            let (master_secrets, protocol) = (BTreeMap::new(), Protocol::Query { namespace: "" });
            let call = Call { account: &account, master_secrets, protocol, input: &input };
            call.found(None, |database| Some(database.writer.unwrap_or(database.identifier))).len()
        };
        assert_eq!(filtered("engine", "aurora-postgresql"), 1);
        assert_eq!(filtered("db-instance-id", "orders-prod"), 1);
        assert_eq!(filtered("colour", "blue"), 0);
    }
}
