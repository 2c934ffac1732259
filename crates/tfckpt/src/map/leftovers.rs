//! What variables that no parameter asked for are there for.

use std::collections::BTreeSet;
use std::fmt;

use super::report::LoadReport;

/// The variables of a checkpoint that no parameter asked for, by what they are there for: what a training leaves beside a
/// network, and the rest, which may be a part of the network that the model does not have.
///
/// ```
/// # use tfckpt::map::{LoadReport, Plan, Target};
/// # use tfckpt::{Checkpoint, Saver, Variable};
/// # fn main() -> tfckpt::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let values = [0f32; 2];
/// # let names = ["a/kernel", "a/kernel/Adam", "a/kernel/Adam_1", "beta1_power", "head/kernel"];
/// # Saver::new(folder.path()).save(names.map(|name| Variable::new(name, [2], &values)), 1)?;
/// # let checkpoint = Checkpoint::open(folder.path())?;
/// # let report = Plan::partial(&checkpoint, &[]).into_report();
/// let leftovers = report.leftovers();
/// assert_eq!(leftovers.slots, ["a/kernel/Adam", "a/kernel/Adam_1"]);
/// assert_eq!(leftovers.counters, ["beta1_power", "global_step"]);
/// assert_eq!(leftovers.others, ["a/kernel", "head/kernel"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Leftovers<'r> {
    /// What an optimizer keeps of a variable: `v/Adam`, `v/adam_m`, `v_slot_vr`.
    pub slots: Vec<&'r str>,
    /// Moving averages of variables: `v/ExponentialMovingAverage`.
    pub averages: Vec<&'r str>,
    /// What a training counts: `global_step`, `beta1_power`.
    pub counters: Vec<&'r str>,
    /// Everything else.
    pub others: Vec<&'r str>,
}

/// The slots of TensorFlow's optimizers, and of those that Google's networks were trained with.
const SLOTS: [&str; 18] = [
    "Adadelta",
    "Adadelta_1",
    "Adagrad",
    "Adam",
    "Adam_1",
    "AdaMax",
    "AdaMax_1",
    "Ftrl",
    "Ftrl_1",
    "Momentum",
    "RMSProp",
    "RMSProp_1",
    "RMSProp_2",
    "adam_m",
    "adam_v",
    "LAMB",
    "LAMB_1",
    "LARSOptimizer",
];

/// Those of Adafactor in Mesh TensorFlow, at the end of a name.
const FACTORED: [&str; 4] = ["_slot_v", "_slot_vr", "_slot_vc", "_slot_m"];

const AVERAGE: &str = "ExponentialMovingAverage";

const COUNTERS: [&str; 7] = [
    "global_step",
    "iterations",
    "iter",
    "learning_rate",
    "beta1_power",
    "beta2_power",
    "save_counter",
];

impl LoadReport {
    /// The [`unused`](Self::unused) variables by what they are there for. A slot or an average is one only beside the
    /// variable that it is of.
    pub fn leftovers(&self) -> Leftovers<'_> {
        let of_report = self.loaded.iter().map(|loaded| &loaded.name);
        let of_report = of_report.chain(self.mismatched.iter().map(|wrong| &wrong.name));
        let names: BTreeSet<&str> = of_report.chain(&self.unused).map(String::as_str).collect();
        let mut leftovers = Leftovers::default();
        for name in self.unused.iter().map(String::as_str) {
            leftovers.list_of(name, &names).push(name);
        }
        leftovers
    }
}

impl<'r> Leftovers<'r> {
    /// All of them, those first that may be a part of the network.
    pub(super) fn in_order(&self) -> Vec<&'r str> {
        [&self.others, &self.counters, &self.averages, &self.slots]
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    fn list_of(&mut self, name: &str, names: &BTreeSet<&str>) -> &mut Vec<&'r str> {
        let factored = FACTORED.iter().find_map(|slot| name.strip_suffix(slot));
        let (owner, last) = name.rsplit_once('/').unwrap_or(("", name));
        let is_beside = names.contains(owner);
        match last {
            AVERAGE if is_beside => &mut self.averages,
            _ if is_beside && SLOTS.contains(&last) => &mut self.slots,
            _ if factored.is_some_and(|owner| names.contains(owner)) => &mut self.slots,
            _ if COUNTERS.contains(&last) => &mut self.counters,
            _ => &mut self.others,
        }
    }
}

/// Lines that are printed of a list before the rest is only counted.
const LINES: usize = 20;

/// How many of each, and the names of the others.
impl fmt::Display for Leftovers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "left in the checkpoint: slots of an optimizer {}, moving averages {}, counters {}, others {}",
            self.slots.len(),
            self.averages.len(),
            self.counters.len(),
            self.others.len()
        )?;
        for name in self.others.iter().take(LINES) {
            write!(f, "\n  `{name}`")?;
        }
        match self.others.len().saturating_sub(LINES) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_apart() {
        let unused = [
            "bert/pooler/dense/kernel",
            "bert/pooler/dense/kernel/adam_m",
            "model/Adam",
            "enc/q",
            "enc/q_slot_vr",
            "enc/scale_slot_v",
            "v",
            "v/ExponentialMovingAverage",
            "w/ExponentialMovingAverage",
            "training/global_step",
        ];
        let report = LoadReport {
            unused: unused.map(str::to_owned).into(),
            ..LoadReport::default()
        };
        let left = report.leftovers();
        assert_eq!(left.slots, ["bert/pooler/dense/kernel/adam_m", "enc/q_slot_vr"]);
        assert_eq!(left.averages, ["v/ExponentialMovingAverage"]);
        assert_eq!(left.counters, ["training/global_step"]);
        // There is no variable `model`, `enc/scale` or `w` that they would be of.
        let others = [
            "bert/pooler/dense/kernel",
            "model/Adam",
            "enc/q",
            "enc/scale_slot_v",
            "v",
            "w/ExponentialMovingAverage",
        ];
        assert_eq!(left.others, others);
        let text = left.to_string();
        assert!(
            text.starts_with(
                "left in the checkpoint: slots of an optimizer 2, moving averages 1, counters 1, others 6\n  `bert/"
            ),
            "{text}"
        );
    }
}
