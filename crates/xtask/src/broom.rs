//! Whatever ends a demo, Ctrl-C and a crash included, nothing of it stays: a second process waits for the first one's end.
//!
//! The broom holds the reading end of a pipe whose writing end only the demo has. When the demo is gone, for whatever
//! reason, the pipe closes; the broom then ends the demo's process group and removes its folder.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The hidden command of xtask that is the broom.
pub(crate) const COMMAND: &str = "sweep-after";

/// How long programs have to end by themselves.
const PATIENCE: Duration = Duration::from_secs(10);

/// A waiting broom.
pub(crate) struct Broom {
    process: Child,
    lifeline: ChildStdin,
}

impl Broom {
    /// Starts one that will remove `folder`.
    pub(crate) fn wait_beside(folder: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(own_program()?);
        command.arg(COMMAND).arg(folder).stdin(Stdio::piped()).stdout(Stdio::null());
        join_group(&mut command, 0);
        let mut process = command.spawn().map_err(Failure::io("cannot start the process that cleans up"))?;
        let lifeline = process.stdin.take().ok_or_else(|| Failure::untrue("a pipe to the cleaning process", "none"))?;
        Ok(Self { process, lifeline })
    }

    /// Tells it the process group to end.
    pub(crate) fn take_group(&mut self, group: u32) -> Result<(), Failure> {
        writeln!(self.lifeline, "{group}").map_err(Failure::io("cannot reach the process that cleans up"))
    }

    /// Lets it sweep, and waits until it has. `children` are ours in its group: a process that ended stays in its group until
    /// its parent has looked at it.
    pub(crate) fn sweep_now(self, children: impl IntoIterator<Item = Child>) -> Result<(), Failure> {
        let Self { mut process, lifeline } = self;
        drop(lifeline);
        for mut child in children {
            child.wait().map_err(Failure::io("cannot wait for a program to end"))?;
        }
        let status = process.wait().map_err(Failure::io("cannot wait for the process that cleans up"))?;
        if status.success() { Ok(()) } else { Err(Failure::Command { what: format!("xtask {COMMAND}"), status }) }
    }
}

/// This program. Building the workspace may have replaced its file; on Linux the running one still has a name.
fn own_program() -> Result<PathBuf, Failure> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        Ok(running)
    } else {
        std::env::current_exe().map_err(Failure::io("cannot find xtask itself"))
    }
}

/// The broom's own side.
pub(crate) fn sweep(arguments: &[&str]) -> Result<(), Failure> {
    let [folder] = arguments else {
        return Err(Failure::Usage(format!("{COMMAND} is started by the demo, with the demo's folder")));
    };
    let groups: Vec<u32> =
        BufReader::new(std::io::stdin()).lines().map_while(Result::ok).filter_map(|line| line.parse().ok()).collect();
    groups.iter().for_each(|group| end_group(*group));
    let folder = PathBuf::from(folder);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(Failure::io(format!("cannot remove {}", folder.display())))?;
    }
    Ok(())
}

/// Puts the process that `command` will start into `group`; 0 makes it a group of its own.
pub(crate) fn join_group(command: &mut Command, group: u32) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, i32::try_from(group).unwrap_or(0));
    #[cfg(not(unix))]
    let _ = (command, group);
}

fn end_group(group: u32) {
    signal(group, "TERM");
    let patience = Instant::now() + PATIENCE;
    while signal(group, "0") {
        if Instant::now() > patience {
            signal(group, "KILL");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// False when no process is left in the group. The shell has `kill` built in, wherever there is a shell.
fn signal(group: u32, name: &str) -> bool {
    let kill = format!("kill -s {name} -- -{group}");
    Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
