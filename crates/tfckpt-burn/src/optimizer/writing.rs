//! States into variables.

use std::collections::BTreeMap;

use burn::store::burn_pack::Scalar;
use burn::tensor::TensorData;
use tfckpt::Variable;
use tfckpt::map::{Layout, NameMap};
use tfckpt::optimizers::{Convention, OptimizerNames, Slot};

use super::counters::{self, Counted};
use super::families::Part;
use super::traits::{AllTraits, Traits};
use super::{Naming, own_name};
use crate::carrier::{RANK, State, States};
use crate::dtype::{stored, to_stored_bytes};
use crate::error::{Error, Result};
use crate::recurrent::Slots;
use crate::scalars;
use crate::schema::{Parameter, Schema};

/// The state of an optimizer as variables.
pub(crate) fn variables(
    states: States,
    schema: &Schema,
    names: &NameMap,
    naming: &Naming,
    traits: &AllTraits,
    global_step: i64,
) -> Result<Vec<Variable<'static>>> {
    let mut made = Made {
        names,
        variables: Vec::new(),
        slots: Slots::default(),
    };
    let (mut numbers, mut counted) = (BTreeMap::new(), Vec::new());
    for (id, state) in states {
        let Some(parameter) = schema.by_id(id) else {
            continue;
        };
        let variable = parameter.name(names);
        let traits = traits.get(&id);
        let named = traits.and_then(|traits| slots_of(&state, parameter, traits, naming));
        let scalars = state.scalars.into_iter().filter(|(field, _)| field != RANK);
        let (Some(slot_names), Some(traits)) = (named, traits) else {
            // Parameters that become one variable count alike.
            let is_rate = |field: &str| traits.is_some_and(|traits| traits.family.part(field) == Some(Part::Rate));
            let scalars = scalars.filter(|(field, _)| !is_rate(field));
            numbers.extend(scalars.map(|(field, scalar)| (own_name(&variable, &field), scalar)));
            for (field, tensor) in state.tensors {
                made.add(parameter, &|variable| vec![own_name(variable, &field)], tensor)?;
            }
            continue;
        };
        counted.push(Counted {
            variable: variable.clone(),
            names: slot_names.clone(),
            parts: traits.family.parts,
            betas: naming.betas.or(traits.betas),
            scalars: scalars.collect(),
        });
        let mut missing = slot_names.slots().to_vec();
        for (field, tensor) in state.tensors {
            if let Some(Part::Slot(slot)) = traits.family.part(&field) {
                made.add(parameter, &|variable| slot_names.slot(variable, slot), tensor)?;
                missing.retain(|other| *other != slot);
            }
        }
        // The momentum that RMSProp of TensorFlow 1 has even where it has none.
        for slot in missing {
            let zeros = TensorData::zeros::<f32, _>(parameter.shape.clone()).convert_dtype(parameter.dtype);
            made.add(parameter, &|variable| slot_names.slot(variable, slot), zeros)?;
        }
    }
    let mut variables = made.variables;
    variables.extend(made.slots.finish()?);
    let (counters, apart) = counters::numbers(counted, global_step);
    numbers.extend(apart);
    variables.extend(counters);
    variables.extend(
        numbers
            .into_iter()
            .map(|(name, scalar)| scalars::variable(name, scalar)),
    );
    Ok(variables)
}

/// The variables of tensors of states.
struct Made<'a> {
    names: &'a NameMap,
    variables: Vec<Variable<'static>>,
    /// Those that are made of several tensors.
    slots: Slots,
}

impl Made<'_> {
    /// `slot` gives the names of the slot of a variable.
    fn add(&mut self, parameter: &Parameter, slot: &dyn Fn(&str) -> Vec<String>, tensor: TensorData) -> Result<()> {
        if let Some(tensor) = self.slots.take(parameter, self.names, slot, tensor)?
            && let Some(name) = slot(&parameter.name(self.names)).into_iter().next()
        {
            self.variables.push(variable(name, tensor, parameter, self.names)?);
        }
        Ok(())
    }
}

/// What the slots of a state are called, if it is one that TensorFlow has: of tensors as large as the parameter.
fn slots_of(state: &State, parameter: &Parameter, traits: &Traits, naming: &Naming) -> Option<OptimizerNames> {
    if traits.family.differs(naming.convention, traits).is_some() {
        return None;
    }
    let slots: Option<Vec<Slot>> = state
        .tensors
        .iter()
        .filter_map(|(field, tensor)| match traits.family.part(field) {
            Some(Part::Derived) => None,
            Some(Part::Slot(slot)) if tensor.shape().to_vec() == parameter.shape => Some(Some(slot)),
            _ => Some(None),
        })
        .collect();
    let has_no_other_number = |(field, _): &(String, Scalar)| field == RANK || traits.family.part(field).is_some();
    if !state.scalars.iter().all(has_no_other_number) {
        return None;
    }
    traits.family.names(naming, naming.convention, &slots?).next()
}

/// What the optimizer of a model keeps, if it is of one kind that TensorFlow has: what an object layout has to know.
pub(crate) fn object_names(traits: &AllTraits, naming: &Naming) -> Option<OptimizerNames> {
    let first = traits.values().next()?;
    let is_same = |other: &Traits| std::ptr::eq(other.family, first.family);
    if !traits.values().all(is_same) || first.family.differs(naming.convention, first).is_some() {
        return None;
    }
    let fields = first.family.parts.iter();
    let slots: Vec<Slot> = fields
        .filter_map(|(field, part)| match part {
            Part::Slot(slot) if first.keeps(field) => Some(*slot),
            _ => None,
        })
        .collect();
    let names = first.family.names(naming, naming.convention, &slots).next();
    // Without slots there may still be the numbers of an optimizer of Keras.
    names.filter(|_| !slots.is_empty() || naming.convention != Convention::V1)
}

/// A tensor of a state. It is in memory, so that all cores write it.
fn variable(name: String, tensor: TensorData, parameter: &Parameter, names: &NameMap) -> Result<Variable<'static>> {
    let (shape, dtype) = (tensor.shape().to_vec(), tensor.dtype());
    let layout = slot_layout(parameter, &shape, names);
    let unsupported = || Error::UnsupportedDtype {
        path: name.clone(),
        dtype: format!("{dtype:?}"),
    };
    let dtype = stored(dtype).ok_or_else(unsupported)?;
    let (stored_shape, transform) = layout
        .stored_shape(&shape)
        .zip(layout.to_stored(&shape))
        .ok_or_else(unsupported)?;
    let bytes = to_stored_bytes(tensor);
    let variable = Variable::lent(name, dtype, stored_shape, move |sink| sink(&bytes));
    Ok(variable.laid_out(transform).non_trainable())
}

/// The moments of a kernel are laid out as the kernel is.
fn slot_layout(parameter: &Parameter, shape: &[usize], names: &NameMap) -> Layout {
    if parameter.shape == shape {
        parameter.layout(names)
    } else {
        Layout::Same
    }
}
