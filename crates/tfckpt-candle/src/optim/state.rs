//! What an optimizer must keep, as live variables.

use std::sync::Arc;

use candle_core::Var;
use tfckpt::optimizers::{self, Convention, OptimizerNames};

use super::Changes;

/// An optimizer whose state is saved and restored with the model.
///
/// # Contract
/// The variables that [`state`](Self::state) hands out are those that the optimizer works with, not copies: a
/// restore writes into them, so that nothing has to be given back to the optimizer, which the training loop holds.
/// Every number that the next step depends on and that is not a setting must be among them. The set does not change
/// while the optimizer lives.
///
/// ```
/// use candle_core::{Result, Var};
/// use tfckpt_candle::{CheckpointedOptimizer, OptimizerState};
///
/// struct Signed {
///     learning_rate: f64,
///     /// Path in the `VarMap`, variable, mean.
///     vars: Vec<(String, Var, Var)>,
/// }
///
/// impl CheckpointedOptimizer for Signed {
///     fn state(&self) -> OptimizerState {
///         let state = OptimizerState::default();
///         self.vars.iter().fold(state, |state, (path, _, mean)| state.slot(path, "Signed", mean))
///     }
/// }
/// ```
///
/// An optimizer that TensorFlow has, too, can go by TensorFlow's names, in any of its conventions:
///
/// ```
/// use candle_core::Var;
/// use tfckpt_candle::optimizers::{Convention, Counter, OptimizerKind, OptimizerNames, Slot};
/// use tfckpt_candle::{CheckpointedOptimizer, OptimizerState};
///
/// struct Momentum {
///     vars: Vec<(String, Var, Var)>,
///     steps: Var,
/// }
///
/// impl CheckpointedOptimizer for Momentum {
///     fn state(&self) -> OptimizerState {
///         // `dense/kernel/Momentum`
///         let names = OptimizerNames::new(OptimizerKind::Sgd, Convention::V1).with_slots([Slot::Momentum]);
///         let state = OptimizerState::of(names).number(Counter::Iterations, &self.steps);
///         self.vars.iter().fold(state, |state, (path, _, sum)| state.slot_of(path, Slot::Momentum, sum))
///     }
/// }
/// ```
pub trait CheckpointedOptimizer {
    /// Handles on all that has to be saved.
    fn state(&self) -> OptimizerState;
}

/// Handles on the state of an optimizer: slot variables, one or more for each variable that it trains, and counters.
#[derive(Debug, Clone, Default)]
pub struct OptimizerState {
    pub(crate) slots: Vec<Slot>,
    pub(crate) counters: Vec<Counter>,
    names: Option<Arc<OptimizerNames>>,
    changes: Option<Changes>,
}

#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The path of the variable that it belongs to.
    pub(crate) variable: String,
    name: SlotName,
    pub(crate) value: Var,
}

#[derive(Debug, Clone)]
enum SlotName {
    Own(String),
    Known(optimizers::Slot, Arc<OptimizerNames>),
}

impl Slot {
    /// The names of the slot of the variable of this name; the first is the one to write.
    pub(crate) fn names(&self, variable: &str) -> Vec<String> {
        match &self.name {
            SlotName::Own(name) => vec![format!("{variable}/{name}")],
            SlotName::Known(slot, names) => names.slot(variable, *slot),
        }
    }

