//! Programs that are given a limited time.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::failure::{Failure, words};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a program printed, and how it ended.
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command` to its end and collects its words; it is killed when it is not done within `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Answer, Failure> {
    let what = words(command);
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(Failure::io(format!("cannot start `{what}`")))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait(&mut child, limit, &what)?;
    Ok(Answer { status, stdout: stdout.join().unwrap_or_default(), stderr: stderr.join().unwrap_or_default() })
}

/// Like [`run`], and fails when the program does; returns its standard output.
pub(crate) fn read(command: &mut Command, limit: Duration) -> Result<String, Failure> {
    let answer = run(command, limit)?;
    if answer.status.success() {
        return Ok(answer.stdout);
    }
    Err(Failure::untrue(
        format!("`{}` to succeed", words(command)),
        format!("{}: {}", answer.status, answer.stderr.trim()),
    ))
}

/// Waits for the end of `child`; kills it when it is not done within `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration, what: &str) -> Result<ExitStatus, Failure> {
    let ended = until(limit, || child.try_wait().map_err(Failure::io(format!("cannot wait for `{what}`"))))?;
    if let Some(status) = ended {
        return Ok(status);
    }
    child.kill().map_err(Failure::io(format!("cannot end `{what}`")))?;
    let status = child.wait().map_err(Failure::io(format!("cannot wait for `{what}`")))?;
    Err(Failure::untrue(
        format!("`{what}` to end within {} s", limit.as_secs()),
        format!("it running on; killed ({status})"),
    ))
}

/// Asks again and again until there is an answer; none when there is none within `limit`.
pub(crate) fn until<T>(
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The lines that a running program prints. They go on being read after the last one asked for, so that it never blocks.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    /// Reads `source` in the background.
    pub(crate) fn of(source: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                // Nobody may be listening any more; the program's pipe is still emptied.
                let _ = sender.send(line);
            }
        });
        Self(receiver)
    }

    /// The first line that `wanted` makes something of; the lines before it come back as the error when the program closes
    /// its output or `limit` passes.
    pub(crate) fn find<T>(&self, limit: Duration, wanted: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let end = Instant::now() + limit;
        let mut before = Vec::new();
        loop {
            match self.0.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => match wanted(&line) {
                    Some(found) => return Ok(found),
                    None => before.push(line),
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(before.join("\n")),
            }
        }
    }
}

fn collect(source: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before a broken pipe is all there is to show.
        let _ = source.map(|mut source| source.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_killed_and_named() {
        let mut command = Command::new("sh");
        command.args(["-c", "exec tail -f /dev/null"]);
        let failure = run(&mut command, Duration::from_millis(50)).err().expect("it never ends by itself");
        assert!(
            failure.to_string().starts_with("expected `sh -c 'exec tail -f /dev/null'` to end within 0 s"),
            "{failure}"
        );
    }

    #[test]
    fn both_outputs_of_a_program_are_collected() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo rows; echo words >&2; exit 3"]);
        let answer = run(&mut command, Duration::from_secs(10)).expect("sh is there");
        assert_eq!(
            (answer.stdout.as_str(), answer.stderr.as_str(), answer.status.code()),
            ("rows\n", "words\n", Some(3))
        );
    }

    #[test]
    fn the_lines_before_a_missing_one_are_told() {
        let lines = Lines::of(std::io::Cursor::new("starting\nport in use\n"));
        let missing = lines.find(Duration::from_secs(10), |line| line.strip_prefix("ready ").map(str::to_owned));
        assert_eq!(missing, Err("starting\nport in use".to_owned()));
    }
}
