//! What is printed of a measurement.
#![expect(clippy::print_stdout, reason = "the figures are read from standard output")]

use serde_json::json;

/// Rates and times that are better, the more or the less.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// Prints one measurement.
pub(crate) fn figure(name: &str, value: f64, unit: &str, baseline: Option<f64>, goal: Option<Goal>) {
    let (limit, met) = match goal {
        Some(Goal::AtLeast(limit)) => (Some(limit), Some(value >= limit)),
        Some(Goal::AtMost(limit)) => (Some(limit), Some(value <= limit)),
        None => (None, None),
    };
    let line = json!({
        "name": name, "value": value, "unit": unit, "baseline": baseline, "goal": limit, "goal_met": met,
    });
    println!("{line}");
}
