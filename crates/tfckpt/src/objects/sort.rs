//! What each variable is to an object layout: the model's, the optimizer's, or nobody's in Python.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::ObjectLayout;
use super::optimizer::{OptimizerState, Slots};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::optimizers::{Convention, Counter, OptimizerKind, Slot, told_by};
use crate::tensor::{Payload, Variable};

/// The name of the step counter, as everywhere.
const GLOBAL_STEP: &str = "global_step";

/// The variables of a checkpoint by what they are.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    pub(super) model: Vec<(String, Variable<'a>)>,
    pub(super) placed: Vec<(String, Variable<'a>)>,
    pub(super) optimizer: Option<OptimizerState<'a>>,
    pub(super) outside: Vec<Variable<'a>>,
}

/// Variables of an optimizer, before it is known which optimizer it is.
#[derive(Default)]
struct Found<'a> {
    /// The variable that a slot is of, and which slot, or the last component of the name.
    slots: Vec<(String, Which, Variable<'a>)>,
    counters: Vec<(Counter, Variable<'a>)>,
    step: Option<i64>,
}

#[derive(Clone)]
enum Which {
    Slot(Slot),
    Word(String),
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
        let (slots, counters) = self.given_names(&names);
        let words = told_words();
        let mut sorted = Sorted::default();
        let mut found = Found::default();
        for variable in variables {
            let name = utf8(&variable)?;
            let (scope, leaf) = name.rsplit_once('/').unwrap_or(("", &name));
            let is_below = |name: &str| ancestors(name).any(|scope| names.contains(scope));
            let of_variable = is_below(&name);
            if name == GLOBAL_STEP {
                found.step = int64(&variable);
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
            } else if let Some((of, slot)) = slots.get(&name) {
                match is_below(of) {
                    // The slot of a part of a variable, such as one of two biases: Python has neither.
                    true => sorted.outside.push(variable),
                    false => found.slots.push((of.clone(), Which::Slot(*slot), variable)),
                }
            } else if let Some(counter) = counters.get(&name) {
                found.counters.push((*counter, variable));
            } else if names.contains(scope) && words.contains(leaf) && !is_below(scope) {
                found
                    .slots
                    .push((scope.to_owned(), Which::Word(leaf.to_owned()), variable));
            } else if of_variable {
                sorted.outside.push(variable);
            } else if let Some(counter) = counter(leaf).filter(|_| !self.model.has_layer(scope)) {
                found.counters.push((counter, variable));
            } else {
                sorted.model.push((name, variable));
            }
        }
        self.optimizer_of(found, &mut sorted)?;
        Ok(sorted)
    }

    /// The names that the variables of the optimizer are said to have.
    fn given_names(&self, names: &HashSet<String>) -> (HashMap<String, (String, Slot)>, HashMap<String, Counter>) {
        let Some(given) = &self.names else {
            return Default::default();
        };
        let mut slots = HashMap::new();
        for (variable, slot) in names
            .iter()
            .flat_map(|name| given.slots().iter().map(move |slot| (name, *slot)))
        {
            for name in given.slot(variable, slot) {
                slots.insert(name, (variable.clone(), slot));
            }
        }
        let counters = given.counters().into_iter();
        let named = counters.flat_map(|counter| given.counter(counter).into_iter().map(move |name| (name, counter)));
        (slots, named.collect())
    }

    fn optimizer_of<'a>(&self, found: Found<'a>, sorted: &mut Sorted<'a>) -> Result<()> {
        let has_state = !found.slots.is_empty() || !self.hyperparameters.is_empty() || self.names.is_some();
        let Some(convention) = self.optimizer.filter(|_| has_state) else {
            sorted
                .outside
                .extend(found.counters.into_iter().map(|(_, variable)| variable));
            sorted
                .outside
                .extend(found.slots.into_iter().map(|(_, _, variable)| variable));
            return Ok(());
        };
        let (kind, slots) = self.told(&found)?;
        if kind == OptimizerKind::Sgd {
            self.check_momentum(convention, &found)?;
        }
        let mut state = OptimizerState {
            kind,
            convention,
            slots: BTreeMap::new(),
            counters: BTreeMap::new(),
            hyperparameters: self.hyperparameters.clone(),
            iterations: self.iterations.or(found.step),
        };
        for ((of, _, variable), slot) in found.slots.into_iter().zip(slots) {
            let known: &mut Slots<'_> = state.slots.entry(of).or_default();
            let name = variable.name().into_owned();
            if known.insert(slot, variable).is_some() {
                return Err(Error::DuplicateName { name });
            }
        }
        for (counter, variable) in found.counters {
            // Another one is that of another optimizer.
            if let Some(other) = state.counters.insert(counter, variable) {
                sorted.outside.push(other);
            }
        }
        sorted.outside.extend(state.split_off_foreign_counters());
        sorted.optimizer = Some(state);
        Ok(())
    }

    /// The optimizer, and which slot each is that was found.
    fn told(&self, found: &Found<'_>) -> Result<(OptimizerKind, Vec<Slot>)> {
        let words: BTreeSet<&str> = found.slots.iter().filter_map(|(_, which, _)| which.word()).collect();
        let told = told_by(&words).filter(|_| !words.is_empty());
        let kind = match (&self.names, &told) {
            (Some(names), _) => names.kind(),
            (None, Some((kind, _))) => *kind,
            (None, None) => OptimizerKind::Sgd,
        };
        let slot = |(_, which, variable): &(String, Which, Variable<'_>)| match (which, &told) {
            (Which::Slot(slot), _) => Ok(*slot),
            (Which::Word(word), Some((told, slots))) if *told == kind => slots
                .get(word.as_str())
                .copied()
                .ok_or_else(|| unknown(&variable.name(), &words)),
            (Which::Word(_), _) => Err(unknown(&variable.name(), &words)),
        };
        let slots = found.slots.iter().map(slot).collect::<Result<_>>()?;
        Ok((kind, slots))
    }

    /// The momentum of V1 is a sum of gradients, that of Keras a step: the one for the other would train backwards.
    fn check_momentum(&self, convention: Convention, found: &Found<'_>) -> Result<()> {
        let given = self.names.as_ref().map(|names| names.convention() == Convention::V1);
        let of_v1 = |which: &Which| given.unwrap_or(convention == Convention::V1 || which.word() == Some("Momentum"));
        let wrong = |(_, which, _): &&(String, Which, Variable<'_>)| of_v1(which) != (convention == Convention::V1);
        let Some((_, _, variable)) = found.slots.iter().find(wrong) else {
            return Ok(());
        };
        let (have, want) = match convention {
            Convention::V1 => (
                "a step, as Keras has it",
                "a sum of gradients, as `tf.compat.v1.train` has it",
            ),
            _ => (
                "a sum of gradients, as `tf.compat.v1.train` has it",
                "a step, as Keras has it",
            ),
        };
        let name = variable.name();
        Err(Error::invalid(format!(
            "the momentum `{name}` is {have}, and this layout is for {want}: train with the optimizer of that convention"
        )))
    }
}

