//! A target, filled.

use super::Step;
use crate::bundle::{Reading, VariableInfo};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::map::recipe::Part;
use crate::tensor::Element;

/// A target whose turn has come: see [`Plan::carry_out`](super::Plan::carry_out).
#[derive(Debug)]
pub struct Filling<'f>(pub(super) Origin<'f>);

/// What fills it.
#[derive(Debug)]
pub(super) enum Origin<'f> {
    Variable { step: &'f Step, reading: &'f Reading<'f> },
    Recipe { part: &'f Part, variables: &'f [Vec<u8>] },
}

impl Filling<'_> {
    /// Which of the targets it is.
    pub fn target(&self) -> usize {
        match self.0 {
            Origin::Variable { step, .. } => step.target,
            Origin::Recipe { part, .. } => part.target,
        }
    }

    /// The variable that fills it; `None` if a recipe does.
    pub fn variable(&self) -> Option<&VariableInfo> {
        match self.0 {
            Origin::Variable { step, .. } => Some(&step.info),
            Origin::Recipe { .. } => None,
        }
    }

    /// The dtype in which it is filled: that of the variable, or the one that it is converted to.
    pub fn dtype(&self) -> DType {
        match self.0 {
            Origin::Variable { step, .. } => step.dtype(),
            Origin::Recipe { part, .. } => part.dtype,
        }
    }

    /// The size in bytes of what it fills, safe to allocate: as [`Bundle::checked_size`](crate::Bundle::checked_size).
    ///
    /// # Errors
    /// As [`Bundle::checked_size`](crate::Bundle::checked_size).
    pub fn size(&self) -> Result<usize> {
        match self.0 {
            Origin::Variable { step, reading } => match step.work() {
                Some(conversion) => conversion.size(reading.size()?),
                None => reading.size(),
            },
            Origin::Recipe { part, .. } => part.len(),
        }
    }

    /// The bytes of the parameter, little-endian and in the layout and dtype of the model, in a new vector; `T` only says
    /// how they are aligned.
    ///
    /// # Errors
    /// As [`Reading::read`]; [`Error::ValueMisfit`] if a value has no place in the dtype of the model.
    pub fn read<T: Element>(&self) -> Result<Vec<T>> {
        match self.0 {
            Origin::Variable { step, reading } => match step.work() {
                Some(conversion) => {
                    let source: Vec<u8> = reading.read_laid_out(&step.transform)?;
                    conversion.converted(&step.info.name(), false, &source)
                }
                None => reading.read_laid_out(&step.transform),
            },
            Origin::Recipe { part, variables } => {
                let bytes = part.cook(variables)?;
                let whole = bytes.len() % size_of::<T>() == 0;
                let misfit = || Error::invalid(format!("{} does not fit into {}", part.dtype, T::DTYPE));
                whole.then(|| bytemuck::pod_collect_to_vec(&bytes)).ok_or_else(misfit)
            }
        }
    }

    /// Reads the parameter into `destination`, little-endian and in the layout and dtype of the model: one copy from the
    /// file, with a transpose a band at a time. To be converted, it is read into memory of its own first.
    ///
    /// # Errors
    /// As [`Bundle::read_into`](crate::Bundle::read_into); [`Error::ValueMisfit`] if a value has no place in the dtype of the model.
    pub fn read_into(&self, destination: &mut [u8]) -> Result<()> {
        match self.0 {
            Origin::Variable { step, reading } => match step.work() {
                Some(conversion) => {
                    let source: Vec<u8> = reading.read_laid_out(&step.transform)?;
                    conversion.convert(&step.info.name(), false, &source, destination)
                }
                None if step.transform.is_identity() => reading.read_into(destination),
                None => reading.read_laid_out_into(&step.transform, destination),
            },
            Origin::Recipe { part, variables } => {
                let bytes = part.cook(variables)?;
                if bytes.len() != destination.len() {
                    return Err(Error::invalid(format!(
                        "{} bytes given for a parameter of {}",
                        destination.len(),
                        bytes.len()
                    )));
                }
                destination.copy_from_slice(&bytes);
                Ok(())
            }
        }
    }
}
