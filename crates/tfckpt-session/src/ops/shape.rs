//! Shapes, and tensors made of them.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::arithmetic::{ints, same, same_each};
use super::broadcast::broadcast;
use super::table::{Args, Ops, axis, many, one};
use crate::context::Context;
use crate::dtype::{carried, is_float, is_int};
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Shape", |attrs| {
        let dtype = attrs.dtype("out_type", DType::Int32)?;
        one(move |args, _| dims_as(&dims_of(args.value(0)?)?, dtype))
    });
    ops.pure("ShapeN", |attrs| {
        let dtype = attrs.dtype("out_type", DType::Int32)?;
        many(move |args, _| {
            let shape = |value| Ok(dims_as(&dims_of(value)?, dtype)?.into());
            args.values().iter().map(shape).collect()
        })
    });
    ops.pure("Size", |attrs| {
        let dtype = attrs.dtype("out_type", DType::Int32)?;
        one(move |args, _| ints(vec![signed(dims_of(args.value(0)?)?.iter().product())], &[], dtype))
    });
    ops.pure("Rank", |_| {
        one(|args, _| ints(vec![signed(dims_of(args.value(0)?)?.len())], &[], DType::Int32))
    });
    ops.pure("Reshape", |_| {
        many(|args, _| {
            let wanted = args.ints(1)?;
            Ok(vec![reshape(args.value(0)?, &wanted)?])
        })
    });
    ops.pure("Squeeze", |attrs| {
        let axes = match attrs.get("squeeze_dims") {
            Some(_) => attrs.ints("squeeze_dims")?,
            None => attrs.ints("axis")?,
        };
        many(move |args, _| squeeze(args, &axes))
    });
    ops.pure("ExpandDims", |_| {
        many(|args, _| {
            let mut dims = dims_of(args.value(0)?)?;
            let place = axis(args.int(1)?, dims.len() + 1)?;
            dims.insert(place, 1);
            Ok(vec![with_dims(args.value(0)?, &dims)?])
        })
    });
    ops.pure("Fill", |_| {
        many(|args, context| {
            let dims = args.sizes(0)?;
            if let Value::Strings(text) = args.value(1)? {
                let text = text.elements.first().cloned().unwrap_or_default();
                let count = context.elements(&dims, size_of::<Vec<u8>>() + text.len())?;
                return Ok(vec![Value::Strings(Strings::new(vec![text; count], &dims)?)]);
            }
            let value = args.tensor(1)?;
            context.elements(&dims, value.tensor.dtype().size_in_bytes())?;
            let scalar = value.tensor.reshape(())?;
            Ok(vec![
                value.with(scalar.broadcast_as(dims.as_slice())?.contiguous()?).into(),
            ])
        })
    });
    ops.pure("ZerosLike", |_| {
        one(|args, _| Ok(args.tensor(0)?.with(args.tensor(0)?.tensor.zeros_like()?)))
    });
    ops.pure("OnesLike", |_| {
        one(|args, _| Ok(args.tensor(0)?.with(args.tensor(0)?.tensor.ones_like()?)))
    });
    ops.pure("Empty", |attrs| {
        let dtype = attrs.dtype("dtype", DType::Float32)?;
        one(move |args, context| zeros(&args.sizes(0)?, dtype, context))
    });
    ops.pure("Range", |_| one(range));
    ops.pure("LinSpace", |_| one(lin_space));
    ops.pure("BroadcastTo", |_| {
        one(|args, context| {
            let (x, dims) = (args.tensor(0)?, args.sizes(1)?);
            context.elements(&dims, x.tensor.dtype().size_in_bytes())?;
            if broadcast(x.dims(), &dims)? != dims {
                return Err(Error::operand(format!(
                    "{:?} cannot be stretched to {dims:?}",
                    x.dims()
                )));
            }
            Ok(x.with(x.tensor.broadcast_as(dims.as_slice())?.contiguous()?))
        })
    });
    ops.pure("BroadcastArgs", |_| {
        one(|args, _| dims_as(&broadcast(&args.sizes(0)?, &args.sizes(1)?)?, args.tensor(0)?.dtype))
    });
    ops.pure("BroadcastGradientArgs", |_| {
        many(|args, _| broadcast_gradient_args(args))
    });
    ops.pure("InvertPermutation", |_| {
        one(|args, _| {
            let places = args.sizes(0)?;
            let mut inverse = vec![None; places.len()];
            for (place, &to) in places.iter().enumerate() {
                match inverse.get_mut(to) {
                    Some(slot @ None) => *slot = Some(signed(place)),
                    _ => return Err(Error::operand(format!("{places:?} is no permutation"))),
                }
            }
            let inverse = inverse.into_iter().flatten().collect::<Vec<i64>>();
            ints(inverse, &[places.len()], args.tensor(0)?.dtype)
        })
    });
    ops.pure("ConcatOffset", |_| {
        many(|args, _| {
            let mut offsets = Vec::new();
            let mut at = 0i64;
            let first = args.ints(1)?;
            let axis = axis(args.int(0)?, first.len())?;
            for place in 1..args.len() {
                let shape = args.ints(place)?;
                let mut offset = vec![0; shape.len()];
                if let (Some(slot), Some(len)) = (offset.get_mut(axis), shape.get(axis)) {
                    *slot = at;
                    at = at.saturating_add(*len);
                }
                offsets.push(ints(offset, &[shape.len()], args.tensor(place)?.dtype)?.into());
            }
            Ok(offsets)
        })
    });
    for name in [
        "Identity",
        "Snapshot",
        "PlaceholderWithDefault",
        "LoopCond",
        "RefIdentity",
        "DeepCopy",
        "Print",
    ] {
        ops.pure(name, |_| same());
    }
    ops.pure("IdentityN", |_| same_each());
    for name in ["StopGradient", "PreventGradient"] {
        ops.pure(name, |_| {
            one(|args, _| Ok(args.tensor(0)?.with(args.tensor(0)?.tensor.detach())))
        });
    }
    ops.pure("EnsureShape", |attrs| {
        let wanted = attrs.shape("shape")?;
        many(move |args, _| {
            let dims = dims_of(args.value(0)?)?;
            let fits = wanted.as_ref().is_none_or(|wanted| {
                let fits = |(dim, wanted): (&usize, &Option<u64>)| wanted.is_none_or(|wanted| wanted == *dim as u64);
                wanted.len() == dims.len() && dims.iter().zip(wanted).all(fits)
            });
            match fits {
                true => Ok(vec![args.take(0)?]),
                false => Err(Error::operand(format!("shape {dims:?} is not {wanted:?}"))),
            }
        })
    });
}

