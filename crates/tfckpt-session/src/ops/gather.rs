//! Elements by their places.

use candle_core::{Device, Tensor};

use super::shape::{signed, zeros};
use super::table::{Args, Ops, axis, many};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Gather", |_| many(|args, context| gather(args, 0, 0, context)));
    ops.pure("GatherV2", |attrs| {
        let batch = attrs.int("batch_dims", 0)?;
        many(move |args, context| gather(args, args.int(2)?, batch, context))
    });
    ops.impure("ResourceGather", |attrs| {
        let batch = attrs.int("batch_dims", 0)?;
        many(move |args, context| gather(args, batch, batch, context))
    });
    for name in ["GatherNd", "ResourceGatherNd"] {
        ops.pure(name, |_| {
            many(|args, context| match args.value(0)? {
                Value::Strings(strings) => gather_nd_strings(args, strings, context),
                _ => Ok(vec![gather_nd(args, context)?.into()]),
            })
        });
    }
}

/// The places as a vector on the device of what they are places of, after they were compared with its length.
fn places(args: &Args, operand: usize, len: usize, device: &Device) -> Result<Tensor> {
    let values = args.ints(operand)?;
    let within = |value: &&i64| !(0..signed(len)).contains(*value);
    if let Some(value) = values.iter().find(within) {
        return Err(Error::operand(format!("index {value} is not in [0, {len})")));
    }
    let count = values.len();
    Ok(Tensor::from_vec(values, count, &Device::Cpu)?.to_device(device)?)
}

fn gather(args: &Args, at: i64, batch: i64, context: &Context<'_>) -> Result<Vec<Value>> {
    if let Value::Strings(strings) = args.value(0)? {
        return gather_strings(args, strings, at, batch, context);
    }
    let x = args.tensor(0)?;
    let rank = x.dims().len();
    let at = axis(at, rank)?;
    let indices = args.tensor(1)?.dims().to_vec();
    let batch = if batch < 0 {
        batch.saturating_add(signed(indices.len()))
    } else {
        batch
    };
    let batch = usize::try_from(batch)
        .ok()
        .filter(|batch| *batch <= at.min(indices.len()));
    let batch = batch.ok_or_else(|| Error::operand(format!("batch dimensions of {indices:?} in {:?}", x.dims())))?;
    if x.dims().get(..batch) != indices.get(..batch) {
        return Err(Error::operand(format!(
            "places {indices:?} for a batch of {:?}",
            x.dims()
        )));
    }
    let len = x.tensor.dim(at)?;
    let places = places(args, 1, len, x.tensor.device())?;
    let (outer, rest) = x.dims().split_at(at);
    let inner = rest.get(1..).unwrap_or_default();
    let mut dims = outer.to_vec();
    dims.extend(indices.iter().skip(batch));
    dims.extend(inner);
    context.elements(&dims, x.tensor.dtype().size_in_bytes())?;
    let source = x.tensor.contiguous()?;
    if batch == 0 {
        let taken = source.index_select(&places, at)?;
        return Ok(vec![x.with(taken.reshape(dims)?).into()]);
    }
    // [batches, outer, len, inner]: each batch has places of its own.
    let batches: usize = outer.iter().take(batch).product();
    let between: usize = outer.iter().skip(batch).product();
    let width: usize = inner.iter().product();
    let count = places.elem_count() / batches.max(1);
    let source = source.reshape((batches, between, len, width))?;
    let mut taken = Vec::with_capacity(batches);
    for row in 0..batches {
        let places = places.narrow(0, row * count, count)?;
        taken.push(
            source
                .narrow(0, row, 1)?
                .contiguous()?
                .index_select(&places.contiguous()?, 2)?,
        );
    }
    if taken.is_empty() {
        return Ok(vec![zeros(&dims, x.dtype, context)?.into()]);
    }
    Ok(vec![x.with(Tensor::cat(&taken, 0)?.reshape(dims)?).into()])
}

fn gather_strings(args: &Args, strings: &Strings, at: i64, batch: i64, context: &Context<'_>) -> Result<Vec<Value>> {
    if (at, batch, strings.dims.len()) != (0, 0, 1) {
        return Err(Error::operand("strings are gathered from vectors only"));
    }
    let wanted = args.sizes(1)?;
    let found = wanted.iter().map(|place| strings.elements.get(*place));
    let found = found
        .collect::<Option<Vec<&Vec<u8>>>>()
        .ok_or_else(|| Error::operand("an index is not in the vector"))?;
    context.text_bytes(found.iter().map(|text| text.len()))?;
    let found = found.into_iter().cloned().collect();
    Ok(vec![Value::Strings(Strings::new(found, args.tensor(1)?.dims())?)])
}

fn gather_nd_strings(args: &Args, strings: &Strings, context: &Context<'_>) -> Result<Vec<Value>> {
    let (flat, width) = flat_places(args, 1, &strings.dims)?;
    context.elements(&[flat.len(), width], size_of::<Vec<u8>>())?;
    let indices = args.tensor(1)?.dims();
    let (depth, outer) = indices
        .split_last()
        .map_or((0, indices), |(depth, outer)| (*depth, outer));
    let mut dims = outer.to_vec();
    dims.extend(strings.dims.iter().skip(depth));
    let mut found = Vec::new();
    for place in flat {
        let start = usize::try_from(place).unwrap_or(usize::MAX).saturating_mul(width);
        found.extend(strings.elements.iter().skip(start).take(width));
    }
    context.text_bytes(found.iter().map(|text| text.len()))?;
    let found: Vec<Vec<u8>> = found.into_iter().cloned().collect();
    Ok(vec![Value::Strings(Strings::new(found, &dims)?)])
}

/// Row-major places in the first dimensions of a tensor, and how many elements lie at each.
pub(super) fn flat_places(args: &Args, operand: usize, dims: &[usize]) -> Result<(Vec<i64>, usize)> {
    let indices = args.tensor(operand)?;
    let depth = indices.dims().last().copied().unwrap_or(0);
    let (outer, inner) = dims
        .split_at_checked(depth)
        .ok_or_else(|| Error::operand(format!("indices of {depth} numbers in {dims:?}")))?;
    let values = args.ints(operand)?;
    let count = indices
        .tensor
        .elem_count()
        .checked_div(depth)
        .unwrap_or_else(|| indices.dims().iter().rev().skip(1).product());
    let mut flat = Vec::with_capacity(count);
    for row in 0..count {
        let mut place = 0i64;
        for (&value, &dim) in values.iter().skip(row * depth).take(depth).zip(outer) {
            if !(0..signed(dim)).contains(&value) {
                return Err(Error::operand(format!("index {value} is not in [0, {dim})")));
            }
            place = place * signed(dim) + value;
        }
        flat.push(place);
    }
    Ok((flat, inner.iter().product()))
}

fn gather_nd(args: &Args, context: &Context<'_>) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let (flat, width) = flat_places(args, 1, x.dims())?;
    let indices = args.tensor(1)?.dims().to_vec();
    let depth = indices.last().copied().unwrap_or(0);
    let mut dims: Vec<usize> = indices.iter().take(indices.len().saturating_sub(1)).copied().collect();
    dims.extend(x.dims().iter().skip(depth));
    context.elements(&dims, x.tensor.dtype().size_in_bytes())?;
    let rows: usize = x.dims().iter().take(depth).product();
    let table = x.tensor.contiguous()?.reshape((rows, width))?;
    let count = flat.len();
    let flat = Tensor::from_vec(flat, count, &Device::Cpu)?.to_device(x.tensor.device())?;
    Ok(x.with(table.index_select(&flat, 0)?.reshape(dims)?))
}
