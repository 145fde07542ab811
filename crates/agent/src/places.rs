//! Where things are kept.

use std::path::{Path, PathBuf};

/// The folders and files of one user's Daypass.
#[derive(Clone, Debug)]
pub struct Places {
    /// State that survives: `state.json`, `agent.lock`, logs.
    pub data_dir: PathBuf,
    /// The local socket. Its folder also holds the handoff files, which live as long as the login at most.
    pub socket: ipc::SocketPath,
    /// The Catalog file.
    pub catalog: PathBuf,
}

/// There is no home folder to keep anything in.
#[derive(Debug, thiserror::Error)]
#[error("no home folder is known (HOME is not set)")]
pub struct NoHome;

impl Places {
    /// The usual places, or everything inside `data_dir` when one is named.
    ///
    /// # Errors
    /// [`NoHome`].
    pub fn find(data_dir: Option<&Path>, catalog: Option<&Path>) -> Result<Self, NoHome> {
        let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE")).map(PathBuf::from);
        let under_home = |variable: &str, usual: &str| {
            std::env::var_os(variable)
                .map(PathBuf::from)
                .or_else(|| home.as_ref().map(|home| home.join(usual)))
                .ok_or(NoHome)
        };
        let data = match data_dir {
            Some(folder) => std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
            None => under_home("XDG_DATA_HOME", ".local/share")?.join("daypass"),
        };
        let catalog = match catalog {
            Some(file) => std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            None => under_home("XDG_CONFIG_HOME", ".config")?.join("daypass/catalog.toml"),
        };
        Ok(Self { socket: ipc::SocketPath::find(data_dir), data_dir: data, catalog })
    }

    /// The private folder for what lives as long as the login at most.
    #[must_use]
    pub fn runtime_dir(&self) -> &Path {
        self.socket.as_path().parent().unwrap_or(Path::new("/"))
    }
}