pub(crate) fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The dimensions of what has any.
pub(crate) fn dims_of(value: &Value) -> Result<Vec<usize>> {
    match value {
        Value::Tensor(tensor) => Ok(tensor.dims().to_vec()),
        Value::Strings(strings) => Ok(strings.dims.clone()),
        other => Err(Error::operand(format!("{} has no shape", other.name()))),
    }
}

fn dims_as(dims: &[usize], dtype: DType) -> Result<TfTensor> {
    ints(dims.iter().map(|dim| signed(*dim)).collect(), &[dims.len()], dtype)
}

/// The same elements with other dimensions.
pub(crate) fn with_dims(value: &Value, dims: &[usize]) -> Result<Value> {
    Ok(match value {
        Value::Tensor(tensor) => Value::Tensor(tensor.with(tensor.tensor.reshape(dims)?)),
        Value::Strings(strings) => Value::Strings(Strings {
            dims: dims.to_vec(),
            elements: strings.elements.clone(),
        }),
        other => return Err(Error::operand(format!("{} has no shape", other.name()))),
    })
}

/// With one dimension of -1, which is what is left.
pub(crate) fn reshape(value: &Value, wanted: &[i64]) -> Result<Value> {
    let dims = dims_of(value)?;
    let count: usize = dims.iter().product();
    let wrong = || Error::operand(format!("{dims:?} cannot be reshaped to {wanted:?}"));
    let open = wanted.iter().filter(|dim| **dim == -1).count();
    let known = wanted.iter().filter(|dim| **dim != -1);
    let known = known
        .map(|dim| usize::try_from(*dim).map_err(|_| wrong()))
        .collect::<Result<Vec<usize>>>()?;
    let product = known
        .iter()
        .try_fold(1usize, |product, dim| product.checked_mul(*dim))
        .ok_or_else(wrong)?;
    let left = match (open, product) {
        (0, product) if product == count => 1,
        (1, 0) if count == 0 => 0,
        (1, product) if product > 0 && count.is_multiple_of(product) => count / product,
        _ => return Err(wrong()),
    };
    let dim = |dim: &i64| usize::try_from(*dim).unwrap_or(left);
    with_dims(value, &wanted.iter().map(dim).collect::<Vec<usize>>())
}

fn squeeze(args: &Args, axes: &[i64]) -> Result<Vec<Value>> {
    let dims = dims_of(args.value(0)?)?;
    let axes = axes
        .iter()
        .map(|value| axis(*value, dims.len()))
        .collect::<Result<Vec<usize>>>()?;
    let mut left = Vec::new();
    for (place, &dim) in dims.iter().enumerate() {
        match (axes.contains(&place), dim) {
            (true, 1) => {}
            (true, dim) => return Err(Error::operand(format!("dimension {place} is {dim}, not 1"))),
            (false, 1) if axes.is_empty() => {}
            (false, dim) => left.push(dim),
        }
    }
    Ok(vec![with_dims(args.value(0)?, &left)?])
}

