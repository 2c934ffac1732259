//! Sums, products and their kin, stretched to fit each other.

use candle_core::Tensor;
use tfckpt::DType;

use super::broadcast::{broadcast, stretched, zip_ints};
use super::elementwise::{indicator, map, widened, zip};
use super::integers::{floor_div, floor_mod, power, truncate_div, truncate_mod};
use super::table::{Args, Kernel, Ops, many, one};
use crate::context::Context;
use crate::dtype::{is_float, is_int, wrap};
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    for name in ["Add", "AddV2"] {
        ops.pure(name, |_| {
            binary(|x, y, _| Ok(x.broadcast_add(y)?), |a, b| Ok(a.wrapping_add(b)))
        });
    }
    ops.pure("Sub", |_| {
        binary(|x, y, _| Ok(x.broadcast_sub(y)?), |a, b| Ok(a.wrapping_sub(b)))
    });
    ops.pure("Mul", |_| {
        binary(|x, y, _| Ok(x.broadcast_mul(y)?), |a, b| Ok(a.wrapping_mul(b)))
    });
    ops.pure("Div", |_| binary(|x, y, _| Ok(x.broadcast_div(y)?), truncate_div));
    ops.pure("RealDiv", |_| binary(|x, y, _| Ok(x.broadcast_div(y)?), truncate_div));
    ops.pure("TruncateDiv", |_| binary(truncated_quotient, truncate_div));
    ops.pure("FloorDiv", |_| binary(floored_quotient, floor_div));
    ops.pure("FloorMod", |_| binary(floored_rest, floor_mod));
    ops.pure("Mod", |_| binary(truncated_rest, truncate_mod));
    ops.pure("TruncateMod", |_| binary(truncated_rest, truncate_mod));
    ops.pure("Maximum", |_| binary(maximum, |a, b| Ok(a.max(b))));
    ops.pure("Minimum", |_| binary(minimum, |a, b| Ok(a.min(b))));
    ops.pure("Pow", |_| binary(pow, power));
    ops.pure("SquaredDifference", |_| {
        binary(
            |x, y, _| Ok(x.broadcast_sub(y)?.sqr()?),
            |a, b| {
                let difference = a.wrapping_sub(b);
                Ok(difference.wrapping_mul(difference))
            },
        )
    });
    ops.pure("DivNoNan", |_| floats(|x, y, c| guarded(x, y, c, |x, y| Ok((x / y)?))));
    ops.pure("MulNoNan", |_| floats(|x, y, c| guarded(x, y, c, |x, y| Ok((x * y)?))));
    ops.pure("Xdivy", |_| {
        floats(|x, y, c| zero_of_zero(x, y, c, |x, y| Ok((x / y)?)))
    });
    ops.pure("Xlogy", |_| {
        floats(|x, y, c| zero_of_zero(x, y, c, |x, y| Ok((x * y.log()?)?)))
    });
    ops.pure("Xlog1py", |_| {
        floats(|x, y, c| zero_of_zero(x, y, c, |x, y| Ok((x * (y + 1.0)?.log()?)?)))
    });
    ops.pure("Atan2", |_| floats(atan2));
    ops.pure("AddN", |_| one(|args, context| sum_of(args, context)));
    ops.pure("AccumulateNV2", |_| one(|args, context| sum_of(args, context)));
    for name in ["BiasAdd", "BiasAddV1"] {
        ops.pure(name, |attrs| {
            let channels_first = attrs.text("data_format", "NHWC")?.starts_with("NC");
            one(move |args, context| bias_add(args, channels_first, context))
        });
    }
    ops.pure("ClipByValue", |_| one(clip));
    for (name, f) in BITS {
        ops.pure(name, move |_| {
            one(move |args, context| {
                let (a, b) = (args.tensor(0)?, args.tensor(1)?);
                let (values, dims) = zip_ints(a, b, context, |a, b| Ok(f(a, b)))?;
                ints(values, &dims, a.dtype)
            })
        });
    }
    ops.pure("Invert", |_| {
        one(|args, _| {
            let x = args.tensor(0)?;
            ints(x.to_ints()?.into_iter().map(|x| !x).collect(), x.dims(), x.dtype)
        })
    });
}

