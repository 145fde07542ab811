//! `Access` from outside: one behaviour a test, then random histories against a reference.

mod answers;
mod gateways;
mod grants;
mod histories;
mod left_sessions;
mod reference;
mod requests;
mod restarts;
mod reviews;
mod session_reference;
mod sign_in;
mod snapshots;
mod world;
