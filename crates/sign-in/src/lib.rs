//! From a person to an Identity.
//!
//! Absent on purpose: AWS, the keychain and the opening of browsers. What a sign-in yields goes back to the caller, who alone
//! decides what is kept.

mod error;
mod fetch;
mod loopback;
mod oidc;
mod session_name;

pub use error::SignInError;
pub use oidc::{Clock, Oidc, OidcProvider, PendingSignIn, SIGN_IN_LIMIT, SignedIn};
pub use session_name::session_name;
