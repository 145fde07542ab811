//! Tunnels over real sockets, against the sandbox's data channel and SSM agent.

mod bed;
mod connections;
mod ends;
mod faults;
mod http_proxy;
mod login;
mod pool;
mod program;
// The library is a package of Debian's.
#[cfg(target_os = "linux")]
mod smux;
mod soak;
mod tls;
