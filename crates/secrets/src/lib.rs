//! Values that redact themselves, and where they are kept.
//!
//! Absent on purpose: files, AWS and the network. A secret is in the operating system's keychain or in this process's memory,
//! nowhere else.

mod keychain;
mod parts;
mod secret;
mod store;

pub use secret::Secret;
pub use store::{SecretStore, StoreError};
