//! Why a command of xtask stopped.

use std::io;
use std::process::{Command, ExitCode, ExitStatus};

/// Every variant names what was tried, what was seen and what to do.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line was not understood.
    Usage(String),
    /// A program is not on this computer.
    Missing { program: String, remedy: String },
    /// A program could not be started or a file not be read or written.
    Io { what: String, cause: io::Error },
    /// A program ran and said no.
    Command { what: String, status: ExitStatus },
    /// What was seen is not what has to be seen.
    Untrue { expected: String, seen: String },
}

impl Failure {
    /// 2 for a command line that was not understood, 1 for everything else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Missing { .. } | Self::Io { .. } | Self::Command { .. } | Self::Untrue { .. } => ExitCode::FAILURE,
        }
    }

    /// For `map_err`: `what` was under way when `cause` came up.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }

    /// `expected` did not come about; `seen` did.
    pub(crate) fn untrue(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::Untrue { expected: expected.into(), seen: seen.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Missing { program, remedy } => write!(f, "`{program}` is not on this computer: {remedy}"),
            Self::Io { what, cause } => write!(f, "{what}: {cause}"),
            Self::Command { what, status } => write!(f, "`{what}` ended with {status}; its own words are above"),
            Self::Untrue { expected, seen } => write!(f, "expected {expected}, but saw {seen}"),
        }
    }
}

/// Runs `command` with its output shown, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let what = words(command);
    let status = command.status().map_err(|cause| not_started(&what, command, cause))?;
    if status.success() { Ok(()) } else { Err(Failure::Command { what, status }) }
}

/// Runs `command` and returns what it printed on standard output, and fails when it does.
pub(crate) fn read(command: &mut Command) -> Result<String, Failure> {
    let what = words(command);
    let output = command.output().map_err(|cause| not_started(&what, command, cause))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::untrue(format!("`{what}` to succeed"), format!("{} and: {words}", output.status)))
}

/// The command as a person would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    command.get_args().fold(name, |line, argument| {
        let argument = argument.to_string_lossy();
        if argument.contains(char::is_whitespace) {
            format!("{line} '{argument}'")
        } else {
            format!("{line} {argument}")
        }
    })
}

fn not_started(what: &str, command: &Command, cause: io::Error) -> Failure {
    if cause.kind() == io::ErrorKind::NotFound {
        let program = command.get_program().to_string_lossy().into_owned();
        return Failure::Missing { program, remedy: "run `cargo xtask setup`".to_owned() };
    }
    Failure::Io { what: format!("cannot start `{what}`"), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_as_a_person_would_type_it() {
        let mut command = Command::new("/usr/bin/psql");
        command.args(["-c", "SELECT 1", "shop"]);
        assert_eq!(words(&command), "psql -c 'SELECT 1' shop");
    }

    #[test]
    fn a_program_that_is_absent_is_named_with_a_remedy() {
        let failure = run(&mut Command::new("no-such-program-anywhere")).expect_err("there is no such program");
        assert_eq!(failure.to_string(), "`no-such-program-anywhere` is not on this computer: run `cargo xtask setup`");
    }
}
