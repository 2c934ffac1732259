//! The values of the graph's variables.

use std::sync::{PoisonError, RwLock};

use candle_core::{Device, Tensor, Var};
use tfckpt::{DType, Shape, Slice};

use crate::context::Context;
use crate::dtype::carried;
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

/// A variable of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: String,
    /// What the graph's saver calls it; `None` if it is not saved.
    pub(crate) key: Option<String>,
    pub(crate) dtype: Option<DType>,
    pub(crate) shape: Option<Shape>,
    pub(crate) trainable: bool,
    /// The node that sets its first value.
    pub(crate) initializer: String,
    /// The part of a variable of the checkpoint that it is: that one's name, its shape, and which part.
    pub(crate) part: Option<(String, Shape, Slice)>,
    /// Whether it is a constant in the graph.
    pub(crate) frozen: bool,
}

/// The graph's variables and their values. Those that are set again keep their storage, if shape and dtype stay.
#[derive(Debug)]
pub(crate) struct Variables {
    known: Vec<Known>,
    values: RwLock<Vec<Option<(Var, DType)>>>,
}

impl Variables {
    pub(crate) fn new(known: Vec<Known>) -> Self {
        let values = RwLock::new(vec![None; known.len()]);
        Variables { known, values }
    }

    pub(crate) fn known(&self) -> &[Known] {
        &self.known
    }

    pub(crate) fn name(&self, variable: usize) -> &str {
        self.known.get(variable).map_or("", |known| &known.name)
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.known.iter().position(|known| known.name == name)
    }

    /// The variable that a constant of the graph is.
    pub(crate) fn find_frozen(&self, name: &str) -> Option<usize> {
        self.find(name)
            .filter(|place| self.known.get(*place).is_some_and(|known| known.frozen))
    }

    /// The live variable.
    pub(crate) fn get(&self, variable: usize) -> Option<(Var, DType)> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values.get(variable).cloned().flatten()
    }

    /// Its value. When gradients are wanted, it is one that they lead to.
    pub(crate) fn read(&self, variable: usize, context: &Context<'_>) -> Result<Value> {
        let (var, dtype) = self.get(variable).ok_or_else(|| context.variable_error(variable))?;
        let tensor = match context.tracked {
            true => var.as_tensor().clone(),
            false => var.as_detached_tensor(),
        };
        let tensor = match context.copies {
            true => tensor.copy()?,
            false => tensor,
        };
        Ok(Value::Tensor(TfTensor { tensor, dtype }))
    }

    /// Sets it.
    pub(crate) fn assign(&self, variable: usize, value: &TfTensor, device: &Device) -> Result<()> {
        let known = self.known.get(variable);
        if let Some(dtype) = known
            .and_then(|known| known.dtype)
            .filter(|dtype| *dtype != value.dtype)
        {
            let what = format!("variable `{}` is {dtype}, not {}", self.name(variable), value.dtype);
            return Err(Error::operand(what));
        }
        if let Some(shape) = known.and_then(|known| known.shape.as_ref())
            && shape.dims() != value.dims()
        {
            let what = format!(
                "variable `{}` has shape {shape}, not {:?}",
                self.name(variable),
                value.dims()
            );
            return Err(Error::operand(what));
        }
        self.put(variable, &value.tensor, value.dtype, device)
    }

    /// Sets it, in place if shape and dtype stay.
    pub(crate) fn put(&self, variable: usize, tensor: &Tensor, dtype: DType, device: &Device) -> Result<()> {
        let wanted = carried(dtype).ok_or_else(|| Error::dtype("a variable", dtype))?;
        let device = match crate::dtype::is_int(dtype) {
            true => &Device::Cpu,
            false => device,
        };
        let tensor = tensor.detach().to_device(device)?.to_dtype(wanted)?;
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = values.get_mut(variable) else {
            return Err(Error::operand("there is no such variable"));
        };
        match place {
            Some((var, before)) if var.dims() == tensor.dims() && *before == dtype => {
                // A value that shares the variable's storage would be written while it is read.
                Ok(var.set(&tensor.force_contiguous()?)?)
            }
            _ => {
                *place = Some((Var::from_tensor(&tensor.copy()?)?, dtype));
                Ok(())
            }
        }
    }
}
