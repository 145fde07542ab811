//! `cargo xtask soak`: the runs that are too long for every change.

use crate::failure::{self, Failure};
use crate::workspace::Workspace;
use crate::{setup, table};

/// One long run: the tests of one crate with far more cases than every change gets.
struct Soak {
    name: &'static str,
    package: &'static str,
    variables: &'static [(&'static str, &'static str)],
    about: &'static str,
}

const SOAKS: &[Soak] = &[
    Soak {
        name: "access",
        package: "access",
        variables: &[("PROPTEST_CASES", "200000")],
        about: "random histories of commands, events, time jumps and crashes against the reference model",
    },
    Soak {
        name: "data-channel",
        package: "ssm-proto",
        variables: &[("PROPTEST_CASES", "200000"), ("SSM_PROTO_SEEDS", "50000")],
        about: "loss, duplication, reordering and cuts on virtual time, every byte in order",
    },
    Soak {
        name: "login",
        package: "db-proto",
        variables: &[("PROPTEST_CASES", "500000")],
        about: "any bytes against both roles of the database login",
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
    chosen.into_iter().try_for_each(|soak| soak.run(workspace))
}

impl Soak {
    fn run(&self, workspace: &Workspace) -> Result<(), Failure> {
        println!("\n==> {}: {}", self.name, self.about);
        let runner = ["nextest", "run", "--cargo-profile", "bench", "--profile", "soak", "--package", self.package];
        let mut command = workspace.cargo(&runner);
        command.envs(self.variables.iter().copied());
        failure::run(&mut command)
    }
}
