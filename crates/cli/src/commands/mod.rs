//! One file for each verb, or for verbs of one noun.

pub(crate) mod agent;
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod request;
pub(crate) mod review;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod status;

/// This computer's calendar clock.
pub(crate) fn now() -> model::WallTime {
    model::WallTime(jiff::Timestamp::now())
}
