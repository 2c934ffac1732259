//! Comparisons, truths, and choices by them.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::arithmetic::same_dtype;
use super::broadcast::broadcast;
use super::table::{Args, Kernel, Ops, many, one};
use crate::context::Context;
use crate::dtype::is_int;
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    for (name, f) in ORDER {
        ops.pure(name, move |_| one(move |args, context| compare(args, context, f)));
    }
    for (name, f, differs) in EQUALITY {
        ops.pure(name, move |attrs| {
            let strict = attrs.bool("incompatible_shape_error", true)?;
            one(move |args, context| {
                if let (Value::Strings(x), Value::Strings(y)) = (args.value(0)?, args.value(1)?) {
                    return equal_strings(x, y, differs);
                }
                let (x, y) = (args.tensor(0)?, args.tensor(1)?);
                match !strict && broadcast(x.dims(), y.dims()).is_err() {
                    true => TfTensor::truths(vec![u8::from(differs)], &[]),
                    false => compare(args, context, f),
                }
            })
        });
    }
    ops.pure("LogicalAnd", |_| truths(|a, b| a.broadcast_mul(b)));
    ops.pure("LogicalOr", |_| truths(|a, b| a.broadcast_maximum(b)));
    ops.pure("LogicalNot", |_| {
        one(|args, _| {
            let x = args.tensor(0)?;
            Ok(truth_of(x.tensor.eq(0u8)?))
        })
    });
    ops.pure("ApproximateEqual", |attrs| {
        let tolerance = f64::from(attrs.float("tolerance", 1e-5)?);
        one(move |args, _| {
            let difference = (args.float(0)? - args.float(1)?)?.abs()?;
            Ok(truth_of(difference.lt(tolerance)?))
        })
    });
    ops.pure("Select", |_| many(|args, context| select(args, context, true)));
    ops.pure("SelectV2", |_| many(|args, context| select(args, context, false)));
    ops.pure("Where", |_| one(|args, _| nonzero(args)));
}

type Compare = fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>;

const ORDER: [(&str, Compare); 4] = [
    ("Less", |x, y| x.broadcast_lt(y)),
    ("LessEqual", |x, y| x.broadcast_le(y)),
    ("Greater", |x, y| x.broadcast_gt(y)),
    ("GreaterEqual", |x, y| x.broadcast_ge(y)),
];

const EQUALITY: [(&str, Compare, bool); 2] = [
    ("Equal", |x, y| x.broadcast_eq(y), false),
    ("NotEqual", |x, y| x.broadcast_ne(y), true),
];

fn truth_of(tensor: Tensor) -> TfTensor {
    TfTensor {
        tensor,
        dtype: DType::Bool,
    }
}

fn compare(args: &Args, context: &Context<'_>, f: Compare) -> Result<TfTensor> {
    let (x, y) = (args.tensor(0)?, args.tensor(1)?);
    same_dtype(x, y)?;
    context.elements(&broadcast(x.dims(), y.dims())?, 1)?;
    let (x, y) = together(&x.tensor, &y.tensor)?;
    Ok(truth_of(f(&x.detach(), &y.detach())?))
}

/// Both on the device of one that is not on the CPU.
fn together(x: &Tensor, y: &Tensor) -> Result<(Tensor, Tensor)> {
    let device = match x.device() {
        Device::Cpu => y.device(),
        device => device,
    };
    Ok((x.to_device(device)?, y.to_device(device)?))
}

fn truths(f: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>) -> Result<Kernel> {
    one(move |args, context| {
        let (x, y) = (args.tensor(0)?, args.tensor(1)?);
        context.elements(&broadcast(x.dims(), y.dims())?, 1)?;
        let (x, y) = together(&x.tensor, &y.tensor)?;
        Ok(truth_of(f(&x, &y)?))
    })
}

fn equal_strings(x: &Strings, y: &Strings, differs: bool) -> Result<TfTensor> {
    let (longer, dims) = match (x.elements.len(), y.elements.len()) {
        (a, b) if x.dims == y.dims || b == 1 => (a, &x.dims),
        (1, b) => (b, &y.dims),
        _ => {
            return Err(Error::operand(format!(
                "strings of shapes {:?} and {:?}",
                x.dims, y.dims
            )));
        }
    };
    let of = |strings: &Strings, place: usize| match strings.elements.len() {
        1 => strings.elements.first().cloned(),
        _ => strings.elements.get(place).cloned(),
    };
    let equal = (0..longer).map(|place| u8::from((of(x, place) == of(y, place)) != differs));
    TfTensor::truths(equal.collect(), dims)
}

/// `where(condition, x, y)`. The older one takes whole rows if the condition is a vector, and stretches nothing else.
fn select(args: &Args, context: &Context<'_>, rows: bool) -> Result<Vec<Value>> {
    let condition = &args.tensor(0)?.tensor;
    if let (Value::Strings(_), [truth]) = (args.value(1)?, args.ints(0)?.as_slice()) {
        return Ok(vec![args.value(if *truth != 0 { 1 } else { 2 })?.clone()]);
    }
    let (x, y) = (args.tensor(1)?, args.tensor(2)?);
    same_dtype(x, y)?;
    let condition = match rows && condition.rank() == 1 && x.dims().len() > 1 {
        true => {
            let mut dims = vec![1; x.dims().len()];
            if let Some(first) = dims.first_mut() {
                *first = condition.elem_count();
            }
            condition.reshape(dims)?
        }
        false => condition.clone(),
    };
    let dims = broadcast(&broadcast(condition.dims(), x.dims())?, y.dims())?;
    if rows && (dims != x.dims() || dims != y.dims()) {
        let what = format!(
            "a choice by {:?} between {:?} and {:?}",
            condition.dims(),
            x.dims(),
            y.dims()
        );
        return Err(Error::operand(what));
    }
    context.elements(&dims, x.tensor.dtype().size_in_bytes())?;
    let dims = dims.as_slice();
    let condition = condition
        .to_device(x.tensor.device())?
        .broadcast_as(dims)?
        .contiguous()?;
    let (chosen, other) = (x.tensor.broadcast_as(dims)?, y.tensor.broadcast_as(dims)?);
    let result = condition.where_cond(&chosen.contiguous()?, &other.contiguous()?)?;
    Ok(vec![x.with(result).into()])
}

/// The places of what is not zero, one a row.
fn nonzero(args: &Args) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let dims = x.dims().to_vec();
    let is_set: Vec<bool> = match is_int(x.dtype) || x.dtype == DType::Bool {
        true => x.to_ints()?.into_iter().map(|x| x != 0).collect(),
        false => {
            let flat = x.tensor.to_device(&Device::Cpu)?.flatten_all()?;
            let values = flat.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
            values.into_iter().map(|x| x != 0.0).collect()
        }
    };
    let mut places = Vec::new();
    let mut count = 0;
    for (place, _) in is_set.into_iter().enumerate().filter(|(_, set)| *set) {
        let mut rest = place;
        let mut place = Vec::with_capacity(dims.len());
        for &dim in dims.iter().rev() {
            place.push(i64::try_from(rest % dim.max(1)).unwrap_or(i64::MAX));
            rest /= dim.max(1);
        }
        places.extend(place.into_iter().rev());
        count += 1;
    }
    TfTensor::ints(places, &[count, dims.len()], DType::Int64)
}
