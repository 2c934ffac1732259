//! Values of features, gathered from examples.

use candle_core::Tensor;
use tfckpt::DType;

use super::arithmetic::ints;
use super::example::Feature;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

/// Values of one dtype.
#[derive(Debug, Clone)]
pub(super) enum Gathered {
    Texts(Vec<Vec<u8>>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Gathered {
    pub(super) fn empty(dtype: DType) -> Result<Self> {
        match dtype {
            DType::String => Ok(Gathered::Texts(Vec::new())),
            DType::Float32 => Ok(Gathered::Floats(Vec::new())),
            DType::Int64 => Ok(Gathered::Ints(Vec::new())),
            dtype => Err(Error::dtype("a feature of an example", dtype)),
        }
    }

    /// All values of features, one after the other.
    pub(super) fn of(found: &[&Feature<'_>], key: &[u8], dtype: DType) -> Result<Self> {
        let mut all = Self::empty(dtype)?;
        for feature in found {
            match (&mut all, feature) {
                (_, Feature::Nothing) => {}
                (Gathered::Texts(all), Feature::Bytes(values)) => all.extend(values.iter().map(|text| text.to_vec())),
                (Gathered::Floats(all), Feature::Floats(values)) => all.extend(values),
                (Gathered::Ints(all), Feature::Ints(values)) => all.extend(values),
                (_, other) => {
                    let found = match other {
                        Feature::Bytes(_) => "strings",
                        Feature::Floats(_) => "float32",
                        _ => "int64",
                    };
                    let name = String::from_utf8_lossy(key);
                    return Err(Error::operand(format!(
                        "feature `{name}` has {found}, expected {dtype}"
                    )));
                }
            }
        }
        Ok(all)
    }

    pub(super) fn from_value(value: &Value, dtype: DType) -> Result<Self> {
        Ok(match (Self::empty(dtype)?, value) {
            (Gathered::Texts(_), Value::Strings(strings)) => Gathered::Texts(strings.elements.to_vec()),
            (Gathered::Floats(_), Value::Tensor(tensor)) if tensor.dtype == dtype => {
                let flat = tensor.tensor.to_device(&candle_core::Device::Cpu)?.flatten_all()?;
                Gathered::Floats(flat.to_vec1()?)
            }
            (Gathered::Ints(_), Value::Tensor(tensor)) if tensor.dtype == dtype => Gathered::Ints(tensor.to_ints()?),
            _ => {
                return Err(Error::operand(format!(
                    "a default is {}, expected {dtype}",
                    value.name()
                )));
            }
        })
    }

    pub(super) fn longest_text(&self) -> usize {
        match self {
            Gathered::Texts(values) => values.iter().map(Vec::len).max().unwrap_or(0),
            _ => 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Gathered::Texts(values) => values.len(),
            Gathered::Floats(values) => values.len(),
            Gathered::Ints(values) => values.len(),
        }
    }

    pub(super) fn extend(&mut self, other: &Gathered) {
        match (self, other) {
            (Gathered::Texts(all), Gathered::Texts(values)) => all.extend(values.iter().cloned()),
            (Gathered::Floats(all), Gathered::Floats(values)) => all.extend(values),
            (Gathered::Ints(all), Gathered::Ints(values)) => all.extend(values),
            _ => {}
        }
    }

    /// Adds the first value of another one.
    pub(super) fn repeat(&mut self, other: &Gathered) {
        match (self, other) {
            (Gathered::Texts(all), Gathered::Texts(values)) => all.extend(values.first().cloned()),
            (Gathered::Floats(all), Gathered::Floats(values)) => all.extend(values.first()),
            (Gathered::Ints(all), Gathered::Ints(values)) => all.extend(values.first()),
            _ => {}
        }
    }

    /// As a tensor of these dimensions, or a vector.
    pub(super) fn into_value(self, dims: Option<&[usize]>, context: &Context<'_>) -> Result<Value> {
        let flat = [self.len()];
        let dims = dims.unwrap_or(&flat);
        Ok(match self {
            Gathered::Texts(values) => Value::Strings(Strings::new(values, dims)?),
            Gathered::Ints(values) => ints(values, dims, DType::Int64)?.into(),
            Gathered::Floats(values) => Value::Tensor(TfTensor {
                tensor: Tensor::from_vec(values, dims, context.device)?,
                dtype: DType::Float32,
            }),
        })
    }
}
