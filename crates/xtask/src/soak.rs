//! `cargo xtask soak`: the runs that are too long for every change.

use std::time::Instant;

use crate::failure::{self, Failure};
use crate::packages::CLIENTS;
use crate::workspace::Workspace;
use crate::{setup, stop_soak, table};

/// One long run.
struct Soak {
    name: &'static str,
    about: &'static str,
    parts: &'static [Part],
}

enum Part {
    /// Many real clients through a Front, for ten minutes each.
    Clients,
    /// Tests with far more cases than every change gets.
    Tests(Tests),
    /// The agent's process stopped, with psql connected.
    Stop,
}

struct Tests {
    title: &'static str,
    package: &'static str,
    /// Which of its tests, in nextest's words.
    filter: &'static str,
    variables: &'static [(&'static str, &'static str)],
}

/// For each kind of client.
const CLIENT_SECONDS: &str = "DAYPASS_SOAK_SECONDS";

const SOAKS: &[Soak] = &[
    Soak {
        name: "access",
        about: "random histories of commands, events, time jumps and crashes against the reference model",
        parts: &[Part::Tests(Tests {
            title: "200,000 histories",
            package: "access",
            filter: "all()",
            variables: &[("PROPTEST_CASES", "200000")],
        })],
    },
    Soak {
        name: "clients",
        about: "pgbench and sysbench with 32 clients through a Front, ten minutes each, without an error",
        parts: &[Part::Clients],
    },
    Soak {
        name: "data-channel",
        about: "loss, duplication, reordering and cuts on virtual time, every byte in order",
        parts: &[Part::Tests(Tests {
            title: "50,000 seeds",
            package: "ssm-proto",
            filter: "all()",
            variables: &[("PROPTEST_CASES", "200000"), ("SSM_PROTO_SEEDS", "50000")],
        })],
    },
    Soak {
        name: "login",
        about: "any bytes against both roles of the database login",
        parts: &[Part::Tests(Tests {
            title: "500,000 inputs",
            package: "db-proto",
            filter: "all()",
            variables: &[("PROPTEST_CASES", "500000")],
        })],
    },
    Soak {
        name: "tunnel",
        about: "cuts, hourly goodbyes, a stopped process and a sleeping machine, with bytes and psql going through",
        parts: &[
            Part::Tests(Tests {
                title: "1 GiB each way with 100 cuts",
                package: "gateway",
                filter: "test(=soak::every_byte_arrives_while_either_leg_or_both_are_cut_again_and_again)",
                variables: &[("DAYPASS_SOAK_MIB", "1024"), ("DAYPASS_SOAK_CUTS", "100")],
            }),
            Part::Tests(Tests {
                title: "500 hourly goodbyes",
                package: "gateway",
                filter: "test(=soak::the_hourly_goodbye_may_come_any_number_of_times)",
                variables: &[("DAYPASS_SOAK_BYES", "500")],
            }),
            Part::Tests(Tests {
                title: "20 minutes asleep, on virtual time",
                package: "gateway",
                filter: "test(=soak::a_connection_goes_on_after_a_sleep_of_twenty_minutes)",
                variables: &[],
            }),
            Part::Tests(Tests {
                title: "20,000 seeds on virtual time",
                package: "ssm-proto",
                filter: "binary(=simulation)",
                variables: &[("SSM_PROTO_SEEDS", "20000")],
            }),
            Part::Stop,
        ],
    },
];

