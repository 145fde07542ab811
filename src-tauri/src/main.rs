//! The desktop shell.

use std::process::ExitCode;

use clap::Parser as _;

#[expect(clippy::print_stderr, reason = "a program that cannot start has nowhere else to say so")]
fn main() -> ExitCode {
    let options = daypass_desktop::Options::parse();
    match daypass_desktop::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let view = failure.view();
            eprintln!("daypass-desktop: {}\nhint: {}", view.message, view.hint);
            failure.exit_code()
        }
    }
}