    /// What the slot is called among those of a variable.
    pub(crate) fn name(&self) -> String {
        let last = |name: String| name.rsplit('/').next().map(str::to_owned);
        match &self.name {
            SlotName::Own(name) => name.clone(),
            SlotName::Known(slot, names) => {
                let found = names.slot("", *slot).pop().and_then(last);
                found.unwrap_or_else(|| format!("{slot:?}"))
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Counter {
    /// The first is the one to write.
    pub(crate) names: Vec<String>,
    pub(crate) value: Var,
    pub(crate) absent: Absent,
}

/// What is done if the checkpoint does not have a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It is missing.
    Missing,
    /// An int64 that is then taken from `global_step`.
    GlobalStep,
    /// It stays as it is.
    Kept,
}

impl Counter {
    /// The name to write.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

impl OptimizerState {
    /// The state of an optimizer that goes by these names, without any slots and numbers yet.
    pub fn of(names: OptimizerNames) -> Self {
        OptimizerState {
            names: Some(Arc::new(names)),
            ..OptimizerState::default()
        }
    }

    /// Adds a slot variable of the variable at `path` in the `VarMap`. In a checkpoint it is called
    /// `VARIABLE/NAME`, `dense/kernel/Adam`, and is laid out like its variable, whose shape it must have.
    #[must_use]
    pub fn slot(self, path: impl Into<String>, name: impl Into<String>, value: &Var) -> Self {
        self.with_slot(path.into(), SlotName::Own(name.into()), value)
    }

    /// Adds a slot variable of the variable at `path`, which is called as the [names](Self::of) have it; without names, or
    /// if they do not know such a slot, as the slot itself, `VARIABLE/FirstMoment`.
    #[must_use]
    pub fn slot_of(self, path: impl Into<String>, slot: optimizers::Slot, value: &Var) -> Self {
        let name = match &self.names {
            Some(names) if names.slots().contains(&slot) => SlotName::Known(slot, names.clone()),
            _ => SlotName::Own(format!("{slot:?}")),
        };
        self.with_slot(path.into(), name, value)
    }

    /// Adds a variable of the optimizer itself. Its name in a checkpoint is `name`.
    #[must_use]
    pub fn counter(self, name: impl Into<String>, value: &Var) -> Self {
        self.with_counter(vec![name.into()], value, Absent::Missing)
    }

    /// Adds a number of the optimizer itself, which is called as the [names](Self::of) have it. A learning rate that is not
    /// in a checkpoint stays as it is, and steps that V1 does not count are `global_step`. Names that do not know the
    /// number leave it out.
    #[must_use]
    pub fn number(self, counter: optimizers::Counter, value: &Var) -> Self {
        let Some(names) = self.names.clone() else {
            return self;
        };
        let absent = match (counter, names.convention()) {
            (optimizers::Counter::LearningRate, _) => Absent::Kept,
            (optimizers::Counter::Iterations, Convention::V1) => Absent::GlobalStep,
            _ => Absent::Missing,
        };
        match names.counter(counter) {
            names if names.is_empty() => self,
            names => self.with_counter(names, value, absent),
        }
    }

    /// Adds an int64 scalar that counts steps. Checkpoints that TensorFlow wrote do not have it; it is `global_step`
    /// then.
    #[must_use]
    pub fn steps(self, name: impl Into<String>, value: &Var) -> Self {
        self.with_counter(vec![name.into()], value, Absent::GlobalStep)
    }

    /// Says that the optimizer counts its changes. Default: it does not, and after a panic within a step nothing is saved.
    #[must_use]
    pub fn changes(mut self, changes: &Changes) -> Self {
        self.changes = Some(changes.clone());
        self
    }

    /// How many it has begun so far, if it counts them.
    pub(crate) fn change_count(&self) -> Option<u64> {
        self.changes.as_ref().map(Changes::count)
    }

    /// The names that it goes by.
    pub(crate) fn known_names(&self) -> Option<&OptimizerNames> {
        self.names.as_deref()
    }

    fn with_slot(mut self, variable: String, name: SlotName, value: &Var) -> Self {
        self.slots.push(Slot {
            variable,
            name,
            value: value.clone(),
        });
        self
    }

    fn with_counter(mut self, names: Vec<String>, value: &Var, absent: Absent) -> Self {
        self.counters.push(Counter {
            names,
            value: value.clone(),
            absent,
        });
        self
    }
}

/// Plain stochastic gradient descent keeps nothing.
impl CheckpointedOptimizer for candle_nn::SGD {
    fn state(&self) -> OptimizerState {
        OptimizerState::default()
    }
}
