//! Sparse tensors: indices, values and a shape, which feature columns are made of.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::arithmetic::ints;
use super::shape::{signed, zeros};
use super::table::{Args, Ops, many, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("SparseToDense", |_| many(to_dense));
    ops.pure("SparseReshape", |_| many(|args, _| reshape(args)));
    ops.pure("SparseFillEmptyRows", |_| many(fill_empty_rows));
    ops.pure("SparseTensorDenseMatMul", |attrs| {
        let (a, b) = (attrs.bool("adjoint_a", false)?, attrs.bool("adjoint_b", false)?);
        one(move |args, context| product(args, a, b, context))
    });
}

/// Rows of indices, each within the shape; and where they lie, row-major.
fn places(indices: &[i64], shape: &[usize]) -> Result<Vec<usize>> {
    let place = |row: &[i64]| {
        let step = |place: usize, (index, dim): (&i64, &usize)| {
            let index = usize::try_from(*index).ok().filter(|index| index < dim)?;
            place.checked_mul(*dim)?.checked_add(index)
        };
        row.iter().zip(shape).try_fold(0, step)
    };
    let all = indices
        .chunks(shape.len().max(1))
        .map(place)
        .collect::<Option<Vec<usize>>>();
    all.ok_or_else(|| Error::operand(format!("an index is not in {shape:?}")))
}

fn to_dense(args: &mut Args, context: &Context<'_>) -> Result<Vec<Value>> {
    let dims = args.sizes(1)?;
    let count = context.elements(&dims, 8)?;
    let indices = args.ints(0)?;
    let at = places(&indices, &dims)?;
    if let Value::Strings(values) = args.value(2)? {
        let empty = args.strings(3)?.elements.first().cloned().unwrap_or_default();
        let longest = values.elements.iter().map(Vec::len).max().unwrap_or(0).max(empty.len());
        context.elements(&dims, size_of::<Vec<u8>>() + longest)?;
        let mut dense = vec![empty; count];
        for (entry, place) in at.into_iter().enumerate() {
            let value = values.elements.get(if values.elements.len() == 1 { 0 } else { entry });
            if let (Some(slot), Some(value)) = (dense.get_mut(place), value) {
                slot.clone_from(value);
            }
        }
        return Ok(vec![Value::Strings(Strings::new(dense, &dims)?)]);
    }
    let (values, empty) = (args.tensor(2)?, args.tensor(3)?);
    let rows = at.len();
    let values = match values.tensor.elem_count() {
        1 => values.tensor.reshape(())?.broadcast_as(rows)?.contiguous()?,
        _ => values.tensor.flatten_all()?,
    };
    if values.elem_count() != rows {
        return Err(Error::operand(format!(
            "{} values at {rows} places",
            values.elem_count()
        )));
    }
    // From the values with the default behind them, each element takes its own.
    let mut from = vec![signed(rows); count];
    for (entry, place) in at.into_iter().enumerate() {
        if let Some(slot) = from.get_mut(place) {
            *slot = signed(entry);
        }
    }
    let table = Tensor::cat(&[&values, &empty.tensor.reshape(1)?], 0)?;
    let from = Tensor::from_vec(from, count, &Device::Cpu)?.to_device(table.device())?;
    Ok(vec![empty.with(table.index_select(&from, 0)?.reshape(dims)?).into()])
}

fn reshape(args: &Args) -> Result<Vec<Value>> {
    let (old, wanted) = (args.sizes(1)?, args.ints(2)?);
    let total = old.iter().try_fold(1usize, |total, dim| total.checked_mul(*dim));
    let wrong = || Error::operand(format!("{old:?} cannot be reshaped to {wanted:?}"));
    let total = total.ok_or_else(wrong)?;
    let mut known = wanted.iter().filter_map(|dim| usize::try_from(*dim).ok());
    let known = known
        .try_fold(1usize, |total, dim| total.checked_mul(dim))
        .ok_or_else(wrong)?;
    let left = total.checked_div(known).unwrap_or(0);
    let new: Vec<usize> = wanted.iter().map(|dim| usize::try_from(*dim).unwrap_or(left)).collect();
    let open = wanted.iter().filter(|dim| **dim == -1).count();
    let count = new.iter().try_fold(1usize, |total, dim| total.checked_mul(*dim));
    if open > 1 || count != Some(total) {
        return Err(wrong());
    }
    let indices = args.ints(0)?;
    let mut moved = Vec::new();
    for place in places(&indices, &old)? {
        let mut rest = place;
        let mut row: Vec<i64> = Vec::with_capacity(new.len());
        for &dim in new.iter().rev() {
            row.push(signed(rest % dim.max(1)));
            rest /= dim.max(1);
        }
        moved.extend(row.into_iter().rev());
    }
    let rows = args.tensor(0)?.dims().first().copied().unwrap_or(0);
    let shape = new.iter().map(|dim| signed(*dim)).collect();
    Ok(vec![
        ints(moved, &[rows, new.len()], DType::Int64)?.into(),
        ints(shape, &[new.len()], DType::Int64)?.into(),
    ])
}

