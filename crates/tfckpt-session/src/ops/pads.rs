//! Tensors with something round them.

use candle_core::Tensor;

use super::shape::signed;
use super::table::{Args, Ops, one};
use super::turns::picked;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Pad", |_| one(|args, context| pad(args, None, context)));
    ops.pure("PadV2", |_| one(|args, context| pad(args, Some(2), context)));
    ops.pure("MirrorPad", |attrs| {
        let symmetric = attrs.text("mode", "REFLECT")? == "SYMMETRIC";
        one(move |args, context| mirror_pad(args, symmetric, context))
    });
}

/// Sizes before and after each axis.
fn paddings(args: &Args, rank: usize) -> Result<Vec<(usize, usize)>> {
    let pairs = args.sizes(1)?;
    let pairs: Vec<(usize, usize)> = pairs.as_chunks::<2>().0.iter().map(|[a, b]| (*a, *b)).collect();
    match pairs.len() == rank {
        true => Ok(pairs),
        false => Err(Error::operand(format!(
            "{} pairs of paddings for rank {rank}",
            pairs.len()
        ))),
    }
}

pub(super) fn padded_dims(x: &TfTensor, paddings: &[(usize, usize)], context: &Context<'_>) -> Result<()> {
    let dims = x.dims().iter().zip(paddings);
    let dims = dims.map(|(dim, (a, b))| dim.saturating_add(*a).saturating_add(*b));
    let dims: Vec<usize> = dims.collect();
    context.elements(&dims, x.tensor.dtype().size_in_bytes()).map(|_| ())
}

fn pad(args: &Args, value: Option<usize>, context: &Context<'_>) -> Result<TfTensor> {
    padded(args, context, |tensor, axis, before, after| {
        let Some(value) = value else {
            return Ok(tensor.pad_with_zeros(axis, before, after)?);
        };
        let fill = args.tensor(value)?.tensor.reshape(())?;
        let side = |count: usize| {
            let mut dims = tensor.dims().to_vec();
            if let Some(dim) = dims.get_mut(axis) {
                *dim = count;
            }
            fill.broadcast_as(dims)?.contiguous()
        };
        Ok(Tensor::cat(&[&side(before)?, tensor, &side(after)?], axis)?)
    })
}

fn mirror_pad(args: &Args, symmetric: bool, context: &Context<'_>) -> Result<TfTensor> {
    padded(args, context, |tensor, axis, before, after| {
        let len = tensor.dim(axis)?;
        let edge = usize::from(!symmetric);
        if before.max(after) + edge > len {
            return Err(Error::operand(format!("a mirror of {} of {len}", before.max(after))));
        }
        let left = (edge..edge + before).rev();
        let right = (0..after).map(|place| len - 1 - edge - place);
        picked(tensor, axis, left.chain(0..len).chain(right).map(signed).collect())
    })
}

/// The first operand, padded along one axis after the other by so many elements before and after.
fn padded(
    args: &Args,
    context: &Context<'_>,
    pad: impl Fn(&Tensor, usize, usize, usize) -> Result<Tensor>,
) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let paddings = paddings(args, x.dims().len())?;
    padded_dims(x, &paddings, context)?;
    let mut tensor = x.tensor.clone();
    for (axis, &(before, after)) in paddings.iter().enumerate() {
        if (before, after) != (0, 0) {
            tensor = pad(&tensor, axis, before, after)?;
        }
    }
    Ok(x.with(tensor))
}
