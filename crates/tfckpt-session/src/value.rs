//! What flows along the edges of a graph.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use tfckpt::DType;

use crate::dtype::{carried, is_int, natural};
use crate::error::{Error, Result};
use crate::holders::{Stack, TensorArray};
use crate::tables::Table;

/// A value on its way from one node to another.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Value {
    /// Numbers or truths.
    Tensor(TfTensor),
    /// Strings.
    Strings(Strings),
    /// A variable of the graph.
    Variable(usize),
    /// A `TensorArray`, which its operations change.
    Array(Arc<TensorArray>),
    /// A stack, which its operations change.
    Stack(Arc<Stack>),
    /// A table from keys to values.
    Table(Arc<Table>),
    /// A `TensorList`, which its operations copy.
    List(Arc<Vec<Option<TfTensor>>>),
    /// The side of a branch that was not taken.
    Dead,
    /// Nothing but the news that something was done.
    Done,
}

/// A tensor, and the dtype that it has in TensorFlow.
///
/// Floats are tensors of the same dtype. Integers are I64 tensors on the CPU, whatever the dtype, and truths are U8.
#[derive(Debug, Clone)]
pub struct TfTensor {
    pub(crate) tensor: Tensor,
    pub(crate) dtype: DType,
}

/// Strings with a shape, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strings {
    pub(crate) dims: Vec<usize>,
    pub(crate) elements: Arc<[Vec<u8>]>,
}

impl TfTensor {
    /// A tensor as TensorFlow's `dtype`. Integers of any dtype become I64 on the CPU.
    ///
    /// # Errors
    /// A float for an integer, or one of another width: nothing is cast silently.
    pub fn new(tensor: Tensor, dtype: DType) -> Result<Self> {
        let carried = carried(dtype).ok_or_else(|| Error::dtype("a tensor", dtype))?;
        let fits = tensor.dtype() == carried || (is_int(dtype) && tensor.dtype().is_int());
        if !fits {
            return Err(Error::operand(format!(
                "expected {dtype}, found a tensor of {:?}: convert it by `to_dtype`",
                tensor.dtype()
            )));
        }
        let tensor = match is_int(dtype) {
            true => tensor.to_device(&Device::Cpu)?.to_dtype(carried)?,
            false => tensor,
        };
        Ok(TfTensor { tensor, dtype })
    }

    /// A tensor as the dtype that it has in Candle.
    ///
    /// # Errors
    /// TensorFlow has no such dtype.
    pub fn natural(tensor: Tensor) -> Result<Self> {
        let dtype = natural(tensor.dtype()).ok_or_else(|| {
            Error::operand(format!(
                "{:?} is a dtype that no operation computes with",
                tensor.dtype()
            ))
        })?;
        Self::new(tensor, dtype)
    }

    pub(crate) fn ints(values: Vec<i64>, dims: &[usize], dtype: DType) -> Result<Self> {
        let tensor = Tensor::from_vec(values, dims, &Device::Cpu)?;
        Ok(TfTensor { tensor, dtype })
    }

    pub(crate) fn truths(values: Vec<u8>, dims: &[usize]) -> Result<Self> {
        let tensor = Tensor::from_vec(values, dims, &Device::Cpu)?;
        Ok(TfTensor {
            tensor,
            dtype: DType::Bool,
        })
    }

    /// The tensor. Integers are I64, truths U8.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The tensor. Integers are I64, truths U8.
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }

    /// The dtype in TensorFlow.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// Another tensor of the same dtype.
    pub(crate) fn with(&self, tensor: Tensor) -> Self {
        TfTensor {
            tensor,
            dtype: self.dtype,
        }
    }

    /// The elements of integers or truths, row-major.
    pub(crate) fn to_ints(&self) -> Result<Vec<i64>> {
        let flat = self.tensor.to_device(&Device::Cpu)?.flatten_all()?;
        match self.dtype {
            DType::Bool => Ok(flat.to_vec1::<u8>()?.into_iter().map(i64::from).collect()),
            dtype if is_int(dtype) => Ok(flat.to_vec1::<i64>()?),
            dtype => Err(Error::operand(format!("expected integers, found {dtype}"))),
        }
    }
}

impl Strings {
    /// Strings with a shape, row-major.
    ///
    /// # Errors
    /// Their number is not that of the shape.
    pub fn new(elements: Vec<Vec<u8>>, dims: &[usize]) -> Result<Self> {
        let count = dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
        if count != Some(elements.len()) {
            return Err(Error::operand(format!(
                "{} strings cannot have shape {dims:?}",
                elements.len()
            )));
        }
        Ok(Strings {
            dims: dims.to_vec(),
            elements: elements.into(),
        })
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The strings, row-major.
    pub fn elements(&self) -> &[Vec<u8>] {
        &self.elements
    }
}

impl Value {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Value::Tensor(_) => "a tensor",
            Value::Strings(_) => "strings",
            Value::Variable(_) => "a variable",
            Value::Array(_) => "a TensorArray",
            Value::Stack(_) => "a stack",
            Value::Table(_) => "a table",
            Value::List(_) => "a TensorList",
            Value::Dead => "the side of a branch that was not taken",
            Value::Done => "nothing",
        }
    }

    /// A copy that no gradients lead through, and that stays as it is when variables change.
    pub(crate) fn detached_copy(self) -> Result<Self> {
        Ok(match self {
            Value::Tensor(tensor) => Value::Tensor(tensor.with(tensor.tensor.detach().copy()?)),
            value => value,
        })
    }

    /// The bytes that it takes in memory, not counting what it shares.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Value::Tensor(tensor) => tensor.tensor.elem_count() as u64 * tensor.tensor.dtype().size_in_bytes() as u64,
            Value::Strings(strings) => strings.elements.iter().map(|text| text.len() as u64 + 24).sum(),
            _ => 0,
        }
    }
}

impl From<TfTensor> for Value {
    fn from(tensor: TfTensor) -> Self {
        Value::Tensor(tensor)
    }
}
