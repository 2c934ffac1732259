//! Loops and branches of compiled programs.

use std::sync::{Arc, OnceLock};

use super::Program;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ops::truth;
use crate::value::Value;

/// A function that is compiled, or being compiled: functions may call themselves.
pub(crate) type Cell = Arc<OnceLock<Program>>;

/// The program of a function.
pub(crate) fn program(cell: &Cell) -> Result<&Program> {
    cell.get()
        .ok_or_else(|| Error::graph("a function was called before it was compiled"))
}

/// A loop of either version of TensorFlow: condition and body take the variables of the loop and what does not change.
pub(crate) struct Loop {
    pub(crate) condition: Cell,
    pub(crate) body: Cell,
    /// How many of the operands are variables of the loop; the rest does not change.
    pub(crate) variables: usize,
}

impl Loop {
    /// The values of the variables after the last iteration.
    pub(crate) fn run(&self, mut values: Vec<Value>, context: &Context<'_>) -> Result<Vec<Value>> {
        let context = context.deeper()?;
        let fixed = values.split_off(self.variables.min(values.len()));
        let with_fixed = |values: &[Value]| values.iter().chain(&fixed).cloned().collect::<Vec<_>>();
        let mut iterations = 0;
        loop {
            let goes_on = program(&self.condition)?.run(with_fixed(&values), &context)?;
            match goes_on.first() {
                Some(value) if truth(value)? => {}
                Some(_) => return Ok(values),
                None => return Err(Error::graph("a loop has no condition")),
            }
            iterations += 1;
            context.limits.check_iterations(iterations)?;
            let mut args = values;
            args.extend(fixed.iter().cloned());
            values = program(&self.body)?.run(args, &context)?;
        }
    }
}

/// A choice among functions by number.
pub(crate) struct Case {
    pub(crate) branches: Vec<Cell>,
}

impl Case {
    /// What the branch returns; the last one is taken for numbers that there is no branch of.
    pub(crate) fn run(&self, branch: i64, args: Vec<Value>, context: &Context<'_>) -> Result<Vec<Value>> {
        let last = self.branches.len().saturating_sub(1);
        let branch = usize::try_from(branch).ok().filter(|branch| *branch <= last);
        let cell = self.branches.get(branch.unwrap_or(last));
        let cell = cell.ok_or_else(|| Error::graph("there are no branches"))?;
        program(cell)?.run(args, &context.deeper()?)
    }
}
