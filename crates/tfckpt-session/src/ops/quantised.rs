//! Numbers rounded as if they were quantised.

use candle_core::Tensor;

use super::elementwise::{indicator, map};
use super::table::{Ops, one};
use crate::error::{Error, Result};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("FakeQuantWithMinMaxArgs", |attrs| {
        let range = (attrs.float("min", -6.0)?, attrs.float("max", 6.0)?);
        let steps = Steps::new(attrs.int("num_bits", 8)?, attrs.bool("narrow_range", false)?)?;
        one(move |args, _| Ok(args.tensor(0)?.with(quantised(args.float(0)?, range, steps)?)))
    });
    ops.pure("FakeQuantWithMinMaxVars", |attrs| {
        let steps = Steps::new(attrs.int("num_bits", 8)?, attrs.bool("narrow_range", false)?)?;
        one(move |args, _| {
            let single = super::elementwise::single;
            let range = (single(args.float_scalar(1)?), single(args.float_scalar(2)?));
            Ok(args.tensor(0)?.with(quantised(args.float(0)?, range, steps)?))
        })
    });
}

/// The least and the largest quantised number.
#[derive(Debug, Clone, Copy)]
struct Steps {
    low: f32,
    high: f32,
}

impl Steps {
    fn new(bits: i64, narrow: bool) -> Result<Self> {
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

/// The range is moved a little, such that 0 is one of the steps: `fake_quant_ops_functor.h` of TensorFlow.
fn quantised(x: &Tensor, (min, max): (f32, f32), steps: Steps) -> Result<Tensor> {
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
    let (low, high) = ((steps.low - zero) * scale, (steps.high - zero) * scale);
    let inverse = 1.0 / scale;
    let nudged = (-low * inverse + 0.5).floor();
    let single = move |x: f32| ((x.clamp(low, high) - low) * inverse - nudged + 0.5).floor() * scale;
    let single = move |x: f32| if x.is_nan() { x } else { single(x) };
    map(
        x,
        "fake_quant",
        single,
        move |x| f64::from(single(super::elementwise::single(x))),
        move |x, _| indicator(&(x.ge(f64::from(low))? * x.le(f64::from(high))?)?, x),
    )
}
