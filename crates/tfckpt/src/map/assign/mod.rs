//! Filling a part of a model from a checkpoint of another one, for fine-tuning.
//!
//! ```text
//! AssignmentMap or WarmStart + ModelVariables + index of the checkpoint
//!     --> which tensor fills which variable (Wish) --> a Plan, or one error with every problem in it
//! ```

mod pairs;
#[cfg(feature = "regex")]
mod pattern;
#[cfg(feature = "regex")]
mod warm_start;
mod wish;

pub use pairs::AssignmentMap;
#[cfg(feature = "regex")]
pub use warm_start::WarmStart;

use super::plan::{Plan, Target};
use crate::bundle::Bundle;
use crate::error::Result;
use crate::suggest::nearest;

/// A variable of a model that a checkpoint may fill.
#[derive(Debug, Clone)]
pub struct ModelVariable {
    /// What it takes. Its names are those that TensorFlow would give it; entries of a map refer to it by any of them, or
    /// by its path.
    pub target: Target,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a variable is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// An optimizer trains it: TensorFlow's `TRAINABLE_VARIABLES`.
    Trained,
    /// It is gathered or counted: moving averages.
    Untrained,
    /// The state of a training: slots and counters of optimizers, a learning rate.
    Optimizer,
}

/// What says which variables of a model are filled from a checkpoint, and with which of its tensors.
///
/// # Contract
/// [`plan`](Self::plan) looks at the index of the checkpoint alone, and changes nothing. A step's
/// [`target`](super::Step::target) is the number of the variable in `variables`.
pub trait Assign {
    /// Decides everything, before any tensor is read.
    ///
    /// # Errors
    /// [`Error::Assignment`](crate::Error::Assignment) with all that is wrong; [`Error::CorruptEntry`](crate::Error::CorruptEntry)
    /// and [`Error::ObjectGraph`](crate::Error::ObjectGraph) if names of the checkpoint cannot be looked up.
    fn plan(&self, checkpoint: &Bundle, variables: &[ModelVariable]) -> Result<Plan>;
}

impl ModelVariable {
    /// Whether an entry of a map calls it so.
    fn is_called(&self, name: &str) -> bool {
        self.target.names.iter().any(|own| own == name) || self.target.path == name
    }
}

/// The variables that people may have meant by `name`.
fn near(name: &str, variables: &[ModelVariable]) -> Vec<String> {
    let names = variables.iter().filter_map(|variable| variable.target.names.first());
    nearest(name, names.map(String::as_str), 3)
}
