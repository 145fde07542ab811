//! The agent's log: a file that only this user can read, in the data folder. Nothing secret is written to it: secrets redact
//! themselves, and the libraries that would log what they send are held at warnings whatever DAYPASS_LOG says.

use std::{fs, io, path::Path, sync::Mutex};

use tracing_subscriber::EnvFilter;

use crate::{Places, state_file::create_private_folder};

/// What DAYPASS_LOG cannot lower: these write requests, answers and headers into their finer levels.
const HELD_BACK: [&str; 8] =
    ["aws_config", "aws_runtime", "aws_sdk", "aws_smithy", "hyper", "reqwest", "rustls", "tungstenite"];
/// A log of this size, in bytes, becomes the previous one; there is one previous one.
const LARGE: u64 = 4 * 1024 * 1024;

/// Writes this process's log to `daypass.log` in the data folder. DAYPASS_LOG sets the level (`info` without it).
///
/// A log that cannot be written is no reason not to start.
pub fn log_to(places: &Places) {
    let Ok(file) = open(&places.data_dir) else { return };
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Mutex::new(file)).with_env_filter(filter());
    // A second call, or a shell with a subscriber of its own: the first one stays.
    let _already_set = subscriber.try_init();
}

fn filter() -> EnvFilter {
    let level = std::env::var("DAYPASS_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&level).unwrap_or_else(|_| EnvFilter::new("info"));
    HELD_BACK.iter().fold(filter, |filter, library| match format!("{library}=warn").parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    })
}

fn open(folder: &Path) -> io::Result<fs::File> {
    create_private_folder(folder).map_err(io::Error::other)?;
    let path = folder.join("daypass.log");
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LARGE) {
        fs::rename(&path, folder.join("daypass.log.1"))?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
