//! Which program has a port.

/// A program that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its short name, as the system lists it.
    pub name: String,
}

impl Holder {
    /// Who listens at `port` of this machine, as far as we may see.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(port: u16) -> Option<Self> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let inode =
            tables.iter().find_map(|table| linux::listening_inode(&std::fs::read_to_string(table).ok()?, port))?;
        linux::process_with_socket(&inode)
    }

    /// Who listens at `port` of this machine: not known on this system.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_port: u16) -> Option<Self> {
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::Holder;

    const LISTENING: &str = "0A";

    /// `table` as in proc(5): local address in the second column, state in the fourth, inode in the tenth.
    pub(super) fn listening_inode(table: &str, port: u16) -> Option<String> {
        let suffix = format!(":{port:04X}");
        table.lines().skip(1).find_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let found = columns.get(1)?.ends_with(&suffix) && *columns.get(3)? == LISTENING;
            found.then(|| columns.get(9).map(ToString::to_string))?
        })
    }

    pub(super) fn process_with_socket(inode: &str) -> Option<Holder> {
        let socket = PathBuf::from(format!("socket:[{inode}]"));
        fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            has_socket(&entry.path(), &socket)
                .then(|| fs::read_to_string(entry.path().join("comm")).ok())?
                .map(|name| Holder { pid, name: name.trim().to_owned() })
        })
    }

    fn has_socket(process: &Path, socket: &Path) -> bool {
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
        descriptors
            .filter_map(Result::ok)
            .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|to| to == socket))
    }
}