type Bits = fn(i64, i64) -> i64;

const BITS: [(&str, Bits); 5] = [
    ("BitwiseAnd", |a, b| a & b),
    ("BitwiseOr", |a, b| a | b),
    ("BitwiseXor", |a, b| a ^ b),
    ("LeftShift", |a, b| {
        u32::try_from(b).map_or(0, |b| a.checked_shl(b).unwrap_or(0))
    }),
    ("RightShift", |a, b| u32::try_from(b).map_or(a, |b| a >> b.min(63))),
];

/// Integers, wrapped around where their dtype ends.
pub(crate) fn ints(mut values: Vec<i64>, dims: &[usize], dtype: DType) -> Result<TfTensor> {
    values.iter_mut().for_each(|value| *value = wrap(dtype, *value));
    TfTensor::ints(values, dims, dtype)
}

type Float = fn(&Tensor, &Tensor, &Context<'_>) -> Result<Tensor>;

/// A kernel of two operands of one dtype.
fn binary(float: Float, int: fn(i64, i64) -> Result<i64>) -> Result<Kernel> {
    one(move |args, context| {
        let (x, y) = (args.tensor(0)?, args.tensor(1)?);
        same_dtype(x, y)?;
        if is_float(x.dtype) {
            return float_of(x, y, context, float);
        }
        if !is_int(x.dtype) {
            return Err(Error::dtype("an operand", x.dtype));
        }
        let (values, dims) = zip_ints(x, y, context, int)?;
        ints(values, &dims, x.dtype)
    })
}

/// A kernel of two operands of floats.
fn floats(float: Float) -> Result<Kernel> {
    one(move |args, context| {
        args.float(0)?;
        args.float(1)?;
        let (x, y) = (args.tensor(0)?, args.tensor(1)?);
        same_dtype(x, y)?;
        float_of(x, y, context, float)
    })
}

fn float_of(x: &TfTensor, y: &TfTensor, context: &Context<'_>, float: Float) -> Result<TfTensor> {
    let dims = broadcast(x.dims(), y.dims())?;
    context.elements(&dims, x.tensor.dtype().size_in_bytes())?;
    Ok(x.with(float(&x.tensor, &y.tensor, context)?))
}

pub(crate) fn same_dtype(x: &TfTensor, y: &TfTensor) -> Result<()> {
    match x.dtype == y.dtype {
        true => Ok(()),
        false => Err(Error::operand(format!("operands are {} and {}", x.dtype, y.dtype))),
    }
}

/// The larger one; NaN if one is, and of equal ones the gradient goes to the first, as in TensorFlow.
pub(crate) fn maximum(x: &Tensor, y: &Tensor, context: &Context<'_>) -> Result<Tensor> {
    let (x, y) = stretched(x, y, context)?;
    zip(
        &x,
        &y,
        "maximum",
        |a, b| if a >= b || a.is_nan() { a } else { b },
        |a, b| if a >= b || a.is_nan() { a } else { b },
        |x, y, _| {
            let first = indicator(&x.ge(y)?, x)?;
            let second = first.affine(-1.0, 1.0)?;
            Ok((first, second))
        },
    )
}

/// The smaller one, otherwise as [`maximum`].
pub(crate) fn minimum(x: &Tensor, y: &Tensor, context: &Context<'_>) -> Result<Tensor> {
    let (x, y) = stretched(x, y, context)?;
    zip(
        &x,
        &y,
        "minimum",
        |a, b| if a <= b || a.is_nan() { a } else { b },
        |a, b| if a <= b || a.is_nan() { a } else { b },
        |x, y, _| {
            let first = indicator(&x.le(y)?, x)?;
            let second = first.affine(-1.0, 1.0)?;
            Ok((first, second))
        },
    )
}

fn pow(x: &Tensor, y: &Tensor, context: &Context<'_>) -> Result<Tensor> {
    let (x, y) = stretched(x, y, context)?;
    zip(&x, &y, "pow", f32::powf, f64::powf, |x, y, z| {
        let zeros = x.zeros_like()?;
        let ones = x.ones_like()?;
        let lower = raw_pow(x, &(y - 1.0)?)?;
        let logarithm = x.gt(0.0)?.where_cond(x, &ones)?.log()?;
        let by_exponent = x.gt(0.0)?.where_cond(&(z * logarithm)?, &zeros)?;
        Ok(((y * lower)?, by_exponent))
    })
}

/// A power without a gradient.
fn raw_pow(x: &Tensor, y: &Tensor) -> candle_core::Result<Tensor> {
    let no_gradient = |x: &Tensor, _: &Tensor, _: &Tensor| Ok((x.zeros_like()?, x.zeros_like()?));
    Ok(zip(x, y, "pow", f32::powf, f64::powf, no_gradient)?)
}

fn floor(x: &Tensor) -> Result<Tensor> {
    map(x, "floor", f32::floor, f64::floor, |x, _| x.zeros_like())
}

fn trunc(x: &Tensor) -> Result<Tensor> {
    map(x, "trunc", f32::trunc, f64::trunc, |x, _| x.zeros_like())
}

fn truncated_quotient(x: &Tensor, y: &Tensor, _: &Context<'_>) -> Result<Tensor> {
    trunc(&x.broadcast_div(y)?)
}

fn floored_quotient(x: &Tensor, y: &Tensor, _: &Context<'_>) -> Result<Tensor> {
    floor(&x.broadcast_div(y)?)
}

fn floored_rest(x: &Tensor, y: &Tensor, context: &Context<'_>) -> Result<Tensor> {
    let (x, y) = stretched(x, y, context)?;
    zip(
        &x,
        &y,
        "floor_mod",
        |a, b| {
            let rest = a % b;
            if rest != 0.0 && ((rest < 0.0) != (b < 0.0)) {
                rest + b
            } else {
                rest
            }
        },
        |a, b| {
            let rest = a % b;
            if rest != 0.0 && ((rest < 0.0) != (b < 0.0)) {
                rest + b
            } else {
                rest
            }
        },
        |x, y, _| Ok((x.ones_like()?, raw_floor(&(x / y)?)?.neg()?)),
    )
}

fn truncated_rest(x: &Tensor, y: &Tensor, context: &Context<'_>) -> Result<Tensor> {
    let (x, y) = stretched(x, y, context)?;
    zip(
        &x,
        &y,
        "mod",
        |a, b| a % b,
        |a, b| a % b,
        |x, y, _| Ok((x.ones_like()?, trunc(&(x / y)?)?.neg()?)),
    )
}

fn raw_floor(x: &Tensor) -> candle_core::Result<Tensor> {
    Ok(floor(x)?)
}

/// 0 where the second operand is 0.
fn guarded(x: &Tensor, y: &Tensor, context: &Context<'_>, f: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (x, y) = stretched(x, y, context)?;
    let is_zero = y.eq(0.0)?;
    let safe = is_zero.where_cond(&y.ones_like()?, &y)?;
    Ok(is_zero.where_cond(&x.zeros_like()?, &f(&x, &safe)?)?)
}

/// 0 where the first operand is 0.
fn zero_of_zero(
    x: &Tensor,
    y: &Tensor,
    context: &Context<'_>,
    f: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (x, y) = stretched(x, y, context)?;
    let is_zero = x.eq(0.0)?;
    let safe = is_zero.where_cond(&y.ones_like()?, &y)?;
    Ok(is_zero.where_cond(&x.zeros_like()?, &f(&x, &safe)?)?)
}

fn atan2(y: &Tensor, x: &Tensor, context: &Context<'_>) -> Result<Tensor> {
    let (y, x) = stretched(y, x, context)?;
    zip(&y, &x, "atan2", f32::atan2, f64::atan2, |y, x, _| {
        let square = (x.sqr()? + y.sqr()?)?;
        Ok(((x / &square)?, (y / &square)?.neg()?))
    })
}

fn sum_of(args: &Args, context: &Context<'_>) -> Result<TfTensor> {
    let all = args.tensors(0..args.len())?;
    let (first, rest) = all.split_first().ok_or_else(|| Error::graph("a sum of nothing"))?;
    let mut sum = (*first).clone();
    for next in rest {
        same_dtype(&sum, next)?;
        if sum.dims() != next.dims() {
            let what = format!("shapes {:?} and {:?} differ", sum.dims(), next.dims());
            return Err(Error::operand(what));
        }
        sum = match is_float(sum.dtype) {
            true => sum.with((&sum.tensor + &next.tensor)?),
            false => {
                let (values, dims) = zip_ints(&sum, next, context, |a, b| Ok(a.wrapping_add(b)))?;
                ints(values, &dims, sum.dtype)?
            }
        };
    }
    Ok(sum)
}

/// A vector, shaped such that it is added to each channel.
pub(crate) fn per_channel(bias: &Tensor, rank: usize, channels_first: bool) -> Result<Tensor> {
    match channels_first && rank > 2 {
        true => {
            let mut dims = vec![1; rank];
            if let Some(channels) = dims.get_mut(1) {
                *channels = bias.elem_count();
            }
            Ok(bias.reshape(dims)?)
        }
        false => Ok(bias.clone()),
    }
}

fn bias_add(args: &Args, channels_first: bool, context: &Context<'_>) -> Result<TfTensor> {
    let (x, bias) = (args.tensor(0)?, args.tensor(1)?);
    same_dtype(x, bias)?;
    let rank = x.dims().len();
    let channel = match channels_first && rank > 2 {
        true => Some(1),
        false => rank.checked_sub(1),
    };
    let channels = channel.and_then(|axis| x.dims().get(axis).copied());
    if rank < 2 || bias.dims().len() != 1 || bias.dims().first().copied() != channels {
        let what = format!("a bias of shape {:?} for {:?}", bias.dims(), x.dims());
        return Err(Error::operand(what));
    }
    if is_int(x.dtype) {
        let bias = bias.with(per_channel(&bias.tensor, rank, channels_first)?);
        let (values, dims) = zip_ints(x, &bias, context, |a, b| Ok(a.wrapping_add(b)))?;
        return ints(values, &dims, x.dtype);
    }
    let bias = per_channel(&bias.tensor, rank, channels_first)?;
    Ok(x.with(x.tensor.broadcast_add(&bias)?))
}

fn clip(args: &mut Args, context: &Context<'_>) -> Result<TfTensor> {
    let (x, low, high) = (args.tensor(0)?, args.tensor(1)?, args.tensor(2)?);
    if is_float(x.dtype) {
        let clipped = minimum(&x.tensor, &high.tensor, context)?;
        return Ok(x.with(maximum(&clipped, &low.tensor, context)?));
    }
    let (values, dims) = zip_ints(x, high, context, |a, b| Ok(a.min(b)))?;
    let clipped = TfTensor::ints(values, &dims, x.dtype)?;
    let (values, dims) = zip_ints(&clipped, low, context, |a, b| Ok(a.max(b)))?;
    TfTensor::ints(values, &dims, x.dtype)
}

/// Hands on its operand.
pub(crate) fn same() -> Result<Kernel> {
    many(|args, _| Ok(vec![args.take(0)?]))
}

/// Hands on all operands.
pub(crate) fn same_each() -> Result<Kernel> {
    many(|args, _| {
        (0..args.len())
            .map(|place| args.take(place))
            .collect::<Result<Vec<Value>>>()
    })
}

/// A function of floats, in single precision if the operand is in half, and perhaps one of integers.
pub(crate) fn unary(f: fn(&Tensor) -> Result<Tensor>, int: Option<fn(i64) -> i64>) -> Result<Kernel> {
    one(move |args, _| {
        let x = args.tensor(0)?;
        match int {
            Some(int) if is_int(x.dtype) => ints(x.to_ints()?.into_iter().map(int).collect(), x.dims(), x.dtype),
            _ => {
                args.float(0)?;
                Ok(x.with(widened(&x.tensor, f)?))
            }
        }
    })
}
