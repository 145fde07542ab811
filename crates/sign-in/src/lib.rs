//! From a person to an Identity.
