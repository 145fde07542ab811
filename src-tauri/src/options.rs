//! What can be said on the command line.

use std::path::PathBuf;

/// Database access that expires by itself: the tray application.
#[derive(Clone, Debug, Default, clap::Parser)]
#[command(name = "daypass-desktop", version)]
pub struct Options {
    /// The catalog of databases
    #[arg(long, value_name = "FILE", env = "DAYPASS_CATALOG")]
    pub catalog: Option<PathBuf>,
    /// Where state is kept, with an agent of its own
    #[arg(long, value_name = "FOLDER", env = "DAYPASS_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Open the window at once
    #[arg(long)]
    pub window: bool,
}
