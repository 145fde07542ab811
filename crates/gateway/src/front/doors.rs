//! Where clients of a Front come in.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use model::Engine;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    listener::{BindError, Listener},
    port_holder::Holder,
};

/// How often another free port is looked for when the one found is taken at ::1.
const PORTS_TRIED: u32 = 16;
/// `sun_path` of sockaddr_un, without its NUL; 104 on macOS, 108 on Linux.
#[cfg(unix)]
const LONGEST_SOCKET_PATH: usize = 103;

/// The same port of 127.0.0.1 and ::1, and a Unix socket. Bound, and not accepting yet. The socket's file goes with it.
#[derive(Debug)]
pub struct Doors {
    v4: Listener,
    /// Absent on machines without IPv6.
    v6: Option<TcpListener>,
    #[cfg(unix)]
    socket: Option<unix::SocketDoor>,
}

/// Why a door is not there.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The port of 127.0.0.1.
    #[error(transparent)]
    Port(#[from] BindError),
    /// Another program listens at the port of ::1, where `localhost` may lead.
    #[error("port {port} of ::1 is in use{}: close it or choose another port", .holder.as_ref().map(|holder| format!(" by {} (process {})", holder.name, holder.pid)).unwrap_or_default())]
    PortOfV6 {
        /// As asked for.
        port: u16,
        /// Who, where it can be found out.
        holder: Option<Holder>,
    },
    /// The socket's path does not fit into an address.
    #[error("the socket path {} is longer than a socket's address may be; choose a shorter runtime folder", path.display())]
    SocketPath {
        /// All of it.
        path: PathBuf,
    },
    /// The socket or its folder.
    #[error("cannot {action} {}: {cause}; check its permissions", path.display())]
    Socket {
        /// As a verb: "create", "listen at".
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// From the system.
        cause: io::Error,
    },
    /// Another program answers at the socket.
    #[error("another program listens at {}: close it, or choose another runtime folder", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
}

/// A client that came in, and by which door.
#[derive(Debug)]
pub(crate) enum Client {
    #[cfg(unix)]
    Socket(tokio::net::UnixStream),
    Tcp(TcpStream),
}

impl Doors {
    /// Listens at `preferred` or, with `None`, at a port that is free at 127.0.0.1 and ::1.
    ///
    /// # Errors
    /// [`DoorError`] with the program that has the port.
    pub async fn bind(preferred: Option<u16>) -> Result<Self, DoorError> {
        let mut tries = 1;
        loop {
            let v4 = Listener::bind(preferred).await?;
            let port = v4.local_addr().map_err(|cause| BindError::Io { port: preferred.unwrap_or(0), cause })?.port();
            match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
                Ok(v6) => return Ok(Self::without_socket(v4, Some(v6))),
                Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
                    if preferred.is_some() || tries == PORTS_TRIED {
                        return Err(DoorError::PortOfV6 { port, holder: Holder::of(port) });
                    }
                    tries += 1;
                }
                Err(cause) => {
                    tracing::debug!(%cause, "no listener at ::1: this machine has no IPv6");
                    return Ok(Self::without_socket(v4, None));
                }
            }
        }
    }

    /// Where it listens on 127.0.0.1; on ::1 at the same port.
    ///
    /// # Errors
    /// From the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.v4.local_addr()
    }

    /// Whether ::1 is served too.
    pub fn has_v6(&self) -> bool {
        self.v6.is_some()
    }

    fn without_socket(v4: Listener, v6: Option<TcpListener>) -> Self {
        Self {
            v4,
            v6,
            #[cfg(unix)]
            socket: None,
        }
    }

    async fn accept_tcp(&self) -> io::Result<Client> {
        let Some(v6) = &self.v6 else { return self.v4.accept().await.map(Client::Tcp) };
        tokio::select! {
            client = self.v4.accept() => client.map(Client::Tcp),
            accepted = v6.accept() => {
                let (client, _) = accepted?;
                client.set_nodelay(true)?;
                Ok(Client::Tcp(client))
            }
        }
    }
}

