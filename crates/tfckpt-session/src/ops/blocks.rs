//! Blocks of space in the batch or in the channels, and back.

use super::pads::padded_dims;
use super::shape::signed;
use super::table::{Args, Ops, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
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
