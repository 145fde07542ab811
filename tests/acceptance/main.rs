//! Acceptance: black box over the built `daypass`, `daypass-desktop` and `daypass-sandbox`, one module for each user story.

mod bad_input;
mod bastions;
mod clients;
mod connection_strings;
mod crash;
mod endings;
mod environment;
mod keychain;
mod left_sessions;
mod ports;
mod review;
mod sign_in;
mod story;
mod surroundings;
mod world;
