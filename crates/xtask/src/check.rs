//! `cargo xtask test`: every check that a change must pass, with a line and a time each.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::failure::{self, Failure};
use crate::workspace::{Workspace, executable, is_installed};
use crate::{setup, table};

const LICENCES: &str = "licences";
const DENY_VERSION: &str = "0.20.2";

/// Handles `test [CHECK...]`.
pub(crate) fn run(workspace: &Workspace, names: &[&str]) -> Result<(), Failure> {
    let checks: Vec<Check> = all(workspace);
    if let Some(unknown) = names.iter().find(|name| !checks.iter().any(|check| check.name == **name)) {
        let known: Vec<&str> = checks.iter().map(|check| check.name).collect();
        return Err(Failure::Usage(format!("there is no check `{unknown}`; there are {}", known.join(", "))));
    }
    let started = Instant::now();
    setup::ensure(workspace)?;
    if names.is_empty() || names.contains(&LICENCES) {
        ensure_licence_tool(workspace)?;
    }
    println!("==> setup: {:.1} s", started.elapsed().as_secs_f64());
    let chosen = checks.into_iter().filter(|check| names.is_empty() || names.contains(&check.name));
    let results: Vec<CheckResult> = chosen.map(Check::run).collect();
    close(&results)
}

struct Check {
    name: &'static str,
    command: Result<Command, &'static str>,
}

struct CheckResult {
    name: &'static str,
    seconds: f64,
    verdict: Verdict,
}

enum Verdict {
    Passed,
    Failed(String),
    Skipped(&'static str),
}

impl Check {
    fn run(self) -> CheckResult {
        let started = Instant::now();
        let verdict = match self.command {
            Ok(mut command) => {
                println!("\n==> {}: {}", self.name, failure::words(&command));
                failure::run(&mut command)
                    .map_or_else(|failure| Verdict::Failed(failure.to_string()), |()| Verdict::Passed)
            }
            Err(reason) => Verdict::Skipped(reason),
        };
        CheckResult { name: self.name, seconds: started.elapsed().as_secs_f64(), verdict }
    }
}

/// In the order of what is quickest to tell. Clippy comes before the tests since the documentation reuses what it checked.
fn all(workspace: &Workspace) -> Vec<Check> {
    let cargo = |name, arguments: &[&str]| Check { name, command: Ok(workspace.cargo(arguments)) };
    let npm = |name, arguments: &[&str]| Check { name, command: Ok(workspace.npm(arguments)) };
    vec![
        cargo("fmt", &["fmt", "--all", "--check"]),
        npm("ui-check", &["run", "check", "--silent"]),
        npm("ui-test", &["run", "test", "--silent"]),
        licences(workspace),
        lock_file(workspace),
        cargo("clippy", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        documentation(workspace),
        cargo("examples", &["test", "--workspace", "--doc", "--quiet"]),
        tests(workspace),
    ]
}

fn tests(workspace: &Workspace) -> Check {
    let runner: &[&str] = if is_installed("cargo-nextest") {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--no-fail-fast"]
    };
    Check { name: "tests", command: Ok(workspace.cargo(runner)) }
}

/// The examples go along so that features are chosen as clippy chose them; without them every library is checked again.
fn documentation(workspace: &Workspace) -> Check {
    let documented = ["--lib", "--examples", "--no-deps", "--document-private-items", "--quiet"];
    let mut command = workspace.cargo(&[&["doc", "--workspace"], &documented[..]].concat());
    command.env("RUSTDOCFLAGS", "-D warnings");
    Check { name: "documentation", command: Ok(command) }
}

/// Cargo completes a lock file without a word, and did so when it built this program.
fn lock_file(workspace: &Workspace) -> Check {
    let mut command = Command::new("git");
    command.args(["diff", "--exit-code", "--stat", "--", "Cargo.lock"]).current_dir(workspace.root());
    let fresh_clone = workspace.is_ci().then_some(command);
    Check { name: "lock-file", command: fresh_clone.ok_or("only a fresh clone shows what is not committed") }
}

/// Advisories need a database that is fetched from the network; where there is one, run `cargo deny check advisories` too.
/// A build machine installs the tool, which takes some minutes once; nobody else has to.
fn licences(workspace: &Workspace) -> Check {
    let kept = workspace.tools().join("bin").join(executable("cargo-deny"));
    let tool = if is_installed("cargo-deny") {
        Some("cargo-deny".into())
    } else {
        (workspace.is_ci() || kept.exists()).then_some(kept)
    };
    let command = tool.map(|tool: PathBuf| {
        let mut command = Command::new(tool);
        command
            .args(["--workspace", "--log-level", "error", "check", "licenses", "bans", "sources"])
            .current_dir(workspace.root());
        command
    });
    Check { name: LICENCES, command: command.ok_or("cargo install --locked cargo-deny switches it on") }
}

fn ensure_licence_tool(workspace: &Workspace) -> Result<(), Failure> {
    let tools = workspace.tools();
    if !workspace.is_ci() || is_installed("cargo-deny") || tools.join("bin").join(executable("cargo-deny")).exists() {
        return Ok(());
    }
    println!("setup: cargo install cargo-deny (takes some minutes, once)");
    let mut install = workspace.cargo(&["install", "--locked", "--quiet", "cargo-deny", "--version", DENY_VERSION]);
    failure::run(install.arg("--root").arg(&tools).env_remove("CARGO_TARGET_DIR"))
}

fn close(results: &[CheckResult]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = results.iter().map(CheckResult::row).collect();
    println!("\n{}", table::render(&["check", "time", "result"], &rows));
    let count = |wanted: fn(&Verdict) -> bool| results.iter().filter(|result| wanted(&result.verdict)).count();
    let passed = count(|verdict| matches!(verdict, Verdict::Passed));
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    println!("checks: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { Ok(()) } else { Err(Failure::untrue("every check to pass", format!("{failed} that did not"))) }
}

impl CheckResult {
    fn row(&self) -> Vec<String> {
        let verdict = match &self.verdict {
            Verdict::Passed => "passed".to_owned(),
            Verdict::Failed(why) => format!("FAILED: {why}"),
            Verdict::Skipped(why) => format!("skipped: {why}"),
        };
        vec![self.name.to_owned(), format!("{:.1} s", self.seconds), verdict]
    }
}
