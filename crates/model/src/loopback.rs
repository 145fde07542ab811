//! What counts as this computer.

use std::net::IpAddr;

/// Whether the host of a URL, as its text (IPv6 in brackets), is this computer: the only place plain http and ws may go to. A
/// name other than `localhost` is never it, whatever it resolves to.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_computer_counts() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in ["", "0.0.0.0", "[::]", "10.0.0.1", "localhost.example", "127.0.0.1.example", "[::ffff:10.0.0.1]"] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
