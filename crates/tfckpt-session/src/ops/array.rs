//! Tensors put together and taken apart.

use candle_core::Tensor;

use super::shape::zeros;
use super::table::{Args, Ops, axis, many, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("ConcatV2", |_| {
        many(|args, context| {
            let last = args.len().saturating_sub(1);
            concat(args, 0..last, args.int(last)?, context)
        })
    });
    ops.pure("Concat", |_| {
        many(|args, context| concat(args, 1..args.len(), args.int(0)?, context))
    });
    ops.pure("Pack", |attrs| {
        let at = attrs.int("axis", 0)?;
        many(move |args, context| pack(args, at, context))
    });
    ops.pure("Unpack", |attrs| {
        let (at, count) = (attrs.int("axis", 0)?, attrs.count("num", 0)?);
        many(move |args, _| {
            let x = args.tensor(0)?;
            let at = axis(at, x.dims().len())?;
            if x.tensor.dim(at)? != count {
                return Err(Error::operand(format!("{:?} is taken apart into {count}", x.dims())));
            }
            let slice = |place| Ok(x.with(x.tensor.narrow(at, place, 1)?.squeeze(at)?).into());
            (0..count).map(slice).collect()
        })
    });
    ops.pure("Split", |attrs| {
        let count = attrs.count("num_split", 1)?;
        many(move |args, _| {
            let x = args.tensor(1)?;
            let at = args.axis(0, x.dims().len())?;
            let len = x.tensor.dim(at)?;
            if count == 0 || len % count != 0 {
                return Err(Error::operand(format!(
                    "{:?} is split into {count} along {at}",
                    x.dims()
                )));
            }
            parts(x, at, &vec![len / count; count])
        })
    });
    ops.pure("SplitV", |_| {
        many(|args, _| {
            let x = args.tensor(0)?;
            let at = args.axis(2, x.dims().len())?;
            let sizes = open_sizes(&args.ints(1)?, x.tensor.dim(at)?)?;
            parts(x, at, &sizes)
        })
    });
    ops.pure("Tile", |_| one(tile));
}

fn concat(args: &Args, range: std::ops::Range<usize>, at: i64, context: &Context<'_>) -> Result<Vec<Value>> {
    if let Ok(Value::Strings(first)) = args.value(range.start) {
        let rank = first.dims.len();
        if rank != 1 || axis(at, rank)? != 0 {
            return Err(Error::operand("only vectors of strings are put together"));
        }
        let all = range.map(|place| Ok(args.strings(place)?.elements.to_vec()));
        let all: Vec<Vec<u8>> = all.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let count = all.len();
        return Ok(vec![Value::Strings(Strings::new(all, &[count])?)]);
    }
    let all = args.tensors(range)?;
    let first = *all.first().ok_or_else(|| Error::graph("nothing is put together"))?;
    let rank = first.dims().len();
    let at = axis(at, rank)?;
    let mut size = 0u64;
    for next in &all {
        let fits = next.dims().len() == rank
            && next.dtype == first.dtype
            && (0..rank).all(|axis| axis == at || next.dims().get(axis) == first.dims().get(axis));
        if !fits {
            let what = format!("{:?} and {:?} are put together along {at}", first.dims(), next.dims());
            return Err(Error::operand(what));
        }
        size += next.tensor.elem_count() as u64 * next.tensor.dtype().size_in_bytes() as u64;
    }
    context.elements(&[usize::try_from(size).unwrap_or(usize::MAX)], 1)?;
    let tensors: Vec<&Tensor> = all.iter().map(|next| &next.tensor).collect();
    Ok(vec![first.with(Tensor::cat(&tensors, at)?).into()])
}

fn pack(args: &Args, at: i64, context: &Context<'_>) -> Result<Vec<Value>> {
    if let Ok(Value::Strings(first)) = args.value(0) {
        let mut dims = first.dims.clone();
        if axis(at, dims.len() + 1)? != 0 {
            return Err(Error::operand("strings are stacked along the first axis only"));
        }
        dims.insert(0, args.len());
        let all = (0..args.len()).map(|place| Ok(args.strings(place)?.elements.to_vec()));
        let all: Vec<Vec<u8>> = all.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        return Ok(vec![Value::Strings(Strings::new(all, &dims)?)]);
    }
    let all = args.tensors(0..args.len())?;
    let first = *all.first().ok_or_else(|| Error::graph("nothing is stacked"))?;
    let at = axis(at, first.dims().len() + 1)?;
    if all
        .iter()
        .any(|next| next.dims() != first.dims() || next.dtype != first.dtype)
    {
        return Err(Error::operand("tensors of different shapes or dtypes are stacked"));
    }
    context.elements(
        &[first.tensor.elem_count(), all.len()],
        first.tensor.dtype().size_in_bytes(),
    )?;
    let tensors: Vec<Tensor> = all
        .iter()
        .map(|next| next.tensor.unsqueeze(at))
        .collect::<Result<_, _>>()?;
    Ok(vec![first.with(Tensor::cat(&tensors, at)?).into()])
}

/// Sizes of which one may be -1.
fn open_sizes(sizes: &[i64], len: usize) -> Result<Vec<usize>> {
    let wrong = || Error::operand(format!("{len} is split into {sizes:?}"));
    let known = sizes.iter().filter(|size| **size != -1);
    let known = known
        .map(|size| usize::try_from(*size).map_err(|_| wrong()))
        .collect::<Result<Vec<usize>>>()?;
    let sum = known
        .iter()
        .try_fold(0usize, |sum, size| sum.checked_add(*size))
        .ok_or_else(wrong)?;
    let left = len.checked_sub(sum).ok_or_else(wrong)?;
    if sizes.len() - known.len() > 1 || (sizes.len() == known.len() && left != 0) {
        return Err(wrong());
    }
    Ok(sizes
        .iter()
        .map(|size| usize::try_from(*size).unwrap_or(left))
        .collect())
}

fn parts(x: &TfTensor, at: usize, sizes: &[usize]) -> Result<Vec<Value>> {
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for &size in sizes {
        parts.push(x.with(x.tensor.narrow(at, start, size)?).into());
        start += size;
    }
    Ok(parts)
}

fn tile(args: &mut Args, context: &Context<'_>) -> Result<TfTensor> {
    let (x, times) = (args.tensor(0)?, args.sizes(1)?);
    if times.len() != x.dims().len() {
        return Err(Error::operand(format!("{:?} is repeated {times:?} times", x.dims())));
    }
    let dims = x
        .dims()
        .iter()
        .zip(&times)
        .map(|(dim, times)| dim.saturating_mul(*times));
    let dims: Vec<usize> = dims.collect();
    context.elements(&dims, x.tensor.dtype().size_in_bytes())?;
    let mut tensor = x.tensor.clone();
    if times.contains(&0) {
        return zeros(&dims, x.dtype, context);
    }
    for (axis, &times) in times.iter().enumerate().filter(|(_, times)| **times > 1) {
        tensor = Tensor::cat(&vec![&tensor; times], axis)?;
    }
    Ok(x.with(tensor))
}