/// Zeros of any dtype, floats on the device.
pub(crate) fn zeros(dims: &[usize], dtype: DType, context: &Context<'_>) -> Result<TfTensor> {
    let carried = carried(dtype).ok_or_else(|| Error::dtype("a tensor", dtype))?;
    context.elements(dims, carried.size_in_bytes())?;
    let device = match is_int(dtype) {
        true => &Device::Cpu,
        false => context.device,
    };
    let tensor = Tensor::zeros(dims, carried, device)?;
    Ok(TfTensor { tensor, dtype })
}

fn range(args: &mut Args, context: &Context<'_>) -> Result<TfTensor> {
    let dtype = args.tensor(0)?.dtype;
    if is_int(dtype) {
        let (start, limit, delta) = (args.int(0)?, args.int(1)?, args.int(2)?);
        let span = i128::from(limit) - i128::from(start);
        let delta = i128::from(delta);
        if delta == 0 || (span > 0) != (delta > 0) && span != 0 {
            return Err(Error::operand(format!(
                "no range leads from {start} to {limit} by {delta}"
            )));
        }
        let count = usize::try_from((span.abs() + delta.abs() - 1) / delta.abs()).unwrap_or(usize::MAX);
        let count = context.elements(&[count], size_of::<i64>())?;
        let value = |place: usize| i64::try_from(i128::from(start) + delta * place as i128).unwrap_or(limit);
        return ints((0..count).map(value).collect(), &[count], dtype);
    }
    let (start, limit, delta) = (args.float_scalar(0)?, args.float_scalar(1)?, args.float_scalar(2)?);
    let count = ((limit - start) / delta).ceil();
    if delta == 0.0 || !count.is_finite() || count < 0.0 {
        return Err(Error::operand(format!(
            "no range leads from {start} to {limit} by {delta}"
        )));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is finite and not negative"
    )]
    let count = context.elements(&[count as usize], size_of::<f64>())?;
    let values = (0..count).scan(start, |next, _| {
        let value = *next;
        // TensorFlow adds up in the dtype itself.
        *next = match dtype {
            DType::Float32 => f64::from(super::elementwise::single(*next) + super::elementwise::single(delta)),
            _ => *next + delta,
        };
        Some(value)
    });
    floats(values.collect(), &[count], dtype, context)
}

fn floats(values: Vec<f64>, dims: &[usize], dtype: DType, context: &Context<'_>) -> Result<TfTensor> {
    let carried = carried(dtype)
        .filter(|_| is_float(dtype))
        .ok_or_else(|| Error::dtype("a tensor", dtype))?;
    let tensor = Tensor::from_vec(values, dims, &Device::Cpu)?
        .to_dtype(carried)?
        .to_device(context.device)?;
    Ok(TfTensor { tensor, dtype })
}

fn lin_space(args: &mut Args, context: &Context<'_>) -> Result<TfTensor> {
    let (start, stop) = (args.float_scalar(0)?, args.float_scalar(1)?);
    let count = usize::try_from(args.int(2)?).unwrap_or(0);
    if count == 0 {
        return Err(Error::operand("a range of no numbers"));
    }
    let count = context.elements(&[count], size_of::<f64>())?;
    #[expect(clippy::cast_precision_loss, reason = "no range is so long")]
    let step = (stop - start) / (count.max(2) - 1) as f64;
    #[expect(clippy::cast_precision_loss, reason = "no range is so long")]
    let value = |place: usize| match place {
        place if place > 0 && place + 1 == count => stop,
        place => start + step * place as f64,
    };
    floats(
        (0..count).map(value).collect(),
        &[count],
        args.tensor(0)?.dtype,
        context,
    )
}

/// Along which axes the gradients of two stretched operands are summed.
fn broadcast_gradient_args(args: &Args) -> Result<Vec<Value>> {
    let (a, b) = (args.sizes(0)?, args.sizes(1)?);
    let dims = broadcast(&a, &b)?;
    let summed = |own: &[usize], other: &[usize]| {
        let of = |dims: &[usize], axis: usize, rank: usize| match (axis + dims.len()).checked_sub(rank) {
            Some(axis) => dims.get(axis).copied(),
            None => None,
        };
        let rank = dims.len();
        let axes = (0..rank).filter(|axis| {
            let (own, other) = (of(own, *axis, rank), of(other, *axis, rank));
            own.is_none_or(|dim| dim == 1) && (own != other || own == Some(1))
        });
        axes.map(signed).collect::<Vec<i64>>()
    };
    let dtype = args.tensor(0)?.dtype;
    let vector = |axes: Vec<i64>| -> Result<Value> {
        let count = axes.len();
        Ok(ints(axes, &[count], dtype)?.into())
    };
    if a == b {
        return Ok(vec![vector(Vec::new())?, vector(Vec::new())?]);
    }
    Ok(vec![vector(summed(&a, &b))?, vector(summed(&b, &a))?])
}
