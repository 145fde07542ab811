//! Where things are, and how cargo and npm are started.

use std::path::{Path, PathBuf};
use std::process::Command;

/// This clone.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    ci: bool,
}

impl Workspace {
    /// The clone this program was built in.
    pub(crate) fn here() -> Self {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned();
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        let target = target_folder(&root, ci, std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from), home());
        Self { root, target, ci }
    }

    /// The top folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether this is a build machine: nobody looks, nothing is asked.
    pub(crate) fn is_ci(&self) -> bool {
        self.ci
    }

    /// The window's folder.
    pub(crate) fn ui(&self) -> PathBuf {
        self.root.join("ui")
    }

    /// The one folder that everything is built in.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where the programs lie that `build` makes.
    pub(crate) fn programs(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Where the programs lie that are built with optimisation.
    pub(crate) fn optimised_programs(&self) -> PathBuf {
        self.target.join("release")
    }

    /// Where tools are kept that this repository needs and that take minutes to build.
    pub(crate) fn tools(&self) -> PathBuf {
        home().unwrap_or_else(|| self.target.clone()).join(".cache/daypass/tools")
    }

    /// Cargo with the one target folder, and without what cargo told xtask about xtask: build scripts that watch those
    /// variables would run again, and everything after them would be built twice.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(name.as_ref());
            }
        }
        if self.ci {
            command.env("CARGO_INCREMENTAL", "0").env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1");
        }
        command
    }

    /// npm in the window's folder.
    pub(crate) fn npm(&self, arguments: &[&str]) -> Command {
        let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.ui())
            .env("npm_config_update_notifier", "false")
            .env("npm_config_fund", "false");
        if self.ci {
            command.env("NO_COLOR", "1");
        }
        command
    }

    /// Builds what a [`crate::stage::Stage`] needs, with optimisation.
    pub(crate) fn build_optimised_programs(&self) -> Result<(), crate::failure::Failure> {
        let packages = ["--package", "cli", "--package", "sandbox"];
        crate::failure::run(&mut self.cargo(&[&["build", "--profile", "bench", "--bins"], &packages[..]].concat()))
    }

    /// Builds every program. All packages are named and the examples go along so that features are chosen as for the
    /// tests: another choice rebuilds the window's toolkit, and this one links no test.
    pub(crate) fn build(&self) -> Result<(), crate::failure::Failure> {
        crate::failure::run(&mut self.cargo(&["build", "--workspace", "--bins", "--examples"]))
    }
}

/// A build machine lays every clone anew, so its target folder lies outside of it.
fn target_folder(root: &Path, ci: bool, chosen: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    let outside = home.filter(|_| ci).map(|home| home.join(".cache/daypass/target"));
    chosen.map(|folder| root.join(folder)).or(outside).unwrap_or_else(|| root.join("target"))
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE")).map(PathBuf::from)
}

/// A program's file name on this system.
pub(crate) fn executable(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// Whether `program` is in one of the folders of PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    let name = executable(program);
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(&name).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_machine_keeps_its_target_outside_the_clone() {
        let (root, home) = (Path::new("/clone"), Some(PathBuf::from("/home/ana")));
        assert_eq!(target_folder(root, true, None, home.clone()), Path::new("/home/ana/.cache/daypass/target"));
        assert_eq!(target_folder(root, false, None, home.clone()), Path::new("/clone/target"));
        assert_eq!(target_folder(root, true, Some("built".into()), home), Path::new("/clone/built"));
        assert_eq!(target_folder(root, true, None, None), Path::new("/clone/target"));
    }
}
