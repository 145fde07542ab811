//! What both sides make of each other's version.

/// SSM agents from this version on forward ports.
const FIRST_PORT_AGENT: &str = "2.3.672.0";
/// SSM agents from this version on forward to other hosts.
const FIRST_REMOTE_HOST_AGENT: &str = "3.1.1374.0";
/// Clients from this version on speak smux; older ones one raw connection.
const FIRST_MUX_CLIENT: &str = "1.1.70";
/// Clients after this version want no keepalive frames.
const LAST_KEEPALIVE_CLIENT: &str = "1.2.331.0";

/// Whether an SSM agent of this version forwards ports.
pub(super) fn agent_has_port(agent: &str) -> bool {
    numbers(agent) >= numbers(FIRST_PORT_AGENT)
}

/// Whether an SSM agent of this version forwards to other hosts.
pub(crate) fn agent_has_remote_host(agent: &str) -> bool {
    numbers(agent) >= numbers(FIRST_REMOTE_HOST_AGENT)
}

/// Whether a client of this version speaks smux.
pub(super) fn client_speaks_mux(client: &str) -> bool {
    numbers(client) >= numbers(FIRST_MUX_CLIENT)
}

/// Whether smux keepalive is on with a client of this version.
pub(super) fn client_wants_keepalive(client: &str) -> bool {
    numbers(client) <= numbers(LAST_KEEPALIVE_CLIENT)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(client_speaks_mux("1.2.707.0") && client_speaks_mux("1.1.70"));
        assert!(!client_speaks_mux("1.1.9.0") && !client_speaks_mux(""));
        assert!(client_wants_keepalive("1.2.331.0") && client_wants_keepalive("1.2.54.0"));
        assert!(!client_wants_keepalive("1.2.332.0") && !client_wants_keepalive("1.2.1000.0"));
    }
}
