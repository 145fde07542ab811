//! The questions Daypass asks AWS, one file a service, endpoints injected.
//!
//! Absent on purpose: the SDK's loader of environments and profiles. An inherited `AWS_*` variable never chooses an account, a
//! Region, an endpoint or credentials; all of them are arguments. Nothing here keeps state besides the measured clock skew.

mod automation;
mod bastions;
mod call;
mod config;
mod credentials;
mod db_auth_token;
mod ecs;
mod error;
mod json_call;
mod rds;
mod secrets_manager;
mod skew;
mod ssm;
mod sts;

pub use automation::{Automation, Execution, ExecutionStatus, Listed, Step};
pub use bastions::{AgentTooOld, BastionStatus, Bastions};
pub use config::AwsConfig;
pub use credentials::Credentials;
pub use db_auth_token::{DbAuthToken, TOKEN_LIFETIME, sign};
pub use error::AwsError;
pub use rds::{Database, Rds};
pub use secrets_manager::{DatabaseSecret, SecretError, SecretStage, SecretsManager};
pub use skew::{ClockSkew, measure};
pub use ssm::{OpenSession, Ssm, StartedSession};
pub use sts::{AssumedRole, CallerIdentity, Sts};
