//! Elements of arrays and lists: put together, taken apart.

use candle_core::Tensor;
use tfckpt::DType;

use super::arithmetic::ints;
use super::shape::{signed, zeros};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::holders::Elements;
use crate::value::{TfTensor, Value};

pub(super) fn never_written(place: i64) -> Error {
    Error::operand(format!("element {place} was never written, or with another dtype"))
}

/// The dimensions, if all are known.
pub(super) fn known(shape: &Option<Vec<Option<u64>>>) -> Option<Vec<usize>> {
    let shape = shape.as_ref()?;
    shape.iter().map(|dim| usize::try_from((*dim)?).ok()).collect()
}

/// Elements of one shape along a new first axis.
pub(super) fn stacked(
    found: &[TfTensor],
    dtype: DType,
    shape: &Option<Vec<usize>>,
    context: &Context<'_>,
) -> Result<TfTensor> {
    let Some(first) = found.first() else {
        let mut dims = vec![0];
        dims.extend(shape.iter().flatten());
        return zeros(&dims, dtype, context);
    };
    if found
        .iter()
        .any(|next| next.dims() != first.dims() || next.dtype != first.dtype)
    {
        return Err(Error::operand("elements have different shapes or dtypes"));
    }
    context.elements(
        &[found.len(), first.tensor.elem_count()],
        first.tensor.dtype().size_in_bytes(),
    )?;
    let tensors = found
        .iter()
        .map(|next| next.tensor.unsqueeze(0))
        .collect::<Result<Vec<Tensor>, _>>()?;
    Ok(first.with(Tensor::cat(&tensors, 0)?))
}

/// Elements put together along their first axis, and how long each is.
pub(super) fn joined(elements: &Elements, context: &Context<'_>) -> Result<Vec<Value>> {
    let found: Vec<&TfTensor> = elements.iter().flatten().collect();
    let first = *found
        .first()
        .ok_or_else(|| Error::operand("no elements are put together"))?;
    let lengths: Vec<i64> = found
        .iter()
        .map(|next| next.dims().first().map_or(0, |len| signed(*len)))
        .collect();
    let total: usize = found.iter().map(|next| next.tensor.elem_count()).sum();
    context.elements(&[total], 8)?;
    let tensors: Vec<&Tensor> = found.iter().map(|next| &next.tensor).collect();
    let count = lengths.len();
    Ok(vec![
        first.with(Tensor::cat(&tensors, 0)?).into(),
        ints(lengths, &[count], DType::Int64)?.into(),
    ])
}

/// Parts of these lengths along the first axis.
pub(super) fn split(values: &TfTensor, lengths: &[usize]) -> Result<Vec<TfTensor>> {
    let total = lengths
        .iter()
        .try_fold(0usize, |total, length| total.checked_add(*length));
    if values.dims().first().copied() != total {
        return Err(Error::operand(format!("{:?} is split into {lengths:?}", values.dims())));
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(lengths.len());
    for &length in lengths {
        parts.push(values.with(values.tensor.narrow(0, start, length)?));
        start += length;
    }
    Ok(parts)
}

/// The slices along the first axis.
pub(super) fn rows(values: &TfTensor) -> Result<Vec<TfTensor>> {
    let count = *values
        .dims()
        .first()
        .ok_or_else(|| Error::operand("a scalar has no elements"))?;
    let row = |place| Ok(values.with(values.tensor.narrow(0, place, 1)?.squeeze(0)?));
    (0..count).map(row).collect()
}
