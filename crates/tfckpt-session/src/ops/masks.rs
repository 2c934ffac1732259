//! Ones at places, and parts of matrices.

use candle_core::{Device, Tensor};

use super::shape::signed;
use super::table::{Args, Ops, axis, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("OneHot", |attrs| {
        let at = attrs.int("axis", -1)?;
        one(move |args, context| one_hot(args, at, context))
    });
    ops.pure("MatrixBandPart", |_| one(|args, _| band_part(args)));
}

fn one_hot(args: &Args, at: i64, context: &Context<'_>) -> Result<TfTensor> {
    let (places, depth) = (args.tensor(0)?, args.sizes(1)?);
    let depth = depth.first().copied().unwrap_or(0);
    let (on, off) = (args.tensor(2)?, args.tensor(3)?);
    let mut dims = places.dims().to_vec();
    let at = match at {
        -1 => dims.len(),
        at => axis(at, dims.len() + 1)?,
    };
    dims.insert(at, depth);
    let count = context.elements(&dims, on.tensor.dtype().size_in_bytes())?;
    let inner: usize = dims.iter().skip(at + 1).product();
    let mut hot = vec![0u8; count];
    for (place, value) in args.ints(0)?.into_iter().enumerate() {
        let Some(value) = usize::try_from(value).ok().filter(|value| *value < depth) else {
            continue;
        };
        let (outer, inside) = (place / inner.max(1), place % inner.max(1));
        if let Some(slot) = hot.get_mut((outer * depth + value) * inner + inside) {
            *slot = 1;
        }
    }
    let device = on.tensor.device();
    let hot = Tensor::from_vec(hot, dims.as_slice(), &Device::Cpu)?.to_device(device)?;
    let full = |value: &TfTensor| value.tensor.reshape(())?.broadcast_as(dims.as_slice())?.contiguous();
    Ok(on.with(hot.where_cond(&full(on)?, &full(off)?)?))
}

/// A mask of places in the last two dimensions.
pub(crate) fn mask(x: &TfTensor, keeps: impl Fn(i64, i64) -> bool) -> Result<Tensor> {
    let rank = x.dims().len();
    let size = |back: usize| rank.checked_sub(back).and_then(|axis| x.dims().get(axis).copied());
    let (Some(rows), Some(columns)) = (size(2), size(1)) else {
        return Err(Error::operand(format!("{:?} is no matrix", x.dims())));
    };
    let mut values = Vec::with_capacity(rows * columns);
    for row in 0..signed(rows) {
        values.extend((0..signed(columns)).map(|column| u8::from(keeps(row, column))));
    }
    let mask = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?.to_device(x.tensor.device())?;
    Ok(mask.broadcast_as(x.dims())?.contiguous()?)
}

fn band_part(args: &Args) -> Result<TfTensor> {
    let (x, lower, upper) = (args.tensor(0)?, args.int(1)?, args.int(2)?);
    let keeps = |row: i64, column: i64| (lower < 0 || row - column <= lower) && (upper < 0 || column - row <= upper);
    let mask = mask(x, keeps)?;
    Ok(x.with(mask.where_cond(&x.tensor.contiguous()?, &x.tensor.zeros_like()?)?))
}