/// Handles `soak [NAME]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    let [name] = arguments else {
        let rows: Vec<Vec<String>> =
            SOAKS.iter().map(|soak| vec![soak.name.to_owned(), soak.about.to_owned()]).collect();
        println!(
            "{}\nrun one: cargo xtask soak NAME; all: cargo xtask soak all",
            table::render(&["name", "what it runs"], &rows)
        );
        return if arguments.is_empty() {
            Ok(())
        } else {
            Err(Failure::Usage(format!("soak takes one name, not {arguments:?}")))
        };
    };
    let chosen: Vec<&Soak> = SOAKS.iter().filter(|soak| *name == "all" || soak.name == *name).collect();
    if chosen.is_empty() {
        return Err(Failure::Usage(format!("there is no soak `{name}`; `cargo xtask soak` lists them")));
    }
    setup::ensure(workspace)?;
    let results: Vec<PartResult> = chosen.into_iter().flat_map(|soak| soak.run(workspace)).collect();
    close(&results)
}

struct PartResult {
    soak: &'static str,
    title: &'static str,
    seconds: f64,
    outcome: Result<(), Failure>,
}

impl Soak {
    /// All parts, whatever becomes of those before.
    fn run(&self, workspace: &Workspace) -> Vec<PartResult> {
        println!("\n==> {}: {}", self.name, self.about);
        let one = |part: &Part| {
            println!("\n--> {}", part.title());
            let started = Instant::now();
            let outcome = part.run(workspace);
            PartResult { soak: self.name, title: part.title(), seconds: started.elapsed().as_secs_f64(), outcome }
        };
        self.parts.iter().map(one).collect()
    }
}

impl Part {
    fn title(&self) -> &'static str {
        match self {
            Self::Clients => "32 clients: one login each, a login for each transaction, and MariaDB's",
            Self::Tests(tests) => tests.title,
            Self::Stop => stop_soak::TITLE,
        }
    }

    fn run(&self, workspace: &Workspace) -> Result<(), Failure> {
        match self {
            Self::Clients => {
                setup::ensure_apt_packages(workspace, CLIENTS)?;
                failure::run(&mut clients(workspace))
            }
            Self::Tests(tests) => failure::run(&mut tests.command(workspace)),
            Self::Stop => stop_soak::run(workspace),
        }
    }
}

/// The bench of the gateway, as long-running clients; `DAYPASS_SOAK_SECONDS` makes it shorter or longer.
fn clients(workspace: &Workspace) -> std::process::Command {
    let mut command = workspace.cargo(&["bench", "--quiet", "--package", "gateway", "--bench", "gateway"]);
    if std::env::var_os(CLIENT_SECONDS).is_none() {
        command.env(CLIENT_SECONDS, "600");
    }
    command
}

impl Tests {
    /// What the tests print is shown as they run, since it says how far they are.
    fn command(&self, workspace: &Workspace) -> std::process::Command {
        let runner = ["nextest", "run", "--cargo-profile", "bench", "--profile", "soak", "--no-capture"];
        let mut command = workspace.cargo(&[&runner[..], &["--package", self.package, "-E", self.filter]].concat());
        command.envs(self.variables.iter().copied());
        command
    }
}

fn close(results: &[PartResult]) -> Result<(), Failure> {
    let row = |result: &PartResult| {
        let verdict = result.outcome.as_ref().map_or_else(|failure| format!("FAILED: {failure}"), |()| "passed".into());
        vec![result.soak.to_owned(), result.title.to_owned(), format!("{:.0} s", result.seconds), verdict]
    };
    let rows: Vec<Vec<String>> = results.iter().map(row).collect();
    println!("\n{}", table::render(&["soak", "part", "time", "result"], &rows));
    let failed: Vec<&str> = results.iter().filter(|one| one.outcome.is_err()).map(|one| one.title).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::untrue("every part to pass", format!("not {}", failed.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_failed_fails_the_soak_and_is_named() {
        let result = |title, outcome| PartResult { soak: "tunnel", title, seconds: 1.0, outcome };
        assert!(close(&[result("goodbyes", Ok(()))]).is_ok(), "nothing failed");
        let failed = Err(Failure::untrue("rows", "none"));
        let failure = close(&[result("goodbyes", Ok(())), result("cuts", failed)]).expect_err("one part failed");
        assert!(failure.to_string().ends_with("not cuts"), "{failure}");
    }
}