/// Rows without an entry get one, at column 0.
fn fill_empty_rows(args: &mut Args, context: &Context<'_>) -> Result<Vec<Value>> {
    let (indices, shape) = (args.ints(0)?, args.sizes(2)?);
    let rows = shape
        .first()
        .copied()
        .ok_or_else(|| Error::operand("a sparse scalar has no rows"))?;
    context.elements(&[rows], 8)?;
    let width = shape.len();
    places(&indices, &shape)?;
    let mut by_row: Vec<Vec<usize>> = vec![Vec::new(); rows];
    for (entry, index) in indices.chunks(width).enumerate() {
        let row = index.first().and_then(|row| usize::try_from(*row).ok());
        if let Some(row) = row.and_then(|row| by_row.get_mut(row)) {
            row.push(entry);
        }
    }
    let entries = indices.len() / width;
    let (mut order, mut filled, mut empty, mut back) = (Vec::new(), Vec::new(), Vec::new(), vec![0; entries]);
    for (row, own) in by_row.iter().enumerate() {
        empty.push(u8::from(own.is_empty()));
        if own.is_empty() {
            filled.push(signed(row));
            filled.extend(std::iter::repeat_n(0, width - 1));
            order.push(entries);
        }
        for &entry in own {
            filled.extend(indices.iter().skip(entry * width).take(width));
            if let Some(slot) = back.get_mut(entry) {
                *slot = signed(order.len());
            }
            order.push(entry);
        }
    }
    let count = order.len();
    let values = match args.value(1)? {
        Value::Strings(values) => {
            let default = args.strings(3)?.elements.first().cloned().unwrap_or_default();
            let value = |entry: usize| values.elements.get(entry).cloned().unwrap_or_else(|| default.clone());
            Value::Strings(Strings::new(order.into_iter().map(value).collect(), &[count])?)
        }
        _ => {
            let (values, default) = (args.tensor(1)?, args.tensor(3)?);
            let table = Tensor::cat(&[&values.tensor, &default.tensor.reshape(1)?], 0)?;
            let taken = match count {
                0 => table.narrow(0, 0, 0)?,
                _ => super::turns::picked(&table, 0, order.into_iter().map(signed).collect())?,
            };
            values.with(taken).into()
        }
    };
    Ok(vec![
        ints(filled, &[count, width], DType::Int64)?.into(),
        values,
        TfTensor::truths(empty, &[rows])?.into(),
        ints(back, &[entries], DType::Int64)?.into(),
    ])
}

fn product(args: &Args, adjoint_a: bool, adjoint_b: bool, context: &Context<'_>) -> Result<TfTensor> {
    let (values, b) = (args.tensor(1)?, args.tensor(3)?);
    let shape = args.sizes(2)?;
    let count = context.elements(&shape, 8)?;
    let at = places(&args.ints(0)?, &shape)?;
    let flat = zeros(&[count], values.dtype, context)?;
    let rows = at.len();
    let at = Tensor::from_vec(at.into_iter().map(signed).collect::<Vec<i64>>(), rows, &Device::Cpu)?;
    let a = match rows {
        0 => flat.tensor,
        _ => flat
            .tensor
            .index_add(&at.to_device(flat.tensor.device())?, &values.tensor, 0)?,
    };
    let a = a.reshape(shape)?;
    let a = if adjoint_a { a.t()? } else { a };
    let right = if adjoint_b { b.tensor.t()? } else { b.tensor.clone() };
    context.elements(&[a.dim(0)?, right.dim(1)?], 8)?;
    Ok(b.with(a.matmul(&right)?))
}