impl Which {
    fn word(&self) -> Option<&str> {
        match self {
            Which::Slot(_) => None,
            Which::Word(word) => Some(word),
        }
    }
}

fn unknown(name: &str, words: &BTreeSet<&str>) -> Error {
    let words = words.iter().copied().collect::<Vec<_>>().join("`, `");
    Error::invalid(format!(
        "`{name}` is no slot of an optimizer that has the slots `{words}`: say which it is by `ObjectLayout::optimizer_names`"
    ))
}

/// All last components of names that may be slots.
fn told_words() -> HashSet<&'static str> {
    const WORDS: [&str; 36] = [
        "Adam",
        "Adam_1",
        "Adam_2",
        "AdamW",
        "AdamW_1",
        "Momentum",
        "RMSProp",
        "RMSProp_1",
        "RMSProp_2",
        "Adagrad",
        "Adadelta",
        "Adadelta_1",
        "AdaMax",
        "AdaMax_1",
        "Lion",
        "Ftrl",
        "Ftrl_1",
        "m",
        "v",
        "u",
        "vhat",
        "momentum",
        "velocity",
        "velocity_hat",
        "rms",
        "mg",
        "average_gradient",
        "accumulator",
        "accum_grad",
        "accum_var",
        "accumulated_grad",
        "accumulated_delta_var",
        "accum",
        "accum_update",
        "linear",
        "norm",
    ];
    WORDS.into_iter().collect()
}

/// The number of an optimizer that is called so in some scope.
fn counter(leaf: &str) -> Option<Counter> {
    Some(match leaf {
        "iterations" | "iteration" | "iter" => Counter::Iterations,
        "beta1_power" => Counter::Beta1Power,
        "beta2_power" => Counter::Beta2Power,
        _ => return None,
    })
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
