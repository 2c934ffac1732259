//! Tensors put together, taken apart and rearranged.

use candle_core::{Device, Tensor};

use super::shape::{signed, zeros};
use super::table::{Args, Ops, axis, many, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    for name in ["Transpose", "ConjugateTranspose"] {
        ops.pure(name, |_| {
            one(|args, _| {
                let (x, order) = (args.tensor(0)?, args.sizes(1)?);
                Ok(x.with(permuted(&x.tensor, &order)?))
            })
        });
    }
    ops.pure("ConcatV2", |_| {
        many(|args, context| {
            let last = args.len().saturating_sub(1);
            concat(args, 0..last, args.int(last)?, context)
        })
    });
    ops.pure("Concat", |_| {
        many(|args, context| concat(args, 1..args.len(), args.int(0)?, context))
    });
    for name in ["Pack", "Stack"] {
        ops.pure(name, |attrs| {
            let at = attrs.int("axis", 0)?;
            many(move |args, context| pack(args, at, context))
        });
    }
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
    ops.pure("ReverseV2", |_| {
        one(|args, _| {
            let x = args.tensor(0)?;
            let rank = x.dims().len();
            let axes = args
                .ints(1)?
                .into_iter()
                .map(|value| axis(value, rank))
                .collect::<Result<Vec<usize>>>()?;
            Ok(x.with(reversed(&x.tensor, &axes)?))
        })
    });
    ops.pure("Reverse", |_| {
        one(|args, _| {
            let x = args.tensor(0)?;
            let axes = args.ints(1)?.into_iter().enumerate().filter(|(_, set)| *set != 0);
            Ok(x.with(reversed(
                &x.tensor,
                &axes.map(|(axis, _)| axis).collect::<Vec<usize>>(),
            )?))
        })
    });
    ops.pure("ReverseSequence", |attrs| {
        let (along, batch) = (attrs.int("seq_dim", 0)?, attrs.int("batch_dim", 0)?);
        one(move |args, _| reverse_sequence(args, along, batch))
    });
    ops.pure("Roll", |_| one(|args, _| roll(args)));
    ops.pure("Pad", |_| one(|args, context| pad(args, None, context)));
    ops.pure("PadV2", |_| one(|args, context| pad(args, Some(2), context)));
    ops.pure("MirrorPad", |attrs| {
        let symmetric = attrs.text("mode", "REFLECT")? == "SYMMETRIC";
        one(move |args, context| mirror_pad(args, symmetric, context))
    });
    ops.pure("SpaceToBatchND", |_| one(space_to_batch));
    ops.pure("BatchToSpaceND", |_| one(|args, _| batch_to_space(args)));
    ops.pure("SpaceToBatch", |attrs| {
        let block = attrs.count("block_size", 2)?;
        one(move |args, context| space_to_batch(&mut with_blocks(args, block)?, context))
    });
    ops.pure("BatchToSpace", |attrs| {
        let block = attrs.count("block_size", 2)?;
        one(move |args, _| batch_to_space(&with_blocks(args, block)?))
    });
    ops.pure("SpaceToDepth", |attrs| {
        let (block, first) = (
            attrs.count("block_size", 2)?,
            attrs.text("data_format", "NHWC")? == "NCHW",
        );
        one(move |args, _| depth(args, block, first, true))
    });
    ops.pure("DepthToSpace", |attrs| {
        let (block, first) = (
            attrs.count("block_size", 2)?,
            attrs.text("data_format", "NHWC")? == "NCHW",
        );
        one(move |args, _| depth(args, block, first, false))
    });
    ops.pure("OneHot", |attrs| {
        let at = attrs.int("axis", -1)?;
        one(move |args, context| one_hot(args, at, context))
    });
    ops.pure("MatrixBandPart", |_| one(|args, _| band_part(args)));
}

/// The axes in another order.
fn permuted(x: &Tensor, order: &[usize]) -> Result<Tensor> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if sorted != (0..x.rank()).collect::<Vec<usize>>() {
        return Err(Error::operand(format!(
            "{order:?} is no order of the axes of {:?}",
            x.dims()
        )));
    }
    Ok(x.permute(order)?.contiguous()?)
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

/// Elements of an axis in the order of `places`.
pub(crate) fn picked(x: &Tensor, axis: usize, places: Vec<i64>) -> Result<Tensor> {
    let count = places.len();
    let places = Tensor::from_vec(places, count, &Device::Cpu)?.to_device(x.device())?;
    Ok(x.contiguous()?.index_select(&places, axis)?)
}

fn reversed(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let mut x = x.clone();
    for &axis in axes {
        let len = x.dim(axis)?;
        if len > 1 {
            x = picked(&x, axis, (0..len).rev().map(signed).collect())?;
        }
    }
    Ok(x)
}

