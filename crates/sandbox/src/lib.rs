//! An AWS account in a process, for the demo and the tests.

pub mod clock;
pub mod data_channel;
pub mod ssm_agent;
