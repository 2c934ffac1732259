//! Activations with attributes, and those that look at a whole row.

use candle_core::{D, Tensor};

use super::elementwise::{map, widened};
use super::table::{Ops, one};
use crate::context::Context;
use crate::error::{Error, Result};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("LeakyRelu", |attrs| {
        let alpha = attrs.float("alpha", 0.2)?;
        let wide = f64::from(alpha);
        one(move |args, _| {
            let x = args.float(0)?;
            let y = map(
                x,
                "leaky_relu",
                move |x| if x > 0.0 { x } else { x * alpha },
                move |x| if x > 0.0 { x } else { x * wide },
                move |x, _| x.gt(0.0)?.where_cond(&x.ones_like()?, &(x.ones_like()? * wide)?),
            )?;
            Ok(args.tensor(0)?.with(y))
        })
    });
    ops.pure("Softmax", |_| {
        one(|args, context| {
            let x = args.float(0)?;
            Ok(args.tensor(0)?.with(widened(x, |x| softmax(x, context))?))
        })
    });
    ops.pure("LogSoftmax", |_| {
        one(|args, _| {
            let x = args.float(0)?;
            Ok(args.tensor(0)?.with(widened(x, log_softmax)?))
        })
    });
}

/// Along the last dimension. Candle's fused one cuts gradients off.
pub(crate) fn softmax(x: &Tensor, context: &Context<'_>) -> Result<Tensor> {
    has_columns(x)?;
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    if !context.tracked && x.is_contiguous() {
        return Ok(candle_nn::ops::softmax_last_dim(x)?);
    }
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    let exponentials = shifted.exp()?;
    Ok(exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)?)
}

/// The logarithm of the softmax along the last dimension.
pub(crate) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    has_columns(x)?;
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    let logarithms = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&logarithms)?)
}

fn has_columns(x: &Tensor) -> Result<()> {
    match x.rank() {
        0 => Err(Error::operand("a scalar has no classes")),
        _ => Ok(()),
    }
}
