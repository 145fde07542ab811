//! The login gateway: clients on one side, a database behind RDS's front on the other.

mod bed;
mod endings;
mod hostile;
mod logins;
mod mysql;
mod protocol;
mod psql;
mod refusals;
