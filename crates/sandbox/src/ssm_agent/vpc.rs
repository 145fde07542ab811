//! The network the SSM agent stands in: which names and ports lead where.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Names and ports that the SSM agent can dial, each leading to an address on loopback. Clones share it.
///
/// A name that is not in it cannot be resolved, which ends a session to it at its start. `localhost` and loopback
/// addresses need no route: the bastion's own ports are the machine's.
#[derive(Clone, Debug, Default)]
pub struct Vpc {
    routes: Arc<RwLock<BTreeMap<(String, u16), Route>>>,
}

/// Where a name and port lead.
#[derive(Clone, Debug)]
enum Route {
    To(Place),
    BlackHole,
}

/// An address, until somebody moves away from it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    address: SocketAddr,
    deserted: Arc<AtomicBool>,
}

/// A destination as resolved once, at the start of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Someone may listen there.
    Place(Place),
    /// Packets vanish: a security group drops them.
    BlackHole,
    /// Nobody listens at this port of a known name.
    Closed,
}

impl Destination {
    fn at(address: SocketAddr) -> Self {
        Self::Place(address.into())
    }
}

impl Place {
    /// None when whoever listened there has moved.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        (!self.deserted.load(Ordering::Acquire)).then_some(self.address)
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self { address, deserted: Arc::default() }
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for Place {}

/// Why the SSM agent ends a session at its start, in its words (`validateParameters` of its port plug-in).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error("Forwarding to IP address {0} is forbidden.")]
    Forbidden(IpAddr),
    #[error("lookup {0}: no such host")]
    NoSuchHost(String),
}

impl Vpc {
    /// A network without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `host:port` lead to `address`; sessions that are open keep what they resolved.
    pub fn route(&self, host: &str, port: u16, address: SocketAddr) {
        self.put(host, port, Route::To(address.into()));
    }

    /// Lets `host:port` lead to `address`, and nobody answer any more where it led before, as after an RDS failover: sessions
    /// that are open resolved the name once and dial into the void.
    pub fn fail_over(&self, host: &str, port: u16, address: SocketAddr) {
        let before = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(&key(host, port)).cloned();
        if let Some(Route::To(place)) = before {
            place.deserted.store(true, Ordering::Release);
        }
        self.route(host, port, address);
    }

    /// Lets every connection to `host:port` hang until the SSM agent's TCP gives up.
    pub fn black_hole(&self, host: &str, port: u16) {
        self.put(host, port, Route::BlackHole);
    }

    /// Lets `alias:port` lead where `host:port` leads now, as a CNAME does; nothing happens when that leads nowhere.
    pub fn alias(&self, alias: &str, host: &str, port: u16) {
        let route = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(&key(host, port)).cloned();
        if let Some(route) = route {
            self.put(alias, port, route);
        }
    }

    /// Forgets `host:port`.
    pub fn remove(&self, host: &str, port: u16) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).remove(&key(host, port));
    }

    /// Where a session to `host` (the bastion itself when `None` or empty) and `port` leads.
    pub(crate) fn resolve(&self, host: Option<&str>, port: u16) -> Result<Destination, Unreachable> {
        let host = host.filter(|host| !host.is_empty()).unwrap_or("localhost");
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes.get(&key(host, port)) {
            return Ok(match route {
                Route::To(place) => Destination::Place(place.clone()),
                Route::BlackHole => Destination::BlackHole,
            });
        }
        match host.parse::<IpAddr>() {
            Ok(address) if is_forbidden(address) => Err(Unreachable::Forbidden(address)),
            Ok(address) if address.is_loopback() => Ok(Destination::at((address, port).into())),
            Ok(_) => Ok(Destination::BlackHole),
            Err(_) if host.eq_ignore_ascii_case("localhost") => Ok(Destination::at((Ipv4Addr::LOCALHOST, port).into())),
            Err(_) if routes.keys().any(|(name, _)| name.eq_ignore_ascii_case(host)) => Ok(Destination::Closed),
            Err(_) => Err(Unreachable::NoSuchHost(host.to_owned())),
        }
    }

    fn put(&self, host: &str, port: u16, route: Route) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).insert(key(host, port), route);
    }
}

fn key(host: &str, port: u16) -> (String, u16) {
    (host.to_ascii_lowercase(), port)
}

/// Instance metadata, VPC DNS, time sync and licence activation (`DefaultDeniedPortForwardingRemoteIPs`); what it denies of
/// the VPC's own range has no counterpart here.
fn is_forbidden(address: IpAddr) -> bool {
    const DENIED: [&str; 9] = [
        "169.254.169.123",
        "169.254.169.250",
        "169.254.169.251",
        "169.254.169.253",
        "169.254.169.254",
        "fd00:ec2::123",
        "fd00:ec2::240",
        "fd00:ec2::253",
        "fd00:ec2::254",
    ];
    DENIED.contains(&address.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_where_they_were_routed_whatever_their_case() {
        let vpc = Vpc::new();
        let front: SocketAddr = (Ipv4Addr::LOCALHOST, 15_432).into();
        vpc.route("Orders.abc.rds.amazonaws.com", 5432, front);
        assert_eq!(vpc.resolve(Some("orders.abc.rds.amazonaws.com"), 5432), Ok(Destination::at(front)));
        assert_eq!(vpc.resolve(Some("orders.abc.rds.amazonaws.com"), 3306), Ok(Destination::Closed));
        vpc.remove("orders.abc.rds.amazonaws.com", 5432);
        let gone = vpc.resolve(Some("orders.abc.rds.amazonaws.com"), 5432).expect_err("it led nowhere else");
        assert_eq!(gone.to_string(), "lookup orders.abc.rds.amazonaws.com: no such host");
    }

    #[test]
    fn after_a_failover_only_who_asks_again_finds_the_new_address() {
        let vpc = Vpc::new();
        let (old, new): (SocketAddr, SocketAddr) =
            ((Ipv4Addr::LOCALHOST, 15_432).into(), (Ipv4Addr::LOCALHOST, 15_433).into());
        vpc.route("orders", 5432, old);
        let open = vpc.resolve(Some("orders"), 5432).expect("it is allowed");
        vpc.fail_over("orders", 5432, new);
        assert!(matches!(&open, Destination::Place(place) if place.address().is_none()), "{open:?}");
        assert_eq!(vpc.resolve(Some("orders"), 5432), Ok(Destination::at(new)));
    }

    #[test]
    fn the_metadata_service_is_out_of_reach() {
        for address in ["169.254.169.254", "169.254.169.253", "fd00:ec2::254"] {
            let refusal = Vpc::new().resolve(Some(address), 80).expect_err("credentials live there");
            assert_eq!(refusal.to_string(), format!("Forwarding to IP address {address} is forbidden."));
        }
    }

    #[test]
    fn without_a_host_the_bastion_itself_is_meant() {
        let own = Ok(Destination::at((Ipv4Addr::LOCALHOST, 22).into()));
        assert_eq!(Vpc::new().resolve(None, 22), own);
        assert_eq!(Vpc::new().resolve(Some(""), 22), own);
        assert_eq!(Vpc::new().resolve(Some("127.0.0.1"), 22), own);
    }
}
