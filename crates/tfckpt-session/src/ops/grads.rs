//! Gradients as graphs have them as nodes of their own: so a graph's own training operation runs as it is.

use candle_core::{Tensor, Var};

use super::arithmetic::same_dtype;
use super::elementwise::widened;
use super::table::{Args, Kernel, Ops, many, one};
use crate::error::{Error, Result};
use crate::value::Value;

pub(super) fn add(ops: &mut Ops) {
    // Of the gradient and the operand.
    ops.pure("ReluGrad", |_| {
        by_operand(0, 1, |x| Ok(x.gt(0.0)?.to_dtype(x.dtype())?))
    });
    ops.pure("Relu6Grad", |_| {
        by_operand(0, 1, |x| Ok((x.gt(0.0)? * x.lt(6.0)?)?.to_dtype(x.dtype())?))
    });
    ops.pure("SoftplusGrad", |_| by_operand(0, 1, super::math::sigmoid));
    ops.pure("SoftsignGrad", |_| {
        by_operand(0, 1, |x| Ok((x.abs()? + 1.0)?.sqr()?.recip()?))
    });
    // Of the result and the gradient.
    ops.pure("TanhGrad", |_| by_operand(1, 0, |y| Ok(y.sqr()?.affine(-1.0, 1.0)?)));
    ops.pure("SigmoidGrad", |_| by_operand(1, 0, |y| Ok((y * y.affine(-1.0, 1.0)?)?)));
    ops.pure("SqrtGrad", |_| by_operand(1, 0, |y| Ok((y.recip()? * 0.5)?)));
    ops.pure("RsqrtGrad", |_| by_operand(1, 0, |y| Ok(((y.sqr()? * y)? * -0.5)?)));
    for name in ["ReciprocalGrad", "InvGrad"] {
        ops.pure(name, |_| by_operand(1, 0, |y| Ok(y.sqr()?.neg()?)));
    }
    // Of the gradient and the result.
    ops.pure("EluGrad", |_| {
        by_operand(0, 1, |y| Ok(y.lt(0.0)?.where_cond(&(y + 1.0)?, &y.ones_like()?)?))
    });
    ops.pure("LeakyReluGrad", |attrs| {
        let alpha = f64::from(attrs.float("alpha", 0.2)?);
        one(move |args, _| {
            let (gradient, x) = (args.float(0)?, args.float(1)?);
            Ok(args
                .tensor(0)?
                .with(x.gt(0.0)?.where_cond(gradient, &(gradient * alpha)?)?))
        })
    });
    ops.pure("BiasAddGrad", |attrs| {
        let channels_first = attrs.text("data_format", "NHWC")?.starts_with("NC");
        one(move |args, _| {
            let gradient = args.float(0)?;
            let rank = gradient.rank();
            let channel = if channels_first { 1 } else { rank.saturating_sub(1) };
            let axes: Vec<usize> = (0..rank).filter(|axis| *axis != channel).collect();
            Ok(args
                .tensor(0)?
                .with(widened(gradient, |gradient| Ok(gradient.sum(axes)?))?))
        })
    });
    for name in ["FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3"] {
        ops.pure(name, |attrs| {
            let epsilon = f64::from(attrs.float("epsilon", 1e-4)?);
            let training = attrs.bool("is_training", true)?;
            let channels_first = attrs.text("data_format", "NHWC")?.starts_with("NC");
            many(move |args, _| batch_norm(args, epsilon, training, channels_first))
        });
    }
}

/// The gradient times a function of another operand.
fn by_operand(gradient: usize, other: usize, derivative: fn(&Tensor) -> Result<Tensor>) -> Result<Kernel> {
    one(move |args, _| {
        let (gradient, other) = (args.tensor(gradient)?, args.tensor(other)?);
        same_dtype(gradient, other)?;
        if gradient.dims() != other.dims() {
            return Err(Error::operand(format!(
                "a gradient of {:?} for {:?}",
                gradient.dims(),
                other.dims()
            )));
        }
        let derivative = widened(&other.tensor, derivative)?;
        Ok(gradient.with((&gradient.tensor * derivative)?))
    })
}

/// The gradients of images, scale and offset, as Candle follows them back.
fn batch_norm(args: &Args, epsilon: f64, training: bool, channels_first: bool) -> Result<Vec<Value>> {
    let (gradient, x, scale) = (args.float(0)?, args.float(1)?, args.float(2)?);
    let (held_mean, held_variance) = (args.float(3)?, args.float(4)?);
    let rank = x.rank();
    let channel = if channels_first { 1 } else { rank.saturating_sub(1) };
    let channels = x.dims().get(channel).copied().unwrap_or(0);
    if rank < 2 || gradient.dims() != x.dims() || scale.dims() != [channels] {
        return Err(Error::operand(format!(
            "a gradient of {:?} for {:?}",
            gradient.dims(),
            x.dims()
        )));
    }
    let images = Var::from_tensor(&x.detach().to_dtype(scale.dtype())?)?;
    let factors = Var::from_tensor(&scale.detach())?;
    let spread = |vector: &Tensor| super::arithmetic::per_channel(vector, rank, channels_first);
    let axes: Vec<usize> = (0..rank).filter(|axis| *axis != channel).collect();
    let wide = images.as_tensor();
    let (mean, variance) = match training {
        false => (held_mean.clone(), held_variance.clone()),
        true => {
            #[expect(clippy::cast_precision_loss, reason = "no batch has so many elements")]
            let count = (x.elem_count() / channels.max(1)) as f64;
            let mean = (wide.sum(axes.clone())? / count)?;
            let centred = wide.broadcast_sub(&spread(&mean)?)?;
            let variance = (centred.sqr()?.sum(axes.clone())? / count)?;
            (mean, variance)
        }
    };
    let factor = ((variance + epsilon)?.sqrt()?.recip()? * factors.as_tensor())?;
    let y = wide.broadcast_sub(&spread(&mean)?)?.broadcast_mul(&spread(&factor)?)?;
    let gradient = gradient.detach().to_dtype(scale.dtype())?;
    let found = (y * &gradient)?.sum_all()?.backward()?;
    let of = |var: &Var| match found.get(var) {
        Some(gradient) => Ok(gradient.clone()),
        None => var.as_tensor().zeros_like(),
    };
    let like = args.tensor(2)?;
    let nothing = like.with(Tensor::zeros(0, scale.dtype(), scale.device())?);
    Ok(vec![
        args.tensor(1)?.with(of(&images)?.to_dtype(x.dtype())?).into(),
        like.with(of(&factors)?).into(),
        like.with(gradient.sum(axes)?).into(),
        nothing.clone().into(),
        nothing.into(),
    ])
}
