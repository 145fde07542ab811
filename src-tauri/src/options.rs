//! What can be said on the command line.

use std::path::PathBuf;

/// Database access that expires by itself: the tray application.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "daypass-desktop", version)]
pub struct Options {
    /// The catalog of databases
    #[arg(long, value_name = "FILE", env = "DAYPASS_CATALOG")]
    pub catalog: Option<PathBuf>,
    /// Where state is kept, with an agent of its own
    #[arg(long, value_name = "FOLDER", env = "DAYPASS_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where secrets are kept
    #[arg(long, value_enum, default_value = "keychain", env = "DAYPASS_SECRETS")]
    pub secrets: SecretsPlace,
    /// Open the window at once
    #[arg(long)]
    pub window: bool,
}

/// Where secrets are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum SecretsPlace {
    /// The operating system's keychain
    Keychain,
    /// This process only: sign in again after each start
    Memory,
}
