//! `cargo xtask dist`: the packages people install.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::failure::{self, Failure};
use crate::setup;
use crate::workspace::{Workspace, executable};

/// Handles `dist [--quick]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    let quick = match arguments {
        [] => false,
        ["--quick"] => true,
        other => return Err(Failure::Usage(format!("dist takes nothing or --quick, not {other:?}"))),
    };
    setup::ensure(workspace)?;
    // Both programs in one go, with the features that the bundler's own build will choose for the desktop.
    let programs = ["build", "--release", "--package", "cli", "--package", "daypass-desktop", "--bins"];
    failure::run(hasten(&mut workspace.cargo(&programs), quick))?;
    failure::run(hasten(&mut bundler(workspace), quick))?;
    let made = bundles(workspace);
    if made.is_empty() {
        return Err(Failure::untrue("a .deb and an .rpm", "none in the bundle folder"));
    }
    made.iter().for_each(|file| println!("{}", file.display()));
    Ok(())
}

/// The bundler starts cargo by itself, in the root folder; the command goes into the packages as a file. The tray's library
/// is opened at run time, so that nothing but these lines makes the packages depend on it.
fn bundler(workspace: &Workspace) -> Command {
    let cargo = workspace.cargo(&[]);
    let files = json!({ "/usr/bin/daypass": workspace.optimised_programs().join(executable("daypass")) });
    let config = json!({ "bundle": { "linux": {
        "deb": { "files": files, "depends": ["libayatana-appindicator3-1"] },
        "rpm": { "files": files, "depends": ["libayatana-appindicator3.so.1()(64bit)"] },
    } } });
    let config = config.to_string();
    let mut command = Command::new(workspace.ui().join("node_modules/.bin/tauri"));
    command.args(["build", "--ci", "--bundles", "deb,rpm", "--config", &config]).current_dir(workspace.root());
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Leaves out the minutes of link-time optimisation.
fn hasten(command: &mut Command, quick: bool) -> &mut Command {
    if quick {
        command.env("CARGO_PROFILE_RELEASE_LTO", "false").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    }
    command
}

fn bundles(workspace: &Workspace) -> Vec<PathBuf> {
    let folder = workspace.target().join("release/bundle");
    let of_kind = |kind: &str| {
        fs::read_dir(folder.join(kind)).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let files = [of_kind("deb"), of_kind("rpm")].concat();
    files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "deb" || end == "rpm")).collect()
}
