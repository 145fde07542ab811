//! What RDS says about a database.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbCluster, DbInstance};
use model::Endpoint;

use crate::call::Caller;
use crate::skew::SkewMeter;
use crate::{AwsConfig, AwsError, Credentials};

/// RDS for the holder of some Credentials.
#[derive(Clone, Debug)]
pub struct Rds {
    client: Client,
    caller: Caller,
}

/// A DB instance or DB cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Database {
    /// `db-…` (DbiResourceId) or `cluster-…` (DbClusterResourceId): what `rds-db:connect` is allowed on.
    pub resource_id: String,
    /// Whether it takes IAM logins.
    pub iam_authentication: bool,
    /// `available`, `stopped`, …
    pub status: String,
    /// `postgres`, `aurora-mysql`, …
    pub engine: String,
    /// Where it listens; none while it is created. For a cluster the writer's.
    pub endpoint: Option<Endpoint>,
}

impl Rds {
    /// RDS as `config` reaches it.
    #[must_use]
    pub fn new(config: &AwsConfig, credentials: &Credentials) -> Self {
        let sdk = config.sdk(Some(credentials));
        let meter = SkewMeter(config.skew().clone());
        let client = Client::from_conf(aws_sdk_rds::config::Builder::from(&sdk).interceptor(meter).build());
        Self { client, caller: Caller::new(config, "rds", Some(credentials)) }
    }

    /// The DB instance or, if there is none, the DB cluster with this identifier.
    ///
    /// # Errors
    /// [`AwsError::NotFound`] when this account has neither in this Region.
    pub async fn database(&self, identifier: &str) -> Result<Database, AwsError> {
        if let Some(instance) = absent_is_none(self.instance(identifier).await)? {
            return Ok(instance);
        }
        let cluster = absent_is_none(self.cluster(identifier).await)?;
        cluster.ok_or_else(|| AwsError::NotFound { what: format!("database {identifier}") })
    }

    async fn instance(&self, identifier: &str) -> Result<Option<Database>, AwsError> {
        let call = || self.client.describe_db_instances().db_instance_identifier(identifier).send();
        let answer = self.caller.call("DescribeDBInstances", call).await?;
        Ok(answer.db_instances.unwrap_or_default().into_iter().next().and_then(from_instance))
    }

    async fn cluster(&self, identifier: &str) -> Result<Option<Database>, AwsError> {
        let call = || self.client.describe_db_clusters().db_cluster_identifier(identifier).send();
        let answer = self.caller.call("DescribeDBClusters", call).await?;
        Ok(answer.db_clusters.unwrap_or_default().into_iter().next().and_then(from_cluster))
    }
}

fn absent_is_none(found: Result<Option<Database>, AwsError>) -> Result<Option<Database>, AwsError> {
    match found {
        Err(error) if error.is_rejected_with("DBInstanceNotFound") || error.is_rejected_with("DBClusterNotFound") => {
            Ok(None)
        }
        found => found,
    }
}

fn from_instance(instance: DbInstance) -> Option<Database> {
    let endpoint = instance.endpoint.and_then(|at| endpoint(at.address, at.port));
    Some(Database {
        resource_id: instance.dbi_resource_id?,
        iam_authentication: instance.iam_database_authentication_enabled.unwrap_or(false),
        status: instance.db_instance_status.unwrap_or_default(),
        engine: instance.engine.unwrap_or_default(),
        endpoint,
    })
}

fn from_cluster(cluster: DbCluster) -> Option<Database> {
    Some(Database {
        resource_id: cluster.db_cluster_resource_id?,
        iam_authentication: cluster.iam_database_authentication_enabled.unwrap_or(false),
        status: cluster.status.unwrap_or_default(),
        engine: cluster.engine.unwrap_or_default(),
        endpoint: endpoint(cluster.endpoint, cluster.port),
    })
}

fn endpoint(host: Option<String>, port: Option<i32>) -> Option<Endpoint> {
    Some(Endpoint { host: host?, port: u16::try_from(port?).ok()? })
}
