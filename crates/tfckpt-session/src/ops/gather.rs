//! Elements by their places, and back to them.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use tfckpt::{AttrValue, DType};

use super::arithmetic::ints;
use super::segments::Fold;
use super::shape::{reshape, signed, zeros};
use super::table::{Args, Ops, axis, many, one};
use crate::context::Context;
use crate::dtype::{is_float, is_int};
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
        ops.pure(name, |_| one(|args, context| gather_nd(args, context)));
    }
    ops.pure("ScatterNd", |_| {
        one(|args, context| {
            let target = zeros(&args.sizes(2)?, args.tensor(1)?.dtype, context)?;
            scatter(&target, args, 0, 1, true)
        })
    });
    ops.pure("TensorScatterAdd", |_| {
        one(|args, _| scatter(args.tensor(0)?, args, 1, 2, true))
    });
    ops.pure("TensorScatterSub", |_| {
        one(|args, context| {
            let updates = args.tensor(2)?;
            let none = zeros(updates.dims(), updates.dtype, context)?;
            let negative = updates.with((&none.tensor - &updates.tensor)?);
            let changed = Args::new(vec![args.value(0)?.clone(), args.value(1)?.clone(), negative.into()]);
            scatter(changed.tensor(0)?, &changed, 1, 2, true)
        })
    });
    for (name, fold) in [
        ("TensorScatterMax", Fold::Largest),
        ("TensorScatterMin", Fold::Smallest),
    ] {
        ops.pure(name, move |_| one(move |args, _| scatter_extreme(args, fold)));
    }
    ops.pure("ListDiff", |attrs| {
        let dtype = attrs.dtype("out_idx", DType::Int32)?;
        many(move |args, _| list_diff(args, dtype))
    });
    ops.pure("Bucketize", |attrs| {
        let list = match attrs.get("boundaries") {
            Some(AttrValue::List(list)) => list,
            _ => Vec::new(),
        };
        let boundary = |value: AttrValue<'_>| match value {
            AttrValue::Float(value) => Ok(f64::from(value)),
            _ => Err(Error::graph("a boundary is no number")),
        };
        let boundaries = list.into_iter().map(boundary).collect::<Result<Vec<f64>>>()?;
        one(move |args, _| {
            let x = args.tensor(0)?;
            let bucket = |value: f64| signed(boundaries.partition_point(|boundary| *boundary <= value));
            ints(ordered(x)?.into_iter().map(bucket).collect(), x.dims(), DType::Int32)
        })
    });
    ops.pure("TensorScatterUpdate", |_| {
        one(|args, _| scatter(args.tensor(0)?, args, 1, 2, false))
    });
    for name in ["TopK", "TopKV2"] {
        ops.pure(name, move |attrs| {
            let count = attrs.count("k", 0)?;
            let sorted = attrs.dtype("index_type", DType::Int32)?;
            many(move |args, _| {
                let count = match name {
                    "TopK" => count,
                    _ => usize::try_from(args.int(1)?).map_err(|_| Error::operand("a negative k"))?,
                };
                top_k(args, count, sorted)
            })
        });
    }
    for name in ["InTopK", "InTopKV2"] {
        ops.pure(name, move |attrs| {
            let count = attrs.int("k", 1)?;
            one(move |args, _| in_top_k(args, if args.len() > 2 { args.int(2)? } else { count }))
        });
    }
    for name in ["DynamicStitch", "ParallelDynamicStitch"] {
        ops.pure(name, |_| one(dynamic_stitch));
    }
    ops.pure("DynamicPartition", |attrs| {
        let count = attrs.count("num_partitions", 1)?;
        many(move |args, _| dynamic_partition(args, count))
    });
    for name in ["Unique", "UniqueWithCounts"] {
        ops.pure(name, |attrs| {
            let dtype = attrs.dtype("out_idx", DType::Int32)?;
            many(move |args, _| unique(args, dtype))
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
        return gather_strings(args, strings, at, batch);
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

fn gather_strings(args: &Args, strings: &Strings, at: i64, batch: i64) -> Result<Vec<Value>> {
    if (at, batch, strings.dims.len()) != (0, 0, 1) {
        return Err(Error::operand("strings are gathered from vectors only"));
    }
    let wanted = args.sizes(1)?;
    let found = wanted.iter().map(|place| strings.elements.get(*place).cloned());
    let found = found
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Error::operand("an index is not in the vector"))?;
    Ok(vec![Value::Strings(Strings::new(found, args.tensor(1)?.dims())?)])
}

/// Row-major places in the first dimensions of a tensor, and how many elements lie at each.
fn flat_places(args: &Args, operand: usize, dims: &[usize]) -> Result<(Vec<i64>, usize)> {
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

/// Adds updates to a tensor at places, or puts them there.
fn scatter(target: &TfTensor, args: &Args, indices: usize, updates: usize, adds: bool) -> Result<TfTensor> {
    let updates = args.tensor(updates)?;
    let (flat, width) = flat_places(args, indices, target.dims())?;
    let count = flat.len();
    if updates.tensor.elem_count() != count * width {
        return Err(Error::operand(format!(
            "updates of {:?} at {count} places of {:?}",
            updates.dims(),
            target.dims()
        )));
    }
    let rows = target.tensor.elem_count().checked_div(width).unwrap_or(0);
    let table = target.tensor.contiguous()?.reshape((rows, width))?;
    let source = updates.tensor.contiguous()?.reshape((count, width))?;
    let device = table.device();
    let places = Tensor::from_vec(flat.clone(), count, &Device::Cpu)?.to_device(device)?;
    let result = match adds {
        true => table.index_add(&places, &source, 0)?,
        false => {
            // Of several updates at one place the last one counts.
            let mut last: Vec<i64> = (0..signed(rows)).collect();
            for (update, place) in flat.iter().enumerate() {
                if let Some(slot) = usize::try_from(*place).ok().and_then(|place| last.get_mut(place)) {
                    *slot = signed(rows + update);
                }
            }
            let from = Tensor::from_vec(last, rows, &Device::Cpu)?.to_device(device)?;
            Tensor::cat(&[&table, &source], 0)?.index_select(&from, 0)?
        }
    };
    let result = target.with(result.reshape(target.dims())?);
    match is_int(result.dtype) {
        true => ints(result.to_ints()?, result.dims(), result.dtype),
        false => Ok(result),
    }
}

/// Replaces what is smaller, or larger, than its update.
fn scatter_extreme(args: &Args, fold: Fold) -> Result<TfTensor> {
    let (target, updates) = (args.tensor(0)?, args.tensor(2)?);
    let (flat, width) = flat_places(args, 1, target.dims())?;
    let (mut held, new) = (ordered(target)?, ordered(updates)?);
    for (row, place) in new.chunks(width.max(1)).zip(flat) {
        let start = usize::try_from(place).unwrap_or(0) * width;
        for (slot, value) in held.iter_mut().skip(start).zip(row) {
            *slot = fold.float(*slot, *value);
        }
    }
    let result = TfTensor {
        tensor: Tensor::from_vec(held, target.dims(), &Device::Cpu)?,
        dtype: DType::Float64,
    };
    super::cast::cast(&result, target.dtype, target.tensor.device())
}

/// What of the first vector is not in the second, and where it is.
fn list_diff(args: &Args, dtype: DType) -> Result<Vec<Value>> {
    let (x, y) = (args.ints(0)?, args.ints(1)?);
    let left = x.iter().enumerate().filter(|(_, value)| !y.contains(value));
    let (places, values): (Vec<i64>, Vec<i64>) = left.map(|(place, value)| (signed(place), *value)).unzip();
    let count = values.len();
    Ok(vec![
        ints(values, &[count], args.tensor(0)?.dtype)?.into(),
        ints(places, &[count], dtype)?.into(),
    ])
}

/// The values of integers or floats, as numbers that are ordered.
pub(crate) fn ordered(x: &TfTensor) -> Result<Vec<f64>> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "ties of numbers beyond 2^53 are decided by place"
    )]
    let float = |value: i64| value as f64;
    match is_float(x.dtype) {
        true => {
            let flat = x.tensor.detach().to_device(&Device::Cpu)?.flatten_all()?;
            Ok(flat.to_dtype(candle_core::DType::F64)?.to_vec1()?)
        }
        false => Ok(x.to_ints()?.into_iter().map(float).collect()),
    }
}

