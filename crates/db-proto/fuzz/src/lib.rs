//! What is done with arbitrary bytes, by libFuzzer and by the tests that replay the corpora.
//!
//! Each function panics when a promise is broken.

pub mod mysql;
pub mod postgres;