fn reverse_sequence(args: &Args, along: i64, batch: i64) -> Result<TfTensor> {
    let (x, lengths) = (args.tensor(0)?, args.sizes(1)?);
    let rank = x.dims().len();
    let (along, batch) = (axis(along, rank)?, axis(batch, rank)?);
    let len = x.tensor.dim(along)?;
    if lengths.len() != x.tensor.dim(batch)? || along == batch {
        return Err(Error::operand(format!("{} lengths for {:?}", lengths.len(), x.dims())));
    }
    let mut rows = Vec::with_capacity(lengths.len());
    for (row, &length) in lengths.iter().enumerate() {
        if length > len {
            return Err(Error::operand(format!("a length of {length} of {len}")));
        }
        let places = (0..length).rev().chain(length..len).map(signed).collect();
        rows.push(picked(&x.tensor.narrow(batch, row, 1)?, along, places)?);
    }
    match rows.is_empty() {
        true => Ok(x.clone()),
        false => Ok(x.with(Tensor::cat(&rows, batch)?)),
    }
}

fn roll(args: &Args) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let (shifts, axes) = (args.ints(1)?, args.ints(2)?);
    let mut tensor = x.tensor.clone();
    for (&shift, &at) in shifts.iter().zip(&axes) {
        let at = axis(at, x.dims().len())?;
        let len = signed(tensor.dim(at)?);
        if len > 1 {
            let places = (0..len).map(|place| (place - shift % len + len) % len);
            tensor = picked(&tensor, at, places.collect())?;
        }
    }
    Ok(x.with(tensor))
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

fn padded_dims(x: &TfTensor, paddings: &[(usize, usize)], context: &Context<'_>) -> Result<()> {
    let dims = x.dims().iter().zip(paddings);
    let dims = dims.map(|(dim, (a, b))| dim.saturating_add(*a).saturating_add(*b));
    let dims: Vec<usize> = dims.collect();
    context.elements(&dims, x.tensor.dtype().size_in_bytes()).map(|_| ())
}

fn pad(args: &Args, value: Option<usize>, context: &Context<'_>) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let paddings = paddings(args, x.dims().len())?;
    padded_dims(x, &paddings, context)?;
    let mut tensor = x.tensor.clone();
    for (axis, &(before, after)) in paddings.iter().enumerate() {
        if (before, after) == (0, 0) {
            continue;
        }
        tensor = match value {
            None => tensor.pad_with_zeros(axis, before, after)?,
            Some(value) => {
                let fill = args.tensor(value)?.tensor.reshape(())?;
                let side = |count: usize| {
                    let mut dims = tensor.dims().to_vec();
                    if let Some(dim) = dims.get_mut(axis) {
                        *dim = count;
                    }
                    fill.broadcast_as(dims)?.contiguous()
                };
                Tensor::cat(&[&side(before)?, &tensor, &side(after)?], axis)?
            }
        };
    }
    Ok(x.with(tensor))
}

fn mirror_pad(args: &Args, symmetric: bool, context: &Context<'_>) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let paddings = paddings(args, x.dims().len())?;
    padded_dims(x, &paddings, context)?;
    let mut tensor = x.tensor.clone();
    for (axis, &(before, after)) in paddings.iter().enumerate() {
        if (before, after) == (0, 0) {
            continue;
        }
        let len = tensor.dim(axis)?;
        let edge = usize::from(!symmetric);
        if before.max(after) + edge > len {
            return Err(Error::operand(format!("a mirror of {} of {len}", before.max(after))));
        }
        let left = (edge..edge + before).rev();
        let right = (0..after).map(|place| len - 1 - edge - place);
        tensor = picked(&tensor, axis, left.chain(0..len).chain(right).map(signed).collect())?;
    }
    Ok(x.with(tensor))
}

