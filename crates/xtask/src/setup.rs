//! `cargo xtask setup`: from a computer with Rust, Node and git to one on which everything builds and runs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::clients;
use crate::failure::{self, Failure};
use crate::packages::{self, NEEDS, Need};
use crate::workspace::{Workspace, is_installed};

/// Handles `setup [clients | --check]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    match arguments {
        [] => {
            ensure(workspace)?;
            println!("setup: everything is there");
            Ok(())
        }
        ["--check"] => report(workspace),
        ["clients"] => {
            clients::ensure(workspace)?;
            println!("setup: every client is there");
            Ok(())
        }
        other => Err(Failure::Usage(format!("setup takes nothing, `clients` or --check, not {other:?}"))),
    }
}

/// Installs and builds what is missing; silent and fast when nothing is.
pub(crate) fn ensure(workspace: &Workspace) -> Result<(), Failure> {
    require_node()?;
    ensure_system_packages(workspace)?;
    // A build machine must never say for want of a client that a test could not be done.
    if workspace.is_ci() {
        clients::ensure(workspace)?;
    }
    if !packages_are_current(workspace) {
        println!("setup: npm ci (the window's packages)");
        failure::run(&mut workspace.npm(&["ci", "--ignore-scripts", "--no-audit"]))?;
        let lock = workspace.ui().join("package-lock.json");
        fs::copy(&lock, stamp(workspace)).map_err(Failure::io("cannot note which packages are installed"))?;
    }
    if !window_is_current(workspace) {
        println!("setup: npm run build (the window's contents)");
        failure::run(&mut workspace.npm(&["run", "build", "--silent"]))?;
    }
    Ok(())
}

fn report(workspace: &Workspace) -> Result<(), Failure> {
    require_node()?;
    let missing = missing_system_packages(NEEDS)?;
    for need in NEEDS {
        for name in need.apt.iter().filter(|name| missing.contains(name)) {
            println!("missing: {name} ({})", need.reason);
        }
    }
    let packages = packages_are_current(workspace);
    let window = packages && window_is_current(workspace);
    println!("system packages: {}", if missing.is_empty() { "all there" } else { "some are missing" });
    println!("window packages: {}", if packages { "as the lock file says" } else { "to be installed by npm ci" });
    println!("window contents: {}", if window { "built" } else { "to be built by npm run build" });
    if missing.is_empty() && window {
        Ok(())
    } else {
        Err(Failure::untrue("a complete set-up", "the gaps above; `cargo xtask setup` closes them"))
    }
}

fn require_node() -> Result<(), Failure> {
    let remedy = || "install Node.js 20.19 or newer, which brings npm".to_owned();
    let version = failure::read(Command::new("node").arg("--version"))
        .map_err(|_| Failure::Missing { program: "node".to_owned(), remedy: remedy() })?;
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) >= (20, 19) {
        Ok(())
    } else {
        Err(Failure::untrue(remedy(), format!("version {}", version.trim())))
    }
}

fn ensure_system_packages(workspace: &Workspace) -> Result<(), Failure> {
    if cfg!(target_os = "linux") && is_installed("apt-get") {
        return ensure_apt_packages(workspace, NEEDS);
    }
    if !is_installed("psql") {
        println!("setup: this system's packages are not installed by xtask. What is needed:");
        for need in NEEDS {
            let names =
                if cfg!(target_os = "macos") { ("brew install", need.brew) } else { ("winget install", need.winget) };
            let names = if cfg!(target_os = "linux") { ("the counterparts of Debian's", need.apt) } else { names };
            if !names.1.is_empty() {
                println!("  to {}: {} {}", need.reason, names.0, names.1.join(" "));
            }
        }
    }
    Ok(())
}

/// Installs those of `needs` that are missing where there is apt-get; elsewhere nothing.
pub(crate) fn ensure_apt_packages(workspace: &Workspace, needs: &[Need]) -> Result<(), Failure> {
    let missing = missing_system_packages(needs)?;
    if missing.is_empty() { Ok(()) } else { apt_install(workspace, &missing) }
}

fn missing_system_packages(needs: &[Need]) -> Result<Vec<&'static str>, Failure> {
    if !is_installed("dpkg-query") {
        return Ok(Vec::new());
    }
    let names = packages::apt_names(needs);
    // It exits 1 when it does not know one of the names, and still lists the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(&names)
        .output()
        .map_err(Failure::io("cannot ask dpkg-query what is installed"))?;
    Ok(not_installed(&names, &String::from_utf8_lossy(&output.stdout)))
}

fn not_installed<'a>(names: &[&'a str], listing: &str) -> Vec<&'a str> {
    names.iter().copied().filter(|name| !listing.lines().any(|line| line == format!("{name} installed"))).collect()
}

fn apt_install(workspace: &Workspace, missing: &[&str]) -> Result<(), Failure> {
    println!("setup: apt-get install {}", missing.join(" "));
    let root = failure::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root && failure::read(Command::new("sudo").args(["-n", "true"])).is_err() {
        let remedy = format!("sudo apt-get install -y --no-install-recommends {}", missing.join(" "));
        return Err(Failure::untrue(
            "to be root, or to be allowed `sudo -n`",
            format!("neither. Run this once:\n  {remedy}"),
        ));
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(if root { "env" } else { "sudo" });
        command.args(if root { &[][..] } else { &["-n", "env"] }).args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-q",
        ]);
        command.args(arguments).current_dir(workspace.root());
        command
    };
    // One third-party source that does not answer fails the whole update; whether it mattered shows in the next line.
    if let Err(failure) = failure::run(&mut apt(&["update"])) {
        println!("setup: {failure}");
    }
    failure::run(apt(&["install", "-y", "--no-install-recommends"]).args(missing))
}

fn stamp(workspace: &Workspace) -> std::path::PathBuf {
    workspace.ui().join("node_modules/.daypass-installed-lock.json")
}

fn packages_are_current(workspace: &Workspace) -> bool {
    let lock = fs::read(workspace.ui().join("package-lock.json"));
    let installed = fs::read(stamp(workspace));
    matches!((lock, installed), (Ok(lock), Ok(installed)) if lock == installed)
}

fn window_is_current(workspace: &Workspace) -> bool {
    let built = fs::metadata(workspace.ui().join("dist/index.html")).and_then(|page| page.modified());
    built.is_ok_and(|built| newest_change(&workspace.ui()) <= built)
}

/// The latest change below `folder`, what is installed or built left out. A folder's own time tells of removed files.
fn newest_change(folder: &Path) -> SystemTime {
    const MADE: [&str; 3] = ["node_modules", "dist", "test-results"];
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| !MADE.iter().any(|made| entry.file_name() == *made))
        .filter_map(|entry| {
            let changed = entry.metadata().and_then(|data| data.modified()).ok()?;
            let below = entry.file_type().is_ok_and(|kind| kind.is_dir()).then(|| newest_change(&entry.path()));
            Some(below.map_or(changed, |below| below.max(changed)))
        })
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_counts_only_when_it_is_fully_installed() {
        let listing = "xvfb installed\nrpm config-files\n";
        assert_eq!(not_installed(&["xvfb", "rpm", "postgresql"], listing), ["rpm", "postgresql"]);
    }
}
