//! What each variable is to an object layout: the model's, the optimizer's, or nobody's in Python.

use std::collections::HashSet;

use super::ObjectLayout;
use super::optimizer::{Moments, ObjectOptimizer, OptimizerState, slot_name};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::{Payload, Variable};

/// The name of the step counter, as everywhere.
const GLOBAL_STEP: &str = "global_step";

/// The variables of a checkpoint by what they are.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    pub(super) model: Vec<(String, Variable<'a>)>,
    pub(super) placed: Vec<(String, Variable<'a>)>,
    pub(super) optimizer: Option<(ObjectOptimizer, OptimizerState<'a>)>,
    pub(super) outside: Vec<Variable<'a>>,
}

impl ObjectLayout {
    /// Says of each variable what it is.
    pub(super) fn sort<'a>(&self, variables: Vec<Variable<'a>>) -> Result<Sorted<'a>> {
        let mut names = HashSet::new();
        for variable in &variables {
            let name = utf8(variable)?;
            if names.contains(&name) {
                return Err(Error::DuplicateName { name });
            }
            names.insert(name);
        }
        let mut sorted = Sorted::default();
        let mut state = OptimizerState {
            hyperparameters: self.hyperparameters.clone(),
            ..OptimizerState::default()
        };
        let mut step = None;
        for variable in variables {
            let name = utf8(&variable)?;
            let (scope, leaf) = name.rsplit_once('/').unwrap_or(("", &name));
            let of_variable = ancestors(&name).any(|scope| names.contains(scope));
            if name == GLOBAL_STEP {
                step = int64(&variable);
            }
            if let Some(path) = self.places.get(&name) {
                sorted.placed.push((path.clone(), variable));
            } else if name == GLOBAL_STEP {
                match &self.step {
                    Some(path) => sorted.placed.push((path.clone(), variable)),
                    None => sorted.outside.push(variable),
                }
            } else if self.outside.iter().any(|prefix| name.starts_with(prefix.as_str())) {
                sorted.outside.push(variable);
            } else if let Some(slot) = slot_name(leaf).filter(|_| names.contains(scope)) {
                let moments: &mut Moments<'_> = state.slots.entry(scope.to_owned()).or_default();
                if moments.insert(slot, variable).is_some() {
                    return Err(Error::DuplicateName { name });
                }
            } else if of_variable {
                sorted.outside.push(variable);
            } else if matches!(leaf, "iterations" | "beta1_power" | "beta2_power") && !self.model.has_layer(scope) {
                state.counters.push((leaf.to_owned(), variable));
            } else {
                sorted.model.push((name, variable));
            }
        }
        state.iterations = self.iterations.or(step);
        match self.optimizer {
            Some(kind) if !state.slots.is_empty() || !self.hyperparameters.is_empty() => {
                let (counters, outside) = kind.own_counters(std::mem::take(&mut state.counters));
                state.counters = counters;
                sorted.outside.extend(outside);
                sorted.optimizer = Some((kind, state));
            }
            _ => {
                sorted
                    .outside
                    .extend(state.counters.into_iter().map(|(_, variable)| variable));
                let slots = state.slots.into_values().flat_map(Moments::into_values);
                sorted.outside.extend(slots);
            }
        }
        Ok(sorted)
    }
}

pub(super) fn utf8(variable: &Variable<'_>) -> Result<String> {
    String::from_utf8(variable.key().to_vec()).map_err(|_| {
        let name = variable.name();
        Error::invalid(format!("`{name}` is not UTF-8, as names in an object graph must be"))
    })
}

/// The scopes that a name is in, the innermost first.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(name.rsplit_once('/'), |(scope, _)| scope.rsplit_once('/')).map(|(scope, _)| scope)
}

/// The value of an integer that is in memory.
fn int64(variable: &Variable<'_>) -> Option<i64> {
    let Payload::Bytes(bytes) = &variable.payload else {
        return None;
    };
    let bytes: [u8; 8] = bytes.as_ref().try_into().ok()?;
    (variable.dtype() == DType::Int64).then_some(i64::from_le_bytes(bytes))
}
