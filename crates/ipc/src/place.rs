//! Where the socket is, and that nobody else can reach it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::IpcError;

/// `sun_path` has 108 bytes on Linux and 104 on macOS, with a zero at the end.
const PATH_LIMIT: usize = 103;

/// The address of the agent's socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SocketPath(PathBuf);

impl SocketPath {
    /// `daypass/agent.sock` in the person's runtime folder (`$XDG_RUNTIME_DIR`); without one, in a folder of the system's
    /// temporary folder that has the user's number in its name.
    #[must_use]
    pub fn for_user(runtime_dir: Option<&Path>) -> Self {
        match runtime_dir {
            Some(folder) => Self(folder.join("daypass").join("agent.sock")),
            None => Self(std::env::temp_dir().join(format!("daypass-{}", own_uid())).join("agent.sock")),
        }
    }

    /// `run/agent.sock` in the data folder when one is named, so that agents with data of their own live beside each other;
    /// else the person's one socket, found by `$XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn find(data_dir: Option<&Path>) -> Self {
        let Some(folder) = data_dir else {
            let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|set| !set.is_empty()).map(PathBuf::from);
            return Self::for_user(runtime_dir.as_deref());
        };
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Self(folder.join("run").join("agent.sock"))
    }

    /// A socket anywhere, for tests and for several agents beside each other.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path in the file system.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Refuses what the system cannot address.
    pub(crate) fn check_length(&self) -> Result<(), IpcError> {
        if self.0.as_os_str().len() > PATH_LIMIT {
            return Err(IpcError::PathTooLong { path: self.0.clone(), limit: PATH_LIMIT });
        }
        Ok(())
    }

    /// Makes the folder, for this user alone, or makes sure that it is so.
    pub(crate) fn prepare_folder(&self) -> Result<(), IpcError> {
        let folder = self.0.parent().unwrap_or(Path::new("/"));
        let io_error = |source| IpcError::Io { doing: "make the folder", path: folder.to_owned(), source };
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error(error)),
            Ok(()) | Err(_) => {}
        }
        let found = fs::symlink_metadata(folder).map_err(io_error)?;
        let unsafe_folder = |why| Err(IpcError::UnsafeFolder { path: folder.to_owned(), why });
        if !found.is_dir() {
            return unsafe_folder("it is not a folder");
        }
        if found.uid() != own_uid() {
            return unsafe_folder("it belongs to another user");
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(io_error)?;
        }
        Ok(())
    }
}

pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
