//! Shapes that are stretched to fit each other.

use candle_core::Tensor;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

/// The shape that both are stretched to.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], axis: usize| match (axis + dims.len()).checked_sub(rank) {
        Some(axis) => dims.get(axis).copied().unwrap_or(1),
        None => 1,
    };
    let both = |axis| match (dim(a, axis), dim(b, axis)) {
        (a, b) if a == b => Ok(a),
        (1, b) => Ok(b),
        (a, 1) => Ok(a),
        _ => Err(Error::operand(format!("shapes {a:?} and {b:?} do not fit each other"))),
    };
    (0..rank).map(both).collect()
}

/// Both as tensors of one shape, of contiguous memory.
pub(crate) fn stretched(a: &Tensor, b: &Tensor, context: &Context<'_>) -> Result<(Tensor, Tensor)> {
    let dims = broadcast(a.dims(), b.dims())?;
    context.elements(&dims, a.dtype().size_in_bytes())?;
    let stretch = |tensor: &Tensor| match tensor.dims() == dims {
        true => tensor.contiguous(),
        false => tensor.broadcast_as(dims.as_slice())?.contiguous(),
    };
    Ok((stretch(a)?, stretch(b)?))
}

/// An operation on the elements of two tensors of integers, which are stretched to fit each other.
pub(crate) fn zip_ints<T>(
    a: &TfTensor,
    b: &TfTensor,
    context: &Context<'_>,
    f: impl Fn(i64, i64) -> Result<T>,
) -> Result<(Vec<T>, Vec<usize>)> {
    let dims = broadcast(a.dims(), b.dims())?;
    context.elements(&dims, size_of::<i64>())?;
    let stretch = |tensor: &TfTensor| -> Result<Vec<i64>> {
        match tensor.dims() == dims {
            true => tensor.to_ints(),
            false => tensor.with(tensor.tensor.broadcast_as(dims.as_slice())?).to_ints(),
        }
    };
    let (a, b) = (stretch(a)?, stretch(b)?);
    let values = a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect::<Result<Vec<T>>>()?;
    Ok((values, dims))
}
