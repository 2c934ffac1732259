//! The same elements in another order.

use candle_core::{Device, Tensor};

use super::shape::signed;
use super::table::{Args, Ops, axis, one};
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    for name in ["Transpose", "ConjugateTranspose"] {
        ops.pure(name, |_| {
            one(|args, _| {
                let (x, order) = (args.tensor(0)?, args.sizes(1)?);
                Ok(x.with(permuted(&x.tensor, &order)?))
            })
        });
    }
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
