//! What survives the process: one JSON file, replaced whole, never half-written. It holds nothing secret.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
};

use access::Saved;
use model::TargetId;
use serde::{Deserialize, Serialize};

/// The contents of the file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct State {
    /// What `Access` reads back.
    pub(crate) saved: Saved,
    #[serde(flatten)]
    pub(crate) ports: Ports,
}

/// The local ports of Targets.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Ports {
    /// Had before, so that it stays the same.
    #[serde(rename = "ports")]
    pub(crate) given: BTreeMap<TargetId, u16>,
    /// Chosen by the person, before what the Catalog says.
    #[serde(rename = "chosen_ports")]
    pub(crate) chosen: BTreeMap<TargetId, u16>,
}

/// The file, held by the one owner.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    state: State,
    _lock: File,
}

/// Why the state cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process owns it.
    #[error("another Daypass owns {0}")]
    Owned(PathBuf),
    /// The file is not what Daypass wrote. It is left as it is.
    #[error("{path} cannot be read back: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The system refused.
    #[error("cannot use {path}: {cause}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
}

impl StateFile {
    /// Takes the folder for this process and reads what the last owner left.
    ///
    /// # Errors
    /// [`StateError::Owned`] when another process holds it.
    pub(crate) fn hold(folder: &Path) -> Result<Self, StateError> {
        create_private_folder(folder)?;
        let lock_path = folder.join("agent.lock");
        let lock = File::create(&lock_path).map_err(|cause| StateError::Io { path: lock_path, cause })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Owned(folder.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(StateError::Io { path: folder.to_owned(), cause }),
        }
        let path = folder.join("state.json");
        let state = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|cause| StateError::Malformed { path: path.clone(), cause: cause.to_string() })?,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(cause) => return Err(StateError::Io { path, cause }),
        };
        Ok(Self { path, state, _lock: lock })
    }

    /// What is in it.
    #[must_use]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Changes it and writes it; on return it is on the disk.
    ///
    /// # Errors
    /// [`StateError::Io`]; the file then still holds what it held before.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<(), StateError> {
        change(&mut self.state);
        let bytes = serde_json::to_vec_pretty(&self.state).unwrap_or_default();
        replace(&self.path, &bytes).map_err(|cause| StateError::Io { path: self.path.clone(), cause })
    }
}

/// Makes a folder that only this user can enter.
///
/// # Errors
/// [`StateError::Io`].
pub(crate) fn create_private_folder(folder: &Path) -> Result<(), StateError> {
    let io = |cause| StateError::Io { path: folder.to_owned(), cause };
    fs::create_dir_all(folder).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(io)?;
    }
    Ok(())
}

/// Replaces a file whole, readable by this user only.
///
/// # Errors
/// The system's; the old file is then untouched.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_and_the_next_reads_what_the_first_left() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = TargetId::new("orders-prod").expect("a valid name");
        let mut first = StateFile::hold(folder.path()).expect("nobody holds it");
        first.change(|state| state.ports.given.extend([(target.clone(), 15_432)])).expect("the folder is writable");
        assert!(matches!(StateFile::hold(folder.path()), Err(StateError::Owned(_))), "there is one owner");
        drop(first);
        let next = StateFile::hold(folder.path()).expect("the first let go");
        assert_eq!(next.state().ports.given.get(&target), Some(&15_432));
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_and_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("state.json"), "{").expect("the folder is writable");
        assert!(matches!(StateFile::hold(folder.path()), Err(StateError::Malformed { .. })));
        assert_eq!(fs::read(folder.path().join("state.json")).expect("it is still there"), b"{");
    }
}
