//! Tunnels over real sockets, against the sandbox's data channel and SSM agent.

mod bed;
mod connections;
mod ends;
mod faults;
mod http_proxy;
mod login;
mod pool;
mod program;
mod smux;
mod soak;
mod tls;
