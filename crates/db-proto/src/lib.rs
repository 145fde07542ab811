//! PostgreSQL and MySQL start-up and login, both roles; never does IO.
//!
//! Each role is a small machine: feed it the bytes that came, send the bytes it hands out, do what its events say. It
//! opens no socket, does no TLS of its own, reads no clock and keeps no password.

pub mod mysql;
pub mod postgres;
