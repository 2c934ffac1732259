//! What an optimizer is like, which Burn does not tell: found out by letting it load and make steps on single numbers.

use std::collections::{BTreeMap, BTreeSet};

use burn::optim::ModuleOptimizer;
use burn::store::burn_pack::Scalar;
use burn::tensor::TensorData;
use tfckpt::optimizers::Slot;

use super::families::{FAMILIES, Family, Part};
use super::probe::{self, Probed};
use crate::carrier::{self, RANK, State, States};
use crate::error::Result;
use crate::schema::Schema;

/// What is known of the optimizer of a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Traits {
    pub(super) family: &'static Family,
    /// The fields that it has after a step.
    fields: BTreeSet<String>,
    /// A momentum is a plain sum of gradients, which fades, and the parameter changes in proportion to it.
    pub(super) sums_gradients: bool,
    /// The decay rates of the first and of the second moments.
    pub(super) betas: Option<(f32, f32)>,
}

/// What is known of the optimizers of a model, by the ids of its parameters. Optimizers of a kind that is not known are
/// not among them.
pub(crate) type AllTraits = BTreeMap<u64, Traits>;

impl Traits {
    /// Whether it has this field after a step.
    pub(super) fn keeps(&self, field: &str) -> bool {
        self.fields.contains(field)
    }
}

/// A gradient so small that it is never clipped, and a power of two, so that a product with it is exact.
const SMALL: f64 = 1.0 / 1_048_576.0;

/// Finds out what the optimizers of a model are like. Those of a kind that is not known never make a step here.
///
/// # Errors
/// Burn's records are not what they are thought to be.
pub(crate) fn find(optimizer: &ModuleOptimizer, schema: &Schema) -> Result<AllTraits> {
    let families = probed(optimizer, schema)?;
    let first = step(optimizer, &families, |_| None)?;
    // Gradient descent is told from nothing by its momentum: with 0 before a step it is the gradient after it, unless that
    // is dampened. Means begin with 1, get nothing more, and are the decay rates then.
    let of_means: Vec<(Probed, &'static Family)> = families
        .iter()
        .map(|(number, family)| {
            let gradient = if is_momentum(family) { SMALL } else { 0.0 };
            (
                Probed {
                    gradient,
                    ..number.clone()
                },
                *family,
            )
        })
        .collect();
    let before = |family: &Family| Some(if is_momentum(family) { 0.0 } else { 1.0 });
    let means = step(optimizer, &of_means, before)?;
    let traits = families.iter().zip(&means.numbers).map(|((number, family), after)| {
        let mean = |slots: &[Slot]| value(means.states.get(&number.id)?, family, slots);
        let is_rate = |beta: &f32| (0.0..1.0).contains(beta);
        let first_beta = mean(&[Slot::FirstMoment]).filter(is_rate);
        let second_beta = mean(&[Slot::SecondMoment, Slot::Norm]).filter(is_rate);
        #[expect(clippy::cast_possible_truncation, reason = "a power of two")]
        let small = SMALL as f32;
        let traits = Traits {
            family,
            fields: first.states.get(&number.id).map(State::fields).unwrap_or_default(),
            // Muon makes the change as large as 1.
            sums_gradients: mean(&[Slot::Momentum]) == Some(small) && after.value.abs() <= 2.0 * small,
            betas: first_beta.zip(second_beta),
        };
        (number.id, traits)
    });
    Ok(traits.collect())
}

/// Of each parameter whose optimizer is of a family that is known: a number in its stead, and the family.
fn probed(optimizer: &ModuleOptimizer, schema: &Schema) -> Result<Vec<(Probed, &'static Family)>> {
    let mut families = families_of(optimizer, schema)?;
    let numbers = schema.parameters.iter().filter_map(|parameter| {
        let id = parameter.id.val();
        // Once, however often the parameter is there.
        let family = families.remove(&id)?;
        let number = Probed {
            id,
            path: parameter.path.clone(),
            // Muon falls at anything but a matrix.
            rank: if is_momentum(family) { 2 } else { parameter.shape.len() },
            gradient: SMALL,
            value: 0.0,
        };
        Some((number, family))
    });
    Ok(numbers.collect())
}

/// The single element that a state has in one of these slots.
fn value(state: &State, family: &Family, slots: &[Slot]) -> Option<f32> {
    let is_wanted = |field: &str| matches!(family.part(field), Some(Part::Slot(slot)) if slots.contains(&slot));
    let (_, tensor) = state.tensors.iter().find(|(field, _)| is_wanted(field))?;
    tensor.iter::<f32>().next()
}

fn is_momentum(family: &Family) -> bool {
    family.part("momentum.velocity").is_some()
}

/// Of each parameter whose optimizer is of a family that is known: the family. An optimizer that is offered the fields of
/// all of them takes its own.
fn families_of(optimizer: &ModuleOptimizer, schema: &Schema) -> Result<BTreeMap<u64, &'static Family>> {
    let (mut states, mut paths) = (States::new(), BTreeMap::new());
    let mut seen = BTreeSet::new();
    for parameter in &schema.parameters {
        let id = parameter.id.val();
        if seen.insert(id) && parameter.is_trained() {
            let mut state = State::default();
            for family in &FAMILIES {
                fill(&mut state, family, parameter.shape.len(), 0.0);
            }
            states.insert(id, state);
            paths.insert(id, parameter.path.clone());
        }
    }
    let all = optimizer.clone().load_record(carrier::record(states, &paths)?);
    let taken = carrier::take(all.to_record())?;
    let families = taken.iter().filter_map(|(id, state)| {
        let mut fields = state.fields();
        fields.remove(RANK);
        let has_these = |family: &&Family| {
            let own: BTreeSet<String> = family.parts.iter().map(|(field, _)| (*field).to_owned()).collect();
            own == fields
        };
        Some((*id, FAMILIES.iter().find(has_these)?))
    });
    Ok(families.collect())
}

