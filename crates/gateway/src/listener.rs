//! A listener on 127.0.0.1.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::{TcpListener, TcpStream};

pub use crate::port_holder::Holder;

/// Accepts connections of this machine's programs.
#[derive(Debug)]
pub struct Listener(TcpListener);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens at the port.
    #[error("port {port} of 127.0.0.1 is in use{}: close it or choose another port", describe(.holder.as_ref()))]
    InUse {
        /// As asked for.
        port: u16,
        /// Who, where it can be found out.
        holder: Option<Holder>,
    },
    /// Anything else.
    #[error("cannot listen at port {port} of 127.0.0.1: {cause}")]
    Io {
        /// As asked for; 0 for any.
        port: u16,
        /// From the system.
        cause: io::Error,
    },
}

impl Listener {
    /// Listens at `preferred` or, with `None`, at a free port of 127.0.0.1. It does not accept yet.
    ///
    /// # Errors
    /// [`BindError::InUse`] with the program that has the port.
    pub async fn bind(preferred: Option<u16>) -> Result<Self, BindError> {
        let port = preferred.unwrap_or(0);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => Ok(Self(listener)),
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
                Err(BindError::InUse { port, holder: Holder::of(port) })
            }
            Err(cause) => Err(BindError::Io { port, cause }),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// From the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        let (client, _) = self.0.accept().await?;
        client.set_nodelay(true)?;
        Ok(client)
    }
}

fn describe(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(" by {} (process {})", holder.name, holder.pid)).unwrap_or_default()
}
