//! `cargo xtask bench`: measures, and prints each value beside its floor or peer of the same run and beside its goal.
//!
//! # What a bench target prints
//!
//! Every `[[bench]]` target of the workspace (with `harness = false`) takes part. On standard output it prints one JSON
//! object a line, [`Measurement`]'s fields:
//!
//! ```json
//! {"name":"tunnel download","value":41.2,"unit":"MB/s","baseline":2100.0,"goal":30.0,"goal_met":true}
//! ```
//!
//! `baseline` is the floor or the peer, measured in the same run; `goal` is a number in the same unit; both may be null,
//! and `goal_met` is null exactly when `goal` is, since only the target knows whether more is better. Lines that are not
//! such an object are shown and ignored. A target that fails, or prints no measurement, fails the run.

use std::fs;

use serde_json::{Value, json};

use crate::failure::{self, Failure};
use crate::workspace::Workspace;
use crate::{connect_bench, setup, table};

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) baseline: Option<f64>,
    pub(crate) goal: Option<f64>,
    pub(crate) goal_met: Option<bool>,
}

/// Handles `bench [NAME] [--json FILE]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    let (name, json) = match arguments {
        [] => (None, None),
        ["--json", file] => (None, Some(*file)),
        [name] => (Some(*name), None),
        [name, "--json", file] | ["--json", file, name] => (Some(*name), Some(*file)),
        other => return Err(Failure::Usage(format!("bench takes [NAME] [--json FILE], not {other:?}"))),
    };
    setup::ensure(workspace)?;
    let mut measured = Vec::new();
    for bench in choose(all(workspace)?, name)? {
        measured.extend(bench.run(workspace)?);
    }
    println!(
        "\n{}",
        table::render(
            &["name", "value", "unit", "floor or peer", "goal", "met"],
            &measured.iter().map(Measurement::row).collect::<Vec<_>>()
        )
    );
    if let Some(file) = json {
        let list = Value::Array(measured.iter().map(Measurement::to_json).collect());
        fs::write(file, format!("{list:#}\n")).map_err(Failure::io(format!("cannot write {file}")))?;
    }
    let missed: Vec<&str> =
        measured.iter().filter(|one| one.goal_met == Some(false)).map(|one| one.name.as_str()).collect();
    if !missed.is_empty() {
        println!("below their goal: {}", missed.join(", "));
    }
    Ok(())
}

enum Bench {
    /// From `daypass connect` to the first row, against the sandbox.
    Connect,
    /// A `[[bench]]` target.
    Target { package: String, name: String },
}

impl Bench {
    fn name(&self) -> &str {
        match self {
            Self::Connect => "connect",
            Self::Target { name, .. } => name,
        }
    }

    fn run(&self, workspace: &Workspace) -> Result<Vec<Measurement>, Failure> {
        println!("==> {}", self.name());
        let Self::Target { package, name } = self else { return connect_bench::run(workspace) };
        let output = failure::read(&mut workspace.cargo(&["bench", "--quiet", "-p", package, "--bench", name]))?;
        let measured: Vec<Measurement> = output
            .lines()
            .filter_map(|line| {
                let found = serde_json::from_str(line).ok().and_then(|value| Measurement::from_json(&value));
                found.or_else(|| {
                    println!("  {line}");
                    None
                })
            })
            .collect();
        if measured.is_empty() {
            Err(Failure::untrue(format!("measurements from the bench {name}"), "none"))
        } else {
            Ok(measured)
        }
    }
}

fn all(workspace: &Workspace) -> Result<Vec<Bench>, Failure> {
    let text = failure::read(&mut workspace.cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|cause| Failure::untrue("JSON from cargo metadata", cause.to_string()))?;
    Ok(std::iter::once(Bench::Connect).chain(targets(&metadata)).collect())
}

fn targets(metadata: &Value) -> Vec<Bench> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let of_package = |package: &Value| {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        let targets = package["targets"].as_array().cloned().unwrap_or_default().into_iter();
        let benches = targets.filter(|target| target["kind"] == json!(["bench"]));
        benches.map(move |target| Bench::Target {
            package: name.clone(),
            name: target["name"].as_str().unwrap_or_default().to_owned(),
        })
    };
    packages.flat_map(of_package).collect()
}

fn choose(benches: Vec<Bench>, name: Option<&str>) -> Result<Vec<Bench>, Failure> {
    let Some(name) = name else { return Ok(benches) };
    let known: Vec<String> = benches.iter().map(|bench| bench.name().to_owned()).collect();
    let chosen: Vec<Bench> = benches.into_iter().filter(|bench| bench.name() == name).collect();
    if chosen.is_empty() {
        Err(Failure::Usage(format!("there is no bench `{name}`; there are {}", known.join(", "))))
    } else {
        Ok(chosen)
    }
}

impl Measurement {
    fn from_json(value: &Value) -> Option<Self> {
        let measurement = Self {
            name: value["name"].as_str()?.to_owned(),
            value: value["value"].as_f64()?,
            unit: value["unit"].as_str()?.to_owned(),
            baseline: value["baseline"].as_f64(),
            goal: value["goal"].as_f64(),
            goal_met: value["goal_met"].as_bool(),
        };
        (measurement.goal.is_some() == measurement.goal_met.is_some()).then_some(measurement)
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "unit": self.unit,
            "baseline": self.baseline, "goal": self.goal, "goal_met": self.goal_met,
        })
    }

    fn row(&self) -> Vec<String> {
        let number = |number: f64| if number.abs() < 10.0 { format!("{number:.2}") } else { format!("{number:.0}") };
        let or_nothing = |value: Option<f64>| value.map(number).unwrap_or_default();
        let met = self.goal_met.map_or("", |met| if met { "yes" } else { "NO" });
        let (value, baseline, goal) = (number(self.value), or_nothing(self.baseline), or_nothing(self.goal));
        vec![self.name.clone(), value, self.unit.clone(), baseline, goal, met.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_reads_back_as_it_was_written() {
        let measurement = Measurement {
            name: "tunnel download".to_owned(),
            value: 41.5,
            unit: "MB/s".to_owned(),
            baseline: None,
            goal: Some(30.0),
            goal_met: Some(true),
        };
        assert_eq!(Measurement::from_json(&measurement.to_json()), Some(measurement));
    }

    #[test]
    fn a_goal_without_a_word_on_whether_it_was_met_is_no_measurement() {
        assert_eq!(Measurement::from_json(&json!({"name": "x", "value": 1, "unit": "s", "goal": 2})), None);
    }

    #[test]
    fn the_benches_of_the_workspace_are_found_by_their_kind() {
        let metadata = json!({"packages": [{"name": "gateway", "targets": [
            {"name": "gateway", "kind": ["lib"]}, {"name": "tunnel", "kind": ["bench"]},
        ]}]});
        let found = targets(&metadata);
        assert_eq!(found.iter().map(Bench::name).collect::<Vec<_>>(), ["tunnel"]);
        assert!(choose(found, Some("tunel")).is_err_and(|failure| failure.to_string().ends_with("there are tunnel")));
    }
}
