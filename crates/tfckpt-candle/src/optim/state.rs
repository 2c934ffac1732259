//! What an optimizer must keep, as live variables.

use candle_core::Var;

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
/// struct Momentum {
///     learning_rate: f64,
///     /// Path in the `VarMap`, variable, velocity.
///     vars: Vec<(String, Var, Var)>,
/// }
///
/// impl CheckpointedOptimizer for Momentum {
///     fn state(&self) -> OptimizerState {
///         let slots = OptimizerState::default();
///         self.vars.iter().fold(slots, |state, (path, _, velocity)| state.slot(path, "Momentum", velocity))
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
    changes: Option<Changes>,
}

#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The path of the variable that it belongs to.
    pub(crate) variable: String,
    pub(crate) name: String,
    pub(crate) value: Var,
}

#[derive(Debug, Clone)]
pub(crate) struct Counter {
    pub(crate) name: String,
    pub(crate) value: Var,
    /// An int64 that is taken from `global_step` if the checkpoint does not have it.
    pub(crate) counts_steps: bool,
}

impl OptimizerState {
    /// Adds a slot variable of the variable at `path` in the `VarMap`. In a checkpoint it is called
    /// `VARIABLE/NAME`, `dense/kernel/Adam`, and is laid out like its variable, whose shape it must have.
    #[must_use]
    pub fn slot(mut self, path: impl Into<String>, name: impl Into<String>, value: &Var) -> Self {
        self.slots.push(Slot {
            variable: path.into(),
            name: name.into(),
            value: value.clone(),
        });
        self
    }

    /// Adds a variable of the optimizer itself. Its name in a checkpoint is `name`.
    #[must_use]
    pub fn counter(self, name: impl Into<String>, value: &Var) -> Self {
        self.with_counter(name.into(), value, false)
    }

    /// Adds an int64 scalar that counts steps. Checkpoints that TensorFlow wrote do not have it; it is `global_step`
    /// then.
    #[must_use]
    pub fn steps(self, name: impl Into<String>, value: &Var) -> Self {
        self.with_counter(name.into(), value, true)
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

    fn with_counter(mut self, name: String, value: &Var, counts_steps: bool) -> Self {
        self.counters.push(Counter {
            name,
            value: value.clone(),
            counts_steps,
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
