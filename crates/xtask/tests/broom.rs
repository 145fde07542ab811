//! What is left when a demo is gone: nothing.
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A folder with something in it, a program in a group of its own, and a broom that waits beside both.
struct Beside {
    folder: PathBuf,
    program: Child,
    broom: Child,
}

impl Beside {
    fn with(name: &str, script: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("daypass-broom-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("data")).expect("the temporary folder can be written");
        fs::write(folder.join("data/state.json"), "{}").expect("the temporary folder can be written");
        let mut program = Command::new("sh");
        program.args(["-c", script]).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut broom = Command::new(env!("CARGO_BIN_EXE_xtask"));
        broom.arg("sweep-after").arg(&folder).stdin(Stdio::piped());
        Self { folder, program: program.spawn().expect("sh is there"), broom: broom.spawn().expect("xtask is built") }
    }

    /// Tells the broom the group and then lets go of the pipe, as a demo does that ends in whatever way.
    fn let_go(&mut self) {
        let mut pipe = self.broom.stdin.take().expect("the broom's input is a pipe");
        writeln!(pipe, "{}", self.program.id()).expect("the broom reads");
        drop(pipe);
        self.program.wait().expect("it is a child");
        assert!(self.broom.wait().expect("the broom is a child").success(), "there was nothing it could not remove");
    }
}

#[test]
fn a_group_ends_and_its_folder_goes_when_the_pipe_closes() {
    let mut beside = Beside::with("term", "exec tail -f /dev/null");
    beside.let_go();
    assert_eq!(beside.program.wait().expect("it is a child").signal(), Some(15), "it was asked to end");
    assert!(!beside.folder.exists(), "its folder goes with it");
}

#[test]
fn a_broom_without_a_group_still_removes_the_folder() {
    let mut beside = Beside::with("early", "exit 0");
    drop(beside.broom.stdin.take());
    assert!(beside.broom.wait().expect("the broom is a child").success(), "a demo may end before it starts anything");
    beside.program.wait().expect("it is a child");
    assert!(!beside.folder.exists(), "its folder goes with it");
}
