//! Random tensors that a resumed run computes again. Those of Candle come, on the CPU, from a generator that can neither be
//! seeded nor saved.

use candle_core::{DType, Device, Error, ModuleT, Result, Shape, Tensor};
use tfckpt::training::CheckpointRng;

/// `x` with each element set to zero with probability `p` and the others divided by `1 - p`, as `candle_nn::ops::dropout`
/// does. 4 bytes are drawn for each element.
///
/// # Errors
/// `p` is not in `0..1`; those of Candle.
pub fn dropout(x: &Tensor, p: f64, rng: &CheckpointRng) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        return Err(Error::Msg(format!("the probability of dropout is {p}, but must be in 0..1")).bt());
    }
    let scale = 1.0 / (1.0 - p);
    let mask = drawn(x.elem_count(), rng, |fraction| if fraction < p { 0.0 } else { scale });
    x * tensor(mask, x.shape(), x.dtype(), x.device())?
}

/// Numbers from `low` to below `high`, each as likely as the others, in steps of `(high - low) / 2^32`.
///
/// # Errors
/// Those of Candle.
pub fn uniform(
    low: f64,
    high: f64,
    shape: impl Into<Shape>,
    dtype: DType,
    device: &Device,
    rng: &CheckpointRng,
) -> Result<Tensor> {
    let shape = shape.into();
    let values = drawn(shape.elem_count(), rng, |fraction| low + (high - low) * fraction);
    tensor(values, &shape, dtype, device)
}

/// Normally distributed numbers. They are the same on every machine but for the last bit of its logarithm and cosine.
///
/// # Errors
/// Those of Candle.
pub fn normal(
    mean: f64,
    deviation: f64,
    shape: impl Into<Shape>,
    dtype: DType,
    device: &Device,
    rng: &CheckpointRng,
) -> Result<Tensor> {
    let shape = shape.into();
    let fractions = drawn(2 * shape.elem_count(), rng, |fraction| fraction);
    // Box and Muller; the logarithm is that of a number above 0.
    let pairs = fractions.as_chunks::<2>().0.iter();
    let values =
        pairs.map(|[u, v]| mean + deviation * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos());
    tensor(values.collect(), &shape, dtype, device)
}

/// [`dropout`] as a module, in the place of `candle_nn::Dropout`.
#[derive(Debug, Clone)]
pub struct Dropout {
    p: f64,
    rng: CheckpointRng,
}

impl Dropout {
    /// Sets elements to zero with probability `p`, in training. The clone of `rng` that it keeps shares the state of the
    /// one that the run tracks.
    pub fn new(p: f64, rng: &CheckpointRng) -> Self {
        Dropout { p, rng: rng.clone() }
    }
}

impl ModuleT for Dropout {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match train {
            true => dropout(x, self.p, &self.rng),
            false => Ok(x.clone()),
        }
    }
}

/// What becomes of so many fractions in `0..1`.
fn drawn(count: usize, rng: &CheckpointRng, to_value: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut bytes = vec![0; 4 * count];
    rng.fill_bytes(&mut bytes);
    let numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    numbers
        .map(|number| to_value(f64::from(number) / 2f64.powi(32)))
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
fn tensor(values: Vec<f64>, shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
    match dtype {
        DType::F64 => Tensor::from_vec(values, shape, device),
        // Not by way of a device that may not know f64.
        _ => {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
        }
    }
}
