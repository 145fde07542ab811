//! What lies in the folder of an open Gateway beside its socket, so that a child process finds the database by itself. None of
//! it is secret.

use std::{fs, io, path::PathBuf};

use model::Engine;

use crate::{
    connection::{Connection, OPTION_FILE, SERVICE_FILE},
    state_file::replace,
};

/// The folder of one open Gateway. Dropping it removes the folder with all that is in it.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// Writes the files into the folder, which is made if need be. `authority_pem` vouches for the Gateway's own certificate.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn write(connection: &Connection, authority_pem: &str) -> io::Result<Self> {
        fs::create_dir_all(&connection.folder)?;
        let files = Self(connection.folder.clone());
        let (name, text) = match connection.target.engine {
            Engine::Postgres => (SERVICE_FILE, connection.service_entry()),
            Engine::Mariadb | Engine::Mysql => (OPTION_FILE, connection.option_file()),
        };
        replace(&connection.folder.join(name), text.as_bytes())?;
        replace(&connection.folder.join("ca.pem"), authority_pem.as_bytes())?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the files of a closed gateway stay");
        }
    }
}
