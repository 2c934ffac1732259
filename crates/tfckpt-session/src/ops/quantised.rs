//! Numbers rounded as if they were quantised: `fake_quant_ops_functor.h` of TensorFlow.

use candle_core::{Device, Tensor};

use super::elementwise::{indicator, map, single};
use super::table::{Args, Ops, many, one};
use crate::attrs::Attrs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("FakeQuantWithMinMaxArgs", |attrs| {
        let (range, steps) = (attr_range(attrs)?, Steps::of(attrs)?);
        one(move |args, _| {
            let grid = Grid::new(range, steps)?;
            Ok(args
                .tensor(0)?
                .with(grid.quantised(args.float(0)?, Scaling::ByInverse)?))
        })
    });
    ops.pure("FakeQuantWithMinMaxArgsGradient", |attrs| {
        let (range, steps) = (attr_range(attrs)?, Steps::of(attrs)?);
        one(move |args, _| {
            let (grid, x) = (Grid::new(range, steps)?, args.float(1)?);
            Ok(args.tensor(0)?.with((args.float(0)? * grid.within(x)?)?))
        })
    });
    ops.pure("FakeQuantWithMinMaxVars", |attrs| {
        let steps = Steps::of(attrs)?;
        one(move |args, context| {
            let range = (single(args.float_scalar(1)?), single(args.float_scalar(2)?));
            let (x, low, high) = (args.float(0)?, args.float(1)?, args.float(2)?);
            Ok(args
                .tensor(0)?
                .with(in_range(x, low, high, range, steps, Scaling::Divided, context)?))
        })
    });
    ops.pure("FakeQuantWithMinMaxVarsGradient", |attrs| {
        let steps = Steps::of(attrs)?;
        many(move |args, _| {
            let range = (single(args.float_scalar(2)?), single(args.float_scalar(3)?));
            let parts = gradients(args.float(0)?, args.float(1)?, range, steps)?;
            let place = |(place, tensor): (usize, Tensor)| match place {
                0 => Ok(args.tensor(0)?.with(tensor).into()),
                _ => Ok(args.tensor(0)?.with(tensor.sum_all()?).into()),
            };
            parts.into_iter().enumerate().map(place).collect()
        })
    });
    ops.pure("FakeQuantWithMinMaxVarsPerChannel", |attrs| {
        let steps = Steps::of(attrs)?;
        one(move |args, context| per_channel(args, steps, context))
    });
    ops.pure("FakeQuantWithMinMaxVarsPerChannelGradient", |attrs| {
        let steps = Steps::of(attrs)?;
        many(move |args, _| per_channel_gradients(args, steps))
    });
}

fn attr_range(attrs: &Attrs<'_>) -> Result<(f32, f32)> {
    Ok((attrs.float("min", -6.0)?, attrs.float("max", 6.0)?))
}

/// The least and the largest quantised number.
#[derive(Debug, Clone, Copy)]
struct Steps {
    low: f32,
    high: f32,
}

impl Steps {
    fn of(attrs: &Attrs<'_>) -> Result<Self> {
        let (bits, narrow) = (attrs.int("num_bits", 8)?, attrs.bool("narrow_range", false)?);
        if !(2..=16).contains(&bits) {
            return Err(Error::graph(format!("quantised to {bits} bits")));
        }
        #[expect(clippy::cast_precision_loss, reason = "16 bits are exact")]
        let high = ((1i64 << bits) - 1) as f32;
        Ok(Steps {
            low: if narrow { 1.0 } else { 0.0 },
            high,
        })
    }
}

/// How many steps a number is from the lowest one. TensorFlow does it in either way, and the two differ for numbers half-way
/// between two steps.
#[derive(Debug, Clone, Copy)]
enum Scaling {
    ByInverse,
    Divided,
}

/// A range that was moved a little, such that 0 is one of its steps.
#[derive(Debug, Clone, Copy)]
struct Grid {
    low: f32,
    high: f32,
    scale: f32,
}

impl Grid {
    fn new((min, max): (f32, f32), steps: Steps) -> Result<Self> {
        if min >= max {
            return Err(Error::operand(format!("a range from {min} to {max}")));
        }
        let scale = (max - min) / (steps.high - steps.low);
        let zero = steps.low - min / scale;
        let zero = match zero {
            zero if zero < steps.low => steps.low,
            zero if zero > steps.high => steps.high,
            zero => zero.round(),
        };
        Ok(Grid {
            low: (steps.low - zero) * scale,
            high: (steps.high - zero) * scale,
            scale,
        })
    }

    fn quantised(self, x: &Tensor, scaling: Scaling) -> Result<Tensor> {
        let Grid { low, high, scale } = self;
        let inverse = 1.0 / scale;
        let zero = (-low * inverse + 0.5).floor();
        let nearest = move |x: f32| {
            let shifted = x.clamp(low, high) - low;
            let steps = match scaling {
                Scaling::ByInverse => shifted * inverse,
                Scaling::Divided => shifted / scale,
            };
            (steps - zero + 0.5).floor() * scale
        };
        let nearest = move |x: f32| if x.is_nan() { x } else { nearest(x) };
        map(
            x,
            "fake_quant",
            nearest,
            move |x| f64::from(nearest(single(x))),
            move |x, _| indicator(&(x.ge(f64::from(low))? * x.le(f64::from(high))?)?, x),
        )
    }