fn space_to_batch(args: &mut Args, context: &Context<'_>) -> Result<TfTensor> {
    let (x, blocks, paddings) = (args.tensor(0)?, args.sizes(1)?, args.sizes(2)?);
    let paddings: Vec<(usize, usize)> = paddings.as_chunks::<2>().0.iter().map(|[a, b]| (*a, *b)).collect();
    let spaces = blocks.len();
    if x.dims().len() <= spaces || paddings.len() != spaces || blocks.contains(&0) {
        return Err(Error::operand(format!("blocks of {blocks:?} in {:?}", x.dims())));
    }
    let all: Vec<(usize, usize)> = std::iter::once((0, 0)).chain(paddings.iter().copied()).collect();
    padded_dims(x, &all, context)?;
    let mut tensor = x.tensor.clone();
    for (axis, &(before, after)) in paddings.iter().enumerate() {
        tensor = tensor.pad_with_zeros(axis + 1, before, after)?;
    }
    let dims = tensor.dims().to_vec();
    let (batch, rest) = dims.split_first().ok_or_else(|| Error::graph("a scalar"))?;
    let (space, depth) = rest.split_at(spaces);
    let mut split = vec![*batch];
    for (&dim, &block) in space.iter().zip(&blocks) {
        if dim % block != 0 {
            return Err(Error::operand(format!("blocks of {blocks:?} in {dims:?}")));
        }
        split.extend([dim / block, block]);
    }
    split.extend(depth);
    let inner = (0..spaces).map(|space| 2 + 2 * space);
    let outer = (0..spaces).map(|space| 1 + 2 * space);
    let order = inner
        .chain([0])
        .chain(outer)
        .chain(1 + 2 * spaces..1 + 2 * spaces + depth.len());
    let order: Vec<usize> = order.collect();
    let mut result = vec![batch * blocks.iter().product::<usize>()];
    result.extend(space.iter().zip(&blocks).map(|(dim, block)| dim / block));
    result.extend(depth);
    let tensor = tensor.reshape(split)?.permute(order)?.contiguous()?.reshape(result)?;
    Ok(x.with(tensor))
}

fn batch_to_space(args: &Args) -> Result<TfTensor> {
    let (x, blocks, crops) = (args.tensor(0)?, args.sizes(1)?, args.sizes(2)?);
    let spaces = blocks.len();
    let product = blocks
        .iter()
        .try_fold(1usize, |product, block| product.checked_mul(*block))
        .unwrap_or(0);
    let (batch, rest) = x
        .dims()
        .split_first()
        .ok_or_else(|| Error::operand("a scalar has no batch"))?;
    if rest.len() < spaces || crops.len() != 2 * spaces || product == 0 || batch % product != 0 {
        return Err(Error::operand(format!("blocks of {blocks:?} in {:?}", x.dims())));
    }
    let (space, depth) = rest.split_at(spaces);
    let mut split = blocks.clone();
    split.push(batch / product);
    split.extend(rest);
    let mut order = vec![spaces];
    for place in 0..spaces {
        order.extend([spaces + 1 + place, place]);
    }
    order.extend(2 * spaces + 1..2 * spaces + 1 + depth.len());
    let mut result = vec![batch / product];
    result.extend(space.iter().zip(&blocks).map(|(dim, block)| dim * block));
    result.extend(depth);
    let mut tensor = x.tensor.reshape(split)?.permute(order)?.contiguous()?.reshape(result)?;
    for (place, [before, after]) in crops.as_chunks::<2>().0.iter().enumerate() {
        let len = tensor.dim(place + 1)?;
        let left = before.checked_add(*after).and_then(|cropped| len.checked_sub(cropped));
        let left = left.ok_or_else(|| Error::operand(format!("{before} and {after} are cropped of {len}")))?;
        tensor = tensor.narrow(place + 1, *before, left)?;
    }
    Ok(x.with(tensor.contiguous()?))
}

/// The operands of the older operations, which have one block size for height and width.
fn with_blocks(args: &Args, block: usize) -> Result<Args> {
    let blocks = TfTensor::ints(vec![signed(block); 2], &[2], tfckpt::DType::Int32)?;
    Ok(Args::new(vec![
        args.value(0)?.clone(),
        blocks.into(),
        args.value(1)?.clone(),
    ]))
}

/// Blocks of space to channels, or back.
fn depth(args: &Args, block: usize, channels_first: bool, to_depth: bool) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let tensor = match channels_first {
        true => x.tensor.permute((0, 2, 3, 1))?,
        false => x.tensor.clone(),
    };
    let (n, h, w, c) = tensor.dims4()?;
    let area = block.checked_mul(block).filter(|area| *area > 0);
    let area = area.ok_or_else(|| Error::graph(format!("blocks of {block}")))?;
    let fits = match to_depth {
        true => h % block == 0 && w % block == 0,
        false => c % area == 0,
    };
    if !fits {
        return Err(Error::operand(format!("blocks of {block} in {:?}", x.dims())));
    }
    let result = match to_depth {
        true => tensor
            .reshape(&[n, h / block, block, w / block, block, c][..])?
            .permute([0, 1, 3, 2, 4, 5])?
            .contiguous()?
            .reshape((n, h / block, w / block, c * area))?,
        false => tensor
            .reshape(&[n, h, w, block, block, c / area][..])?
            .permute([0, 1, 3, 2, 4, 5])?
            .contiguous()?
            .reshape((n, h * block, w * block, c / area))?,
    };
    Ok(x.with(match channels_first {
        true => result.permute((0, 3, 1, 2))?.contiguous()?,
        false => result,
    }))
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