#[cfg(not(unix))]
impl Doors {
    pub(crate) async fn accept(&self) -> io::Result<Client> {
        self.accept_tcp().await
    }

    /// This system's clients use the port alone.
    pub fn socket(&self) -> Option<&Path> {
        None
    }
}

#[cfg(unix)]
impl Doors {
    /// Also listens at a Unix socket in `folder`, which is made, and closed to everybody else. The socket is called as the
    /// engine's clients expect: `psql -h FOLDER -p PORT`, `mysql -S FOLDER/mysql.sock`.
    ///
    /// # Errors
    /// [`DoorError`] when another program answers there, or with what the system says.
    pub fn with_socket(mut self, folder: &Path, engine: Engine) -> Result<Self, DoorError> {
        let port = self.local_addr().map_err(|cause| BindError::Io { port: 0, cause })?.port();
        let name = match engine {
            Engine::Postgres => format!(".s.PGSQL.{port}"),
            Engine::Mariadb | Engine::Mysql => "mysql.sock".to_owned(),
        };
        self.socket = Some(unix::SocketDoor::bind(folder, &name)?);
        Ok(self)
    }

    /// The socket, if there is one.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(unix::SocketDoor::path)
    }

    pub(crate) async fn accept(&self) -> io::Result<Client> {
        let Some(socket) = &self.socket else { return self.accept_tcp().await };
        tokio::select! {
            client = self.accept_tcp() => client,
            client = socket.accept() => client.map(Client::Socket),
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        fs, io,
        os::unix::fs::{DirBuilderExt, PermissionsExt},
        path::{Path, PathBuf},
    };

    use tokio::net::{UnixListener, UnixStream};

    use super::{DoorError, LONGEST_SOCKET_PATH};

    /// A socket that only programs of this user come through.
    #[derive(Debug)]
    pub(super) struct SocketDoor {
        listener: UnixListener,
        path: PathBuf,
        uid: u32,
    }

    impl SocketDoor {
        pub(super) fn bind(folder: &Path, name: &str) -> Result<Self, DoorError> {
            let path = folder.join(name);
            if path.as_os_str().len() > LONGEST_SOCKET_PATH {
                return Err(DoorError::SocketPath { path });
            }
            let failed = |action, path: &Path, cause| DoorError::Socket { action, path: path.to_owned(), cause };
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|e| failed("create", folder, e))?;
            let closed = fs::Permissions::from_mode(0o700);
            fs::set_permissions(folder, closed).map_err(|cause| failed("close", folder, cause))?;
            remove_stale(&path)?;
            let listener = UnixListener::bind(&path).map_err(|cause| failed("listen at", &path, cause))?;
            Ok(Self { listener, path, uid: rustix::process::geteuid().as_raw() })
        }

        pub(super) fn path(&self) -> &Path {
            &self.path
        }

        pub(super) async fn accept(&self) -> io::Result<UnixStream> {
            loop {
                let (client, _) = self.listener.accept().await?;
                match client.peer_cred() {
                    Ok(peer) if peer.uid() == self.uid => return Ok(client),
                    Ok(peer) => tracing::warn!(uid = peer.uid(), "another user's program was not let in"),
                    Err(error) => tracing::warn!(%error, "a program whose user is not known was not let in"),
                }
            }
        }
    }

    impl Drop for SocketDoor {
        fn drop(&mut self) {
            // A file that stays is in nobody's way: the next one replaces it.
            drop(fs::remove_file(&self.path));
        }
    }

    /// Removes what a program that was killed has left.
    fn remove_stale(path: &Path) -> Result<(), DoorError> {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(DoorError::SocketInUse { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(_) => fs::remove_file(path).map_err(|cause| DoorError::Socket {
                action: "remove",
                path: path.to_owned(),
                cause,
            }),
        }
    }
}
