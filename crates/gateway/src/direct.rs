//! A Target that this machine's network reaches, as inside a VPN.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};

use crate::tunnel::TunnelError;

/// Dials the Target itself.
#[derive(Clone, Debug)]
pub struct Direct {
    host: String,
    port: u16,
    deadline: Duration,
}

/// Why the Target could not be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// The name leads nowhere.
    #[error("{host} cannot be looked up: {cause}; check the host in the catalog, and the VPN whose DNS knows it")]
    Lookup {
        /// As given.
        host: String,
        /// From the system.
        cause: String,
    },
    /// No address took the connection.
    #[error("cannot connect to {host} at port {port}: {cause}; check that the database runs and lets this machine in")]
    Connect {
        /// As given.
        host: String,
        /// As given.
        port: u16,
        /// From the system, for the address tried last.
        cause: String,
    },
    /// Nothing answered.
    #[error("{host} did not answer at port {port} in {seconds} s: check the VPN and the database's security group")]
    TimedOut {
        /// As given.
        host: String,
        /// As given.
        port: u16,
        /// Waited.
        seconds: u64,
    },
}

impl Direct {
    /// To `port` of `host`. All of a connection's dialling takes `deadline` at most.
    pub fn new(host: impl Into<String>, port: u16, deadline: Duration) -> Self {
        Self { host: host.into(), port, deadline }
    }

    pub(crate) async fn connect(&self) -> Result<TcpStream, TunnelError> {
        let stream = timeout(self.deadline, self.dial()).await;
        stream.unwrap_or_else(|_| Err(self.timed_out())).map_err(TunnelError::Direct)
    }

    async fn dial(&self) -> Result<TcpStream, DirectError> {
        let until = Instant::now() + self.deadline;
        let unknown = |cause: String| DirectError::Lookup { host: self.host.clone(), cause };
        let found = lookup_host((self.host.as_str(), self.port)).await.map_err(|cause| unknown(cause.to_string()))?;
        let addresses: Vec<SocketAddr> = found.collect();
        let mut last = unknown("it has no address".to_owned());
        for (place, address) in addresses.iter().enumerate() {
            // An address that swallows packets leaves the others their share of the time.
            let share = (until - Instant::now()) / u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
            match timeout_at(Instant::now() + share, connect(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(cause)) => last = self.failed(&cause),
                Err(_) => last = self.timed_out(),
            }
        }
        Err(last)
    }

    fn failed(&self, cause: &io::Error) -> DirectError {
        DirectError::Connect { host: self.host.clone(), port: self.port, cause: cause.to_string() }
    }

    fn timed_out(&self) -> DirectError {
        DirectError::TimedOut { host: self.host.clone(), port: self.port, seconds: self.deadline.as_secs() }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