fn top_k(args: &Args, count: usize, dtype: DType) -> Result<Vec<Value>> {
    let x = args.tensor(0)?;
    let len = x.dims().last().copied().unwrap_or(0);
    if count > len || x.dims().is_empty() {
        return Err(Error::operand(format!("the {count} largest of {:?}", x.dims())));
    }
    let values = ordered(x)?;
    let mut places = Vec::new();
    for row in values.chunks_exact(len.max(1)) {
        let mut order: Vec<(usize, f64)> = row.iter().copied().enumerate().collect();
        order.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
        places.extend(order.into_iter().take(count).map(|(place, _)| signed(place)));
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = count;
    }
    let rank = dims.len();
    let picked = Tensor::from_vec(places.clone(), dims.as_slice(), &Device::Cpu)?.to_device(x.tensor.device())?;
    let found = match picked.elem_count() {
        0 => x.tensor.narrow(rank - 1, 0, count)?,
        _ => x.tensor.contiguous()?.gather(&picked, rank - 1)?,
    };
    Ok(vec![x.with(found).into(), ints(places, &dims, dtype)?.into()])
}

fn in_top_k(args: &Args, count: i64) -> Result<TfTensor> {
    let (predictions, targets) = (args.tensor(0)?, args.ints(1)?);
    let values = ordered(predictions)?;
    let len = predictions.dims().last().copied().unwrap_or(0).max(1);
    let hits = values.chunks_exact(len).zip(targets).map(|(row, target)| {
        let held = usize::try_from(target).ok().and_then(|target| row.get(target)).copied();
        let finite = row.iter().all(|value| value.is_finite());
        u8::from(finite && held.is_some_and(|held| signed(row.iter().filter(|value| **value > held).count()) < count))
    });
    let hits: Vec<u8> = hits.collect();
    let rows = hits.len();
    TfTensor::truths(hits, &[rows])
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

/// The distinct elements of a vector in the order of their first appearance, the place of each element among them, and how
/// often each appears.
fn unique(args: &Args, dtype: DType) -> Result<Vec<Value>> {
    let mut firsts: Vec<i64> = Vec::new();
    let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
    let (mut ids, mut counts) = (Vec::new(), Vec::new());
    let keys: Vec<Vec<u8>> = match args.value(0)? {
        Value::Strings(strings) => strings.elements.to_vec(),
        _ => ordered(args.tensor(0)?)?
            .into_iter()
            .map(|value| (value + 0.0).to_le_bytes().to_vec())
            .collect(),
    };
    for (place, key) in keys.into_iter().enumerate() {
        let next = seen.len();
        let id = *seen.entry(key).or_insert(next);
        if id == next {
            firsts.push(signed(place));
            counts.push(0);
        }
        if let Some(count) = counts.get_mut(id) {
            *count += 1;
        }
        ids.push(signed(id));
    }
    let distinct = match args.value(0)? {
        Value::Strings(strings) => {
            let found = firsts
                .iter()
                .filter_map(|place| strings.elements.get(usize::try_from(*place).ok()?).cloned());
            Value::Strings(Strings::new(found.collect(), &[firsts.len()])?)
        }
        value => {
            let x = args.tensor(0)?;
            let flat = reshape(value, &[-1])?;
            let Value::Tensor(flat) = flat else {
                return Err(Error::operand("expected a tensor"));
            };
            match firsts.is_empty() {
                true => x.clone().into(),
                false => x.with(super::array::picked(&flat.tensor, 0, firsts)?).into(),
            }
        }
    };
    let (ids_len, counts_len) = (ids.len(), counts.len());
    Ok(vec![
        distinct,
        ints(ids, &[ids_len], dtype)?.into(),
        ints(counts, &[counts_len], dtype)?.into(),
    ])
}
