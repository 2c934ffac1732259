//! What an optimizer is to be given, before any of it is read.

use std::collections::BTreeMap;

use burn::store::burn_pack::Scalar;
use burn::tensor::TensorData;
use tfckpt::map::{Layout, NameMap, Target};
use tfckpt::{DType, VariableInfo};

use super::own_name;
use crate::carrier::{RANK, States};
use crate::dtype::stored;
use crate::error::Result;
use crate::schema::Parameter;

/// Variables to be read, and the fields of states that they fill.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) targets: Vec<Target>,
    /// Of each target: whose it is, and which field.
    fields: Vec<(u64, String)>,
    scalars: BTreeMap<u64, Vec<(String, Scalar)>>,
    /// Fields that are filled with what another field of the same state has.
    copies: BTreeMap<u64, Vec<(String, String)>>,
    /// Of every parameter that there is something for.
    pub(super) paths: BTreeMap<u64, String>,
}

impl Wanted {
    /// A slot of the variable that the parameter becomes, or becomes a part of; it has shape and layout of the parameter.
    /// `slot` gives the names of the slot of a variable.
    pub(super) fn push(
        &mut self,
        parameter: &Parameter,
        field: &str,
        slot: &dyn Fn(&str) -> Vec<String>,
        names: &NameMap,
    ) -> Result<()> {
        let target = Target {
            names: slot(&parameter.name(names)),
            dtypes: vec![stored(parameter.dtype).unwrap_or(DType::Float32)],
            shape: parameter.shape.clone(),
            layout: parameter.layout(names),
            recipes: parameter.slot_recipes(names, slot)?,
            ..Target::default()
        };
        self.push_target(parameter, field, target);
        Ok(())
    }

    /// A tensor of a shape of its own.
    pub(super) fn push_stored(
        &mut self,
        parameter: &Parameter,
        field: &str,
        info: &VariableInfo,
        names: &NameMap,
    ) -> Result<()> {
        let recipes = parameter.slot_recipes(names, &|variable| vec![own_name(variable, field)])?;
        let layout = parameter.layout(names);
        let same = layout.stored_shape(&parameter.shape).as_ref() == Some(info.shape()) || !recipes.is_empty();
        let (shape, layout) = if same {
            (parameter.shape.clone(), layout)
        } else {
            (info.shape().dims().to_vec(), Layout::Same)
        };
        let target = Target {
            names: vec![info.name().into_owned()],
            dtypes: vec![info.dtype()],
            shape,
            layout,
            recipes,
            ..Target::default()
        };
        self.push_target(parameter, field, target);
        Ok(())
    }

    /// A field that is what another one is.
    pub(super) fn push_copy(&mut self, parameter: &Parameter, field: &str, original: &str) {
        self.push_parameter(parameter);
        let copies = self.copies.entry(parameter.id.val()).or_default();
        copies.push((field.to_owned(), original.to_owned()));
    }

    pub(super) fn push_scalar(&mut self, parameter: &Parameter, field: &str, scalar: Scalar) {
        self.push_parameter(parameter);
        let scalars = self.scalars.entry(parameter.id.val()).or_default();
        scalars.push((field.to_owned(), scalar));
    }

    /// There is something for this one, and with it goes its number of dimensions.
    pub(super) fn push_parameter(&mut self, parameter: &Parameter) {
        let id = parameter.id.val();
        if self.paths.insert(id, parameter.path.clone()).is_none() {
            self.push_scalar(parameter, RANK, Scalar::UInt(parameter.shape.len() as u64));
        }
    }

    fn push_target(&mut self, parameter: &Parameter, field: &str, target: Target) {
        self.push_parameter(parameter);
        self.fields.push((parameter.id.val(), field.to_owned()));
        let path = format!("{} ({field})", parameter.path);
        self.targets.push(Target { path, ..target });
    }

    /// All states, with these tensors for the targets.
    pub(super) fn states(&self, tensors: impl Iterator<Item = (usize, TensorData)>) -> States {
        let mut states = States::new();
        for (&id, scalars) in &self.scalars {
            states.entry(id).or_default().scalars.clone_from(scalars);
        }
        for (target, tensor) in tensors {
            if let Some((id, field)) = self.fields.get(target) {
                states.entry(*id).or_default().tensors.push((field.clone(), tensor));
            }
        }
        for (id, copies) in &self.copies {
            let tensors = &mut states.entry(*id).or_default().tensors;
            for (field, original) in copies {
                let found = tensors.iter().find(|(other, _)| other == original);
                if let Some(copy) = found.map(|(_, tensor)| tensor.clone()) {
                    tensors.push((field.clone(), copy));
                }
            }
        }
        states
    }
}
