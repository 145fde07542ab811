//! MySQL clients, in front of a real MariaDB behind RDS's endpoint.

mod billing;
mod endings;
mod logins;
mod refusals;
mod sessions;
mod wire;
