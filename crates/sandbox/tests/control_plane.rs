//! The account from outside: real signatures, real tokens, over HTTP.

mod control_plane {
    mod client;
    mod databases;
    mod identity;
    mod permissions;
    mod requests;
    mod secrets;
    mod sessions;
    mod sign_in;
    mod signatures;
}
