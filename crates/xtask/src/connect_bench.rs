//! From `daypass connect` to the first row, split into its steps.

use std::time::{Duration, Instant};

use crate::bench::Measurement;
use crate::bounded;
use crate::failure::Failure;
use crate::stage::{self, Scene, Stage};
use crate::workspace::Workspace;

/// Standing access: nobody has to approve.
const TARGET: &str = "billing-staging";
const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_secs(60);
const FIRST_ROW: &str = "SELECT id FROM orders ORDER BY id LIMIT 1";
/// The sandbox paces its agent as the real one is paced.
const SCENE: Scene = Scene { sandbox: &[] };

/// A person notices more than this, in milliseconds.
const FIRST_ROW_GOAL: f64 = 1_000.0;

/// Seven rounds of opening, one query and closing; the medians.
pub(crate) fn run(workspace: &Workspace) -> Result<Vec<Measurement>, Failure> {
    workspace.build_optimised_programs()?;
    stage::play(&workspace.optimised_programs(), &SCENE, measure)
}

#[derive(Default)]
struct Samples {
    /// By step name, in the order the steps happen.
    steps: Vec<(String, Vec<f64>)>,
    open: Vec<f64>,
    first_row: Vec<f64>,
    warm_row: Vec<f64>,
}

fn measure(stage: &mut Stage) -> Result<Vec<Measurement>, Failure> {
    stage.start_agent()?;
    stage.sign_in("ana")?;
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        round(stage, &mut samples)?;
    }
    stage.quit_agent()?;
    Ok(samples.into_measurements())
}

fn round(stage: &Stage, samples: &mut Samples) -> Result<(), Failure> {
    let began = Instant::now();
    bounded::read(&mut stage.daypass(&["connect", TARGET]), LIMIT)?;
    samples.open.push(milliseconds(began));
    query(stage)?;
    samples.first_row.push(milliseconds(began));
    let warm = Instant::now();
    query(stage)?;
    samples.warm_row.push(milliseconds(warm));
    for done in stage.target(TARGET)?["gateway"]["done"].as_array().into_iter().flatten() {
        let (step, took) = (done["step"].as_str().unwrap_or("?"), done["milliseconds"].as_f64().unwrap_or(0.0));
        match samples.steps.iter_mut().find(|(name, _)| name == step) {
            Some((_, all)) => all.push(took),
            None => samples.steps.push((step.to_owned(), vec![took])),
        }
    }
    stage.tell(&["disconnect", TARGET]).map(drop)
}

/// psql by itself, through the gateway that is open.
fn query(stage: &Stage) -> Result<(), Failure> {
    let url = stage.tell(&["url", TARGET])?;
    let mut psql = stage.client("psql");
    psql.args(["-X", "-A", "-t", "-c", FIRST_ROW, url.trim()]);
    let rows = bounded::read(&mut psql, LIMIT)?;
    if rows.trim().parse::<u64>().is_ok() { Ok(()) } else { Err(Failure::untrue("one row", rows)) }
}

impl Samples {
    fn into_measurements(self) -> Vec<Measurement> {
        let plain = |name: String, samples: Vec<f64>| Measurement {
            name,
            value: median(samples),
            unit: "ms".to_owned(),
            baseline: None,
            goal: None,
            goal_met: None,
        };
        let first_row = median(self.first_row);
        let goal = Measurement {
            baseline: Some(median(self.warm_row)),
            goal: Some(FIRST_ROW_GOAL),
            goal_met: Some(first_row <= FIRST_ROW_GOAL),
            ..plain("connect: first row (floor: through an open gateway)".to_owned(), vec![first_row])
        };
        let steps = self.steps.into_iter().map(|(step, samples)| plain(format!("connect: {step}"), samples));
        steps.chain([plain("connect: open".to_owned(), self.open), goal]).collect()
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_whatever_the_order() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < f64::EPSILON);
    }
}
