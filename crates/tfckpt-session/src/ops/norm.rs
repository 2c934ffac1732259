//! Normalisation.

use candle_core::Tensor;

use super::arithmetic::per_channel;
use super::elementwise::widened;
use super::table::{Args, Ops, many, one};
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    for name in ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"] {
        ops.pure(name, move |attrs| {
            let settings = Settings {
                epsilon: f64::from(attrs.float("epsilon", 1e-4)?),
                average: f64::from(attrs.float("exponential_avg_factor", 1.0)?),
                training: attrs.bool("is_training", true)?,
                channels_first: attrs.text("data_format", "NHWC")?.starts_with("NC"),
            };
            many(move |args, _| fused_batch_norm(args, settings))
        });
    }
    ops.pure("BatchNormWithGlobalNormalization", |attrs| {
        let epsilon = f64::from(attrs.float("variance_epsilon", 1e-3)?);
        let scales = attrs.bool("scale_after_normalization", true)?;
        one(move |args, _| {
            let (mean, variance) = (args.float(1)?, args.float(2)?);
            let factor = (variance + epsilon)?.sqrt()?.recip()?;
            let factor = if scales { (factor * args.float(4)?)? } else { factor };
            let centred = args.float(0)?.broadcast_sub(mean)?;
            Ok(args
                .tensor(0)?
                .with(centred.broadcast_mul(&factor)?.broadcast_add(args.float(3)?)?))
        })
    });
    ops.pure("LRN", |attrs| {
        let radius = attrs.count("depth_radius", 5)?;
        let (bias, alpha) = (
            f64::from(attrs.float("bias", 1.0)?),
            f64::from(attrs.float("alpha", 1.0)?),
        );
        let beta = f64::from(attrs.float("beta", 0.5)?);
        one(move |args, _| {
            let x = args.float(0)?;
            let result = widened(x, |x| {
                let last = x
                    .rank()
                    .checked_sub(1)
                    .ok_or_else(|| Error::operand("a scalar has no depth"))?;
                let depth = x.dim(last)?;
                let radius = radius.min(depth);
                let squares = x.sqr()?.pad_with_zeros(last, radius, radius)?;
                let mut sum = x.zeros_like()?;
                for shift in 0..=2 * radius {
                    sum = (sum + squares.narrow(last, shift, depth)?)?;
                }
                let scale = sum.affine(alpha, bias)?;
                Ok((x * scale.powf(-beta)?)?)
            })?;
            Ok(args.tensor(0)?.with(result))
        })
    });
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    epsilon: f64,
    average: f64,
    training: bool,
    channels_first: bool,
}

fn fused_batch_norm(args: &Args, settings: Settings) -> Result<Vec<Value>> {
    let (x, scale, offset) = (args.float(0)?, args.tensor(1)?, args.tensor(2)?);
    let (held_mean, held_variance) = (args.tensor(3)?, args.tensor(4)?);
    let rank = x.rank();
    let channel = if settings.channels_first {
        1
    } else {
        rank.saturating_sub(1)
    };
    let channels = x.dims().get(channel).copied().unwrap_or(0);
    if rank < 2 || scale.dims() != [channels] || offset.dims() != [channels] {
        let what = format!(
            "scale {:?} and offset {:?} for {:?}",
            scale.dims(),
            offset.dims(),
            x.dims()
        );
        return Err(Error::operand(what));
    }
    let spread = |vector: &Tensor| per_channel(vector, rank, settings.channels_first);
    let wide = match x.dtype() {
        candle_core::DType::F16 | candle_core::DType::BF16 => x.to_dtype(candle_core::DType::F32)?,
        _ => x.clone(),
    };
    let (mean, variance, outputs) = match settings.training {
        false => {
            if held_mean.dims() != [channels] || held_variance.dims() != [channels] {
                let what = format!(
                    "mean {:?} and variance {:?} for {:?}",
                    held_mean.dims(),
                    held_variance.dims(),
                    x.dims()
                );
                return Err(Error::operand(what));
            }
            let outputs = [held_mean, held_variance, held_mean, held_variance].map(Clone::clone);
            (held_mean.tensor.clone(), held_variance.tensor.clone(), outputs)
        }
        true => {
            let axes: Vec<usize> = (0..rank).filter(|axis| *axis != channel).collect();
            let count = wide.elem_count() / channels.max(1);
            #[expect(clippy::cast_precision_loss, reason = "no batch has so many elements")]
            let count = count as f64;
            let mean = (wide.sum(axes.clone())? / count)?;
            let centred = wide.broadcast_sub(&spread(&mean)?)?;
            let variance = (centred.sqr()?.sum(axes)? / count)?;
            // Reported without bias, used with it.
            let unbiased = (&variance * (count / (count - 1.0).max(1.0)))?;
            let averaged = |held: &TfTensor, batch: &Tensor| -> Result<TfTensor> {
                match settings.average == 1.0 || held.tensor.elem_count() == 0 {
                    true => Ok(scale.with(batch.clone())),
                    false => {
                        let kept = (&held.tensor * (1.0 - settings.average))?;
                        Ok(scale.with((kept + (batch * settings.average)?)?))
                    }
                }
            };
            let outputs = [
                averaged(held_mean, &mean)?,
                averaged(held_variance, &unbiased)?,
                scale.with(mean.clone()),
                scale.with(variance.clone()),
            ];
            (mean, variance, outputs)
        }
    };
    // y = (x - mean) * factor + offset
    let factor = ((variance + settings.epsilon)?.sqrt()?.recip()? * &scale.tensor)?;
    let centred = wide.broadcast_sub(&spread(&mean)?)?;
    let y = centred
        .broadcast_mul(&spread(&factor)?)?
        .broadcast_add(&spread(&offset.tensor)?)?;
    let nothing = scale.with(Tensor::zeros(0, scale.tensor.dtype(), scale.tensor.device())?);
    let mut results = vec![args.tensor(0)?.with(y.to_dtype(x.dtype())?).into()];
    results.extend(outputs.into_iter().map(Value::Tensor));
    results.push(nothing.into());
    Ok(results)
}
