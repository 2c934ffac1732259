//! A compiled program: steps with numbered places, ready to run.

use std::sync::Arc;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::ops::{Args, Kernel, Point};
use crate::value::Value;

/// Where a step finds an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operand {
    /// Computed by an earlier step, or an argument of the program.
    Slot(usize),
    /// Known before the first step.
    Constant(usize),
}

/// One operation.
pub(crate) struct Step {
    pub(crate) node: Arc<str>,
    pub(crate) op: Arc<str>,
    pub(crate) kernel: Arc<Kernel>,
    /// What it does to each element, if it does nothing else.
    pub(crate) point: Option<Point>,
    pub(crate) operands: Vec<Operand>,
    /// Which operands nobody needs afterwards: they are freed, or changed in place.
    pub(crate) last: Vec<bool>,
    /// Values that decide whether the step is on the side of a branch that is taken.
    pub(crate) guards: Vec<Operand>,
    /// Where the outputs go; `None` for those that nobody needs.
    pub(crate) outputs: Vec<Option<usize>>,
    /// Whether it works with operands of a side that was not taken.
    pub(crate) merges: bool,
    /// Whether operands that are variables are passed as such, rather than read.
    pub(crate) refs: bool,
    /// Slots of guards that nobody needs afterwards.
    pub(crate) frees: Vec<usize>,
}

/// Steps in an order in which they can be run.
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    pub(crate) slots: usize,
    pub(crate) constants: Vec<Value>,
    /// How many arguments it takes; they lie in the first slots.
    pub(crate) params: usize,
    pub(crate) fetches: Vec<Operand>,
    /// Whether it changes variables.
    pub(crate) writes: bool,
    /// Whether it looks anything up in tables, which are then filled before.
    pub(crate) uses_tables: bool,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ops = self.steps.iter().map(|step| format!("{} {}", step.op, step.node));
        f.debug_struct("Program")
            .field("steps", &ops.collect::<Vec<_>>())
            .field("constants", &self.constants.len())
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Runs it. Intermediates are freed as soon as the last step that needs them is done.
    pub(crate) fn run(&self, args: Vec<Value>, context: &Context<'_>) -> Result<Vec<Value>> {
        if args.len() != self.params {
            return Err(Error::graph(format!(
                "{} values were passed to a function of {}",
                args.len(),
                self.params
            )));
        }
        let mut slots = args;
        slots.resize(self.slots, Value::Done);
        for step in &self.steps {
            self.step(step, &mut slots, context)
                .map_err(|error| error.at(&step.node, &step.op))?;
        }
        let fetch = |operand: &Operand| {
            let value = self.peek(*operand, &slots).cloned().unwrap_or(Value::Done);
            read(value, context)
        };
        self.fetches.iter().map(fetch).collect()
    }

    fn step(&self, step: &Step, slots: &mut [Value], context: &Context<'_>) -> Result<()> {
        let dead = |operand: &Operand| matches!(self.peek(*operand, slots), Some(Value::Dead));
        let is_dead = match step.merges {
            true => step.operands.iter().all(dead),
            false => step.operands.iter().any(dead) || step.guards.iter().any(dead),
        };
        let mut operands = Vec::with_capacity(step.operands.len());
        for (operand, &last) in step.operands.iter().zip(&step.last) {
            let value = match *operand {
                Operand::Slot(slot) if last => slots.get_mut(slot).map(|slot| std::mem::replace(slot, Value::Done)),
                operand => self.peek(operand, slots).cloned(),
            };
            operands.push(value.unwrap_or(Value::Done));
        }
        for &slot in &step.frees {
            if let Some(slot) = slots.get_mut(slot) {
                *slot = Value::Done;
            }
        }
        if is_dead {
            for slot in step.outputs.iter().flatten() {
                if let Some(slot) = slots.get_mut(*slot) {
                    *slot = Value::Dead;
                }
            }
            return Ok(());
        }
        if !step.refs {
            for operand in &mut operands {
                if let Value::Variable(variable) = operand {
                    *operand = context.variables.read(*variable, context)?;
                }
            }
        }
        let outputs = (step.kernel)(&mut Args::new(operands), context)?;
        let count = outputs.len();
        let mut outputs = outputs.into_iter();
        for (output, slot) in step.outputs.iter().enumerate() {
            let value = outputs.next();
            if let Some(slot) = slot {
                let missing = || Error::graph(format!("output {output} is used of {count}"));
                let value = value.ok_or_else(missing)?;
                if let Some(slot) = slots.get_mut(*slot) {
                    *slot = value;
                }
            }
        }
        Ok(())
    }

    fn peek<'v>(&'v self, operand: Operand, slots: &'v [Value]) -> Option<&'v Value> {
        match operand {
            Operand::Slot(slot) => slots.get(slot),
            Operand::Constant(constant) => self.constants.get(constant),
        }
    }
}

/// The value of what may be a variable.
fn read(value: Value, context: &Context<'_>) -> Result<Value> {
    match value {
        Value::Variable(variable) => context.variables.read(variable, context),
        value => Ok(value),
    }
}