    /// 1 where a number lies in the range, else 0.
    fn within(self, x: &Tensor) -> Result<Tensor> {
        let mask = (x.ge(f64::from(self.low))? * x.le(f64::from(self.high))?)?;
        Ok(indicator(&mask, x)?)
    }

    fn below(self, x: &Tensor) -> Result<Tensor> {
        Ok(indicator(&x.lt(f64::from(self.low))?, x)?)
    }

    fn above(self, x: &Tensor) -> Result<Tensor> {
        Ok(indicator(&x.gt(f64::from(self.high))?, x)?)
    }
}

/// Quantised to a range that is trained itself: what lies outside of it moves its ends.
fn in_range(
    x: &Tensor,
    low: &Tensor,
    high: &Tensor,
    range: (f32, f32),
    steps: Steps,
    scaling: Scaling,
    context: &Context<'_>,
) -> Result<Tensor> {
    if range == (0.0, 0.0) {
        return Ok(match context.tracked {
            // Gradients pass through, as if it were not there.
            true => (x - x.detach())?,
            false => x.zeros_like()?,
        });
    }
    let grid = Grid::new(range, steps)?;
    let y = grid.quantised(x, scaling)?;
    if !context.tracked {
        return Ok(y);
    }
    let detached = x.detach();
    let end = |end: &Tensor, mask: Tensor| mask.broadcast_mul(&(end - end.detach())?.reshape(())?);
    Ok(((y + end(low, grid.below(&detached)?)?)? + end(high, grid.above(&detached)?)?)?)
}

/// The gradients by the numbers, and, not summed up yet, by either end of the range.
fn gradients(gradient: &Tensor, x: &Tensor, range: (f32, f32), steps: Steps) -> Result<[Tensor; 3]> {
    if range == (0.0, 0.0) {
        let none = gradient.zeros_like()?;
        return Ok([gradient.clone(), none.clone(), none]);
    }
    let grid = Grid::new(range, steps)?;
    Ok([
        (gradient * grid.within(x)?)?,
        (gradient * grid.below(x)?)?,
        (gradient * grid.above(x)?)?,
    ])
}

/// The ends of the range of each channel, which is the last axis.
fn channels(args: &Args, x: &Tensor, low: usize, high: usize) -> Result<Vec<(f32, f32)>> {
    let ends = |place: usize| -> Result<Vec<f32>> {
        let ends = args.float(place)?.to_device(&Device::Cpu)?.flatten_all()?;
        Ok(ends.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?)
    };
    let (lows, highs) = (ends(low)?, ends(high)?);
    let depth = x.dims().last().copied().unwrap_or(0);
    match lows.len() == depth && highs.len() == depth {
        true => Ok(lows.into_iter().zip(highs).collect()),
        false => Err(Error::operand(format!(
            "{} and {} ends of ranges for the channels of {:?}",
            lows.len(),
            highs.len(),
            x.dims()
        ))),
    }
}

fn per_channel(args: &Args, steps: Steps, context: &Context<'_>) -> Result<TfTensor> {
    let x = args.float(0)?;
    let last = x.rank().saturating_sub(1);
    let mut parts = Vec::new();
    for (place, range) in channels(args, x, 1, 2)?.into_iter().enumerate() {
        let end = |operand: usize| -> Result<Tensor> { Ok(args.float(operand)?.narrow(0, place, 1)?) };
        let channel = x.narrow(last, place, 1)?.contiguous()?;
        let (low, high) = (end(1)?, end(2)?);
        parts.push(in_range(
            &channel,
            &low,
            &high,
            range,
            steps,
            Scaling::ByInverse,
            context,
        )?);
    }
    match parts.is_empty() {
        true => Ok(args.tensor(0)?.clone()),
        false => Ok(args.tensor(0)?.with(Tensor::cat(&parts, last)?)),
    }
}

fn per_channel_gradients(args: &Args, steps: Steps) -> Result<Vec<Value>> {
    let (gradient, x) = (args.float(0)?, args.float(1)?);
    let last = x.rank().saturating_sub(1);
    if gradient.dims() != x.dims() {
        return Err(Error::operand(format!(
            "gradients of {:?} for {:?}",
            gradient.dims(),
            x.dims()
        )));
    }
    let (mut by_x, mut by_low, mut by_high) = (Vec::new(), Vec::new(), Vec::new());
    for (place, range) in channels(args, x, 2, 3)?.into_iter().enumerate() {
        let channel = |tensor: &Tensor| tensor.narrow(last, place, 1)?.contiguous();
        let [within, below, above] = gradients(&channel(gradient)?, &channel(x)?, range, steps)?;
        by_x.push(within);
        by_low.push(below.sum_all()?.reshape(1)?);
        by_high.push(above.sum_all()?.reshape(1)?);
    }
    if by_x.is_empty() {
        return Ok(vec![
            args.value(0)?.clone(),
            args.value(2)?.clone(),
            args.value(3)?.clone(),
        ]);
    }
    let like = args.tensor(0)?;
    Ok(vec![
        like.with(Tensor::cat(&by_x, last)?).into(),
        like.with(Tensor::cat(&by_low, 0)?).into(),
        like.with(Tensor::cat(&by_high, 0)?).into(),
    ])
}
