//! How well the training went so far.

use std::collections::BTreeMap;

use super::SCOPE;
use crate::bundle::Bundle;
use crate::error::Result;
use crate::tensor::Variable;

/// The lowest, the highest and the latest value of each metric of a run.
///
/// Values are recorded for a step while it is at work, and [settled](Self::settle) when it ends. NaN may be the latest
/// value, never the lowest or highest. Of equal values the earlier step counts.
///
/// # In the checkpoint
/// For each metric scalars that are not trainable, of which those are left out that nothing is known of:
///
/// ```text
/// tfckpt/metrics/val_loss/highest      float64   tfckpt/metrics/val_loss/highest_step  int64
/// tfckpt/metrics/val_loss/latest       float64   tfckpt/metrics/val_loss/latest_step   int64
/// tfckpt/metrics/val_loss/lowest       float64   tfckpt/metrics/val_loss/lowest_step   int64
/// ```
///
/// ```
/// use tfckpt::training::Metrics;
///
/// let mut metrics = Metrics::new();
/// for (step, loss) in [(10, 0.5), (20, 0.25), (30, f64::NAN), (40, 0.75)] {
///     metrics.record("val_loss", loss);
///     metrics.settle(step);
/// }
/// let best = metrics.lowest("val_loss").unwrap();
/// assert_eq!((best.value, best.global_step), (0.25, 20));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    all: BTreeMap<String, Extremes>,
    /// Of the step that is at work.
    unsettled: BTreeMap<String, f64>,
}

/// A value, and when it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Reading {
    /// The value.
    pub value: f64,
    /// The number of steps that the model had taken.
    pub global_step: i64,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Extremes {
    lowest: Option<Reading>,
    highest: Option<Reading>,
    latest: Option<Reading>,
}

impl Metrics {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records the value of a metric for the step that is at work. The last of several counts.
    pub fn record(&mut self, name: impl Into<String>, value: f64) {
        self.unsettled.insert(name.into(), value);
    }

    /// The step has come to its end: what was recorded is of `global_step`.
    pub fn settle(&mut self, global_step: i64) {
        while let Some((name, value)) = self.unsettled.pop_first() {
            self.all.entry(name).or_default().add(Reading { value, global_step });
        }
    }

    /// The smallest value so far.
    pub fn lowest(&self, name: &str) -> Option<Reading> {
        self.all.get(name)?.lowest
    }

    /// The greatest value so far.
    pub fn highest(&self, name: &str) -> Option<Reading> {
        self.all.get(name)?.highest
    }

    /// The last value.
    pub fn latest(&self, name: &str) -> Option<Reading> {
        self.all.get(name)?.latest
    }

    /// The metrics that were measured at this very step, by name.
    pub fn of_step(&self, global_step: i64) -> impl Iterator<Item = (&str, f64)> {
        self.all.iter().filter_map(move |(name, extremes)| {
            let latest = extremes.latest.filter(|latest| latest.global_step == global_step)?;
            Some((name.as_str(), latest.value))
        })
    }

    /// All settled values, to be saved.
    pub fn variables(&self) -> Vec<Variable<'static>> {
        let mut variables = Vec::new();
        for (name, extremes) in &self.all {
            for (what, reading) in extremes.named() {
                let Some(Reading { value, global_step }) = reading else {
                    continue;
                };
                let name = format!("{SCOPE}/{METRICS}/{name}/{what}");
                variables.push(Variable::scalar(format!("{name}{STEP}"), global_step).non_trainable());
                variables.push(Variable::scalar(name, value).non_trainable());
            }
        }
        variables
    }

    /// The metrics that a checkpoint holds; none if it was saved without.
    ///
    /// # Errors
    /// Those of [`Bundle::read`].
    pub fn read(checkpoint: &Bundle) -> Result<Metrics> {
        let scope = format!("{SCOPE}/{METRICS}/");
        let mut metrics = Metrics::new();
        for variable in checkpoint.variables() {
            let name = variable.name();
            let Some((metric, what)) = name.strip_prefix(&scope).and_then(|rest| rest.rsplit_once('/')) else {
                continue;
            };
            let step = format!("{name}{STEP}");
            if !checkpoint.contains(&step) {
                continue;
            }
            let value = checkpoint.read::<f64>(variable.key())?;
            let global_step = checkpoint.read::<i64>(&step)?;
            if let ([value], [global_step]) = (value.as_slice(), global_step.as_slice()) {
                let (value, global_step) = (*value, *global_step);
                let extremes = metrics.all.entry(metric.to_owned()).or_default();
                extremes.set(what, Reading { value, global_step });
            }
        }
        Ok(metrics)
    }
}

const METRICS: &str = "metrics";
const STEP: &str = "_step";

impl Extremes {
    fn add(&mut self, reading: Reading) {
        if self
            .lowest
            .map_or(!reading.value.is_nan(), |lowest| reading.value < lowest.value)
        {
            self.lowest = Some(reading);
        }
        if self
            .highest
            .map_or(!reading.value.is_nan(), |highest| reading.value > highest.value)
        {
            self.highest = Some(reading);
        }
        self.latest = Some(reading);
    }

    fn named(&self) -> [(&'static str, Option<Reading>); 3] {
        [
            ("lowest", self.lowest),
            ("highest", self.highest),
            ("latest", self.latest),
        ]
    }

    fn set(&mut self, what: &str, reading: Reading) {
        match what {
            "lowest" => self.lowest = Some(reading),
            "highest" => self.highest = Some(reading),
            "latest" => self.latest = Some(reading),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(values: &[f64]) -> Metrics {
        let mut metrics = Metrics::new();
        for (step, &value) in (1..).zip(values) {
            metrics.record("loss", value);
            metrics.settle(step);
        }
        metrics
    }

    #[test]
    fn nan_is_the_latest_but_never_the_best() {
        let metrics = after(&[f64::NAN, 2.0, f64::NAN, 1.0, 3.0, f64::NAN]);
        assert_eq!(metrics.lowest("loss").unwrap().global_step, 4);
        assert_eq!(metrics.highest("loss").unwrap().global_step, 5);
        assert!(metrics.latest("loss").unwrap().value.is_nan());
        let nothing = after(&[f64::NAN]);
        assert_eq!((nothing.lowest("loss"), nothing.highest("loss")), (None, None));
        assert_eq!(nothing.variables().len(), 2);
    }

    #[test]
    fn infinities_are_values_and_the_first_of_equals_counts() {
        let metrics = after(&[1.0, f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0]);
        assert_eq!(metrics.lowest("loss").unwrap().global_step, 2);
        assert_eq!(metrics.highest("loss").unwrap().global_step, 1);
    }

    #[test]
    fn what_is_recorded_counts_when_its_step_ends() {
        let mut metrics = Metrics::new();
        metrics.record("loss", 2.0);
        metrics.record("loss", 1.0);
        assert_eq!(metrics.latest("loss"), None);
        assert!(metrics.variables().is_empty());
        metrics.settle(9);
        assert_eq!(metrics.of_step(9).collect::<Vec<_>>(), [("loss", 1.0)]);
        assert_eq!(metrics.of_step(10).count(), 0);
    }
}
