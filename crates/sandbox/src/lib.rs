//! An AWS account in a process, on loopback, for the demo and the tests.
//!
//! It speaks the real wire formats, verifies every signature and decides every call by IAM policies. One address serves
//! all AWS services, another one the identity provider. Everything it makes up comes from a seed, and every lifetime is
//! judged by one [`clock::Clock`] that tests move. It shares no code with the programs that are tried against it, apart
//! from the words of `model` and the codec of `ssm-proto`.
//!
//! Absent on purpose: any address that is not loopback, and any way to reach the real AWS.

pub mod clock;
pub mod data_channel;
pub mod mariadb;
pub mod postgres;
pub mod rds_front;
pub mod ssm_agent;
pub mod tls;

mod account;
mod admin;
mod automation;
mod catalog;
mod cloud;
mod colleague;
mod ecs;
mod endpoint;
mod faults;
mod iam;
mod journal;
mod mysql_wire;
mod oidc;
mod rds;
mod rds_login;
mod sandbox;
mod secrets_manager;
mod seed;
mod server_process;
mod sigv4;
mod ssm;
mod sts;
mod wire;
mod xml;

pub use colleague::AnswerFlaw;
pub use faults::Service;
pub use iam::{Ask, Decision, PolicyDocument, PolicyFlaw, evaluate};
pub use journal::Call;
pub use oidc::KeyFlaw;
pub use sandbox::{Sandbox, SandboxConfig, SandboxError, TemporaryCredentials};
pub use secrets_manager::{RotationFlaw, RotationStep, SecretFault};
pub use server_process::ServerProcessError;