/// Gives a state the fields of a family, each of one element.
fn fill(state: &mut State, family: &Family, rank: usize, value: f32) {
    for (field, part) in family.parts {
        let scalar = match part {
            Part::Slot(_) | Part::Own | Part::Derived => {
                let tensor = TensorData::new(vec![value], vec![1; rank]);
                if !state.tensors.iter().any(|(other, _)| other == field) {
                    state.tensors.push(((*field).to_owned(), tensor));
                }
                continue;
            }
            Part::Time => Scalar::UInt(1),
            Part::Power1 | Part::Power2 | Part::Product | Part::Rate => Scalar::Float(0.5),
        };
        if !state.scalars.iter().any(|(other, _)| other == field) {
            state.scalars.push(((*field).to_owned(), scalar));
        }
    }
    if !state.scalars.iter().any(|(field, _)| field == RANK) {
        state.scalars.push((RANK.to_owned(), Scalar::UInt(rank as u64)));
    }
}

struct Stepped {
    numbers: Vec<Probed>,
    states: States,
}

/// What comes of a step of numbers whose states are of this `value` before, or not there.
fn step(
    optimizer: &ModuleOptimizer,
    families: &[(Probed, &'static Family)],
    value: impl Fn(&Family) -> Option<f32>,
) -> Result<Stepped> {
    let (mut states, mut paths) = (States::new(), BTreeMap::new());
    for (number, family) in families {
        if let Some(value) = value(family) {
            let mut state = State::default();
            fill(&mut state, family, number.rank, value);
            states.insert(number.id, state);
            paths.insert(number.id, number.path.clone());
        }
    }
    let mut optimizer = optimizer.clone().load_record(carrier::record(states, &paths)?);
    let numbers = families.iter().map(|(number, _)| number.clone()).collect();
    let numbers = probe::step(&mut optimizer, numbers);
    Ok(Stepped {
        numbers,
        states: carrier::take(optimizer.to_record())?,
    })
}
