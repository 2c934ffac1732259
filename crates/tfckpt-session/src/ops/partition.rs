//! Rows dealt out to parts, and collected again.

use candle_core::{Device, Tensor};

use super::shape::signed;
use super::table::{Args, Ops, many, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    for name in ["DynamicStitch", "ParallelDynamicStitch"] {
        ops.pure(name, |_| one(dynamic_stitch));
    }
    ops.pure("DynamicPartition", |attrs| {
        let count = attrs.count("num_partitions", 1)?;
        many(move |args, _| dynamic_partition(args, count))
    });
}

fn dynamic_stitch(args: &mut Args, context: &Context<'_>) -> Result<TfTensor> {
    let count = args.len() / 2;
    let first = args.tensor(count)?;
    let inner: Vec<usize> = first
        .dims()
        .iter()
        .skip(args.tensor(0)?.dims().len())
        .copied()
        .collect();
    let width: usize = inner.iter().product();
    let mut all = Vec::new();
    let mut tables = Vec::new();
    for place in 0..count {
        let data = args.tensor(count + place)?;
        let rows = args.ints(place)?;
        tables.push(data.tensor.contiguous()?.reshape((rows.len(), width))?);
        all.extend(rows);
    }
    let rows = all.iter().max().map_or(0, |last| last.saturating_add(1));
    let rows = usize::try_from(rows).map_err(|_| Error::operand("a negative index"))?;
    let mut dims = vec![rows];
    dims.extend(&inner);
    context.elements(&dims, first.tensor.dtype().size_in_bytes().max(8))?;
    // Of several the last one counts; what nobody sets is 0.
    let mut from = vec![signed(all.len()); rows];
    for (place, row) in all.iter().enumerate() {
        let slot = usize::try_from(*row).ok().and_then(|row| from.get_mut(row));
        *slot.ok_or_else(|| Error::operand(format!("index {row} is negative")))? = signed(place);
    }
    let device = first.tensor.device();
    tables.push(Tensor::zeros((1, width), first.tensor.dtype(), device)?);
    let from = Tensor::from_vec(from, rows, &Device::Cpu)?.to_device(device)?;
    Ok(first.with(Tensor::cat(&tables, 0)?.index_select(&from, 0)?.reshape(dims)?))
}

fn dynamic_partition(args: &Args, count: usize) -> Result<Vec<Value>> {
    let (x, parts) = (args.tensor(0)?, args.ints(1)?);
    let depth = args.tensor(1)?.dims().len();
    let inner: Vec<usize> = x.dims().iter().skip(depth).copied().collect();
    let table = x
        .tensor
        .contiguous()?
        .reshape((parts.len(), inner.iter().product::<usize>()))?;
    let mut places: Vec<Vec<i64>> = vec![Vec::new(); count];
    for (place, part) in parts.into_iter().enumerate() {
        let slot = usize::try_from(part).ok().and_then(|part| places.get_mut(part));
        slot.ok_or_else(|| Error::operand(format!("part {part} of {count}")))?
            .push(signed(place));
    }
    let part = |places: Vec<i64>| {
        let rows = places.len();
        let places = Tensor::from_vec(places, rows, &Device::Cpu)?.to_device(x.tensor.device())?;
        let mut dims = vec![rows];
        dims.extend(&inner);
        let taken = match rows {
            0 => table.narrow(0, 0, 0)?,
            _ => table.index_select(&places, 0)?,
        };
        Ok(x.with(taken.reshape(dims)?).into())
    };
    places.into_iter().map(part).collect()
}
