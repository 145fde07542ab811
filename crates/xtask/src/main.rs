//! `cargo xtask`: everything a developer, a newcomer or a build machine does with this repository.
//!
//! It depends on the standard library and serde_json alone, so that it builds in seconds and runs before any system
//! package is installed: `setup` is what installs them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "talking to the person at the terminal is its purpose")]

mod bench;
mod bounded;
mod broom;
mod check;
mod clients;
mod connect_bench;
mod demo;
mod dist;
mod endings;
mod failure;
mod instant;
mod packages;
mod setup;
mod soak;
mod stage;
mod stop_soak;
mod story;
mod table;
mod workspace;

use std::process::ExitCode;

use failure::Failure;
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask COMMAND

  setup [--check]            install the system packages and the window's packages, and build the window's contents;
                             --check only says what is missing
  setup clients              install the database clients that tests/clients has programs for;
                             `setup` and `test` do it by themselves on a build machine (CI=true)
  demo [--headless] [--keep] the whole story on this computer: sign in, ask, be approved, connect, rows, the end
                             --headless  in the terminal even when there is a display
                             --keep      leave it running until Ctrl-C, and say how to use it by hand
  test [CHECK...]            every check that a change must pass, or only those named
  bench [NAME] [--json FILE] measure, and print each value beside its floor or peer and its goal
  soak [NAME]                the runs that are too long for every change; without a name, the list of them
  dist [--quick]             build the .deb and .rpm packages; --quick leaves link-time optimisation out
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            failure.exit_code()
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{USAGE}");
        return Ok(());
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let workspace = Workspace::here();
    match command.as_str() {
        "setup" => setup::run(&workspace, &rest),
        "demo" => demo::run(&workspace, &rest),
        "test" => check::run(&workspace, &rest),
        "bench" => bench::run(&workspace, &rest),
        "soak" => soak::run(&workspace, &rest),
        "dist" => dist::run(&workspace, &rest),
        broom::COMMAND => broom::sweep(&rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        unknown => Err(Failure::Usage(format!("there is no `{unknown}`\n\n{USAGE}"))),
    }
}
