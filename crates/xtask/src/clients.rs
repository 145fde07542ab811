//! `cargo xtask setup clients`: the database clients that the programs of tests/clients are written for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{self, Failure};
use crate::packages::CLIENTS;
use crate::setup;
use crate::workspace::Workspace;

/// Installs what is missing, in the versions that the files of tests/clients name; fast when nothing is.
pub(crate) fn ensure(workspace: &Workspace) -> Result<(), Failure> {
    setup::ensure_apt_packages(workspace, CLIENTS)?;
    let (listed, installed) = (workspace.root().join("tests/clients"), folder(workspace));
    fs::create_dir_all(&installed).map_err(Failure::io(format!("cannot create {}", installed.display())))?;
    once(&listed.join("requirements.txt"), &installed, |list| python(&installed.join("venv"), list))?;
    once(&listed.join("package-lock.json"), &installed, |lock| node(&installed.join("node"), lock))
}

/// Where the clients of Python and Node are kept; tests/clients/run.sh looks there.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.tools().with_file_name("clients")
}

/// Runs `install` unless it has already run for a `list` that reads the same.
fn once(list: &Path, installed: &Path, install: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let stamp = installed.join(list.file_name().unwrap_or_default());
    let wanted = fs::read(list).map_err(Failure::io(format!("cannot read {}", list.display())))?;
    if fs::read(&stamp).is_ok_and(|known| known == wanted) {
        return Ok(());
    }
    install(list)?;
    fs::write(&stamp, wanted).map_err(Failure::io(format!("cannot write {}", stamp.display())))
}

fn python(venv: &Path, requirements: &Path) -> Result<(), Failure> {
    println!("setup: the Python clients of {}", requirements.display());
    failure::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    failure::run(pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "-r"]).arg(requirements))
}

fn node(folder: &Path, lock: &Path) -> Result<(), Failure> {
    println!("setup: the Node clients of {}", lock.display());
    fs::create_dir_all(folder).map_err(Failure::io(format!("cannot create {}", folder.display())))?;
    for from in [lock.to_owned(), lock.with_file_name("package.json")] {
        let to = folder.join(from.file_name().unwrap_or_default());
        fs::copy(&from, &to).map_err(Failure::io(format!("cannot copy {}", from.display())))?;
    }
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    failure::run(Command::new("npm").args(npm).current_dir(folder))
}
