//! What was measured, its goal, and whether it is met: a table for people, JSON for machines.

use std::path::Path;

use serde::Serialize;

/// Which way is good.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
}

/// One measurement.
#[derive(Serialize)]
pub(crate) struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// `None`: reported, without a goal.
    goal: Option<f64>,
    better: Better,
    met: bool,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// Adds a measurement and prints it at once.
    pub(crate) fn add(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        goal: Option<f64>,
        detail: String,
    ) {
        let met = goal.is_none_or(|goal| value <= goal);
        let goal_text = goal.map_or_else(|| "-".into(), |goal| format!("<= {goal}"));
        let verdict = if goal.is_none() {
            "    "
        } else if met {
            "met "
        } else {
            "MISS"
        };
        println!("{verdict}  {name:<58} {value:>10.2} {unit:<9} {goal_text:>9}   {detail}");
        self.0.push(Row {
            name: name.into(),
            value,
            unit,
            goal,
            better: Better::Less,
            met,
        });
    }

    /// Writes `summary.json`.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(&self.0)?)
    }

    /// How many goals are missed.
    pub(crate) fn missed(&self) -> usize {
        self.0.iter().filter(|row| !row.met).count()
    }
}

/// The value below which `share` of the samples lie.
pub(crate) fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    samples
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}
