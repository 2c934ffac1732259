//! Numbers in the precision of a variable.

use candle_core::{DType, Result, Tensor};
use half::{bf16, f16};

/// Arithmetic of single numbers, each result rounded to a dtype, as TensorFlow computes with scalars of that dtype. A
/// float64 has more than twice the digits of the others, so that rounding twice does no harm.
#[derive(Debug, Clone, Copy)]
pub struct Precision(pub(super) DType);

impl Precision {
    pub(super) fn round(self, value: f64) -> f64 {
        match self.0 {
            DType::F64 => value,
            DType::F16 => f16::from_f64(value).to_f64(),
            DType::BF16 => bf16::from_f64(value).to_f64(),
            _ => f64::from(single(value)),
        }
    }

    /// A number that TensorFlow holds as a float32 tensor, and then casts.
    pub(super) fn single(self, value: f64) -> f64 {
        self.round(f64::from(single(value)))
    }

    pub(super) fn add(self, a: f64, b: f64) -> f64 {
        self.round(a + b)
    }

    pub(super) fn sub(self, a: f64, b: f64) -> f64 {
        self.round(a - b)
    }

    pub(super) fn mul(self, a: f64, b: f64) -> f64 {
        self.round(a * b)
    }

    pub(super) fn div(self, a: f64, b: f64) -> f64 {
        self.round(a / b)
    }

    pub(super) fn sqrt(self, a: f64) -> f64 {
        self.round(a.sqrt())
    }

    pub(super) fn pow(self, base: f64, exponent: f64) -> f64 {
        self.round(base.powf(exponent))
    }
}

/// TensorFlow keeps its settings in single precision.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
pub(super) fn single(value: f64) -> f32 {
    value as f32
}

/// A tensor divided by a number; Candle's own `/` multiplies by the inverse, which rounds twice.
pub(super) fn div(tensor: &Tensor, number: f64) -> Result<Tensor> {
    let number = Tensor::new(number, tensor.device())?.to_dtype(tensor.dtype())?;
    tensor.broadcast_div(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_rounds_as_the_dtype_does() {
        let n = Precision(DType::F32);
        assert_eq!(n.sub(1.0, n.single(0.9)), f64::from(1f32 - 0.9f32));
        assert_ne!(n.sub(1.0, n.single(0.9)), f64::from(0.1f32));
        assert_eq!(Precision(DType::F64).single(0.1), f64::from(0.1f32));
        assert_eq!(Precision(DType::BF16).round(257.0), 256.0);
        assert_eq!(Precision(DType::F16).round(1e-8), 0.0);
        let third = div(&Tensor::new(&[1f32, 5.0, 7.0], &candle_core::Device::Cpu).unwrap(), 3.0).unwrap();
        assert_eq!(third.to_vec1::<f32>().unwrap(), [1f32 / 3.0, 5.0 / 3.0, 7.0 / 3.0]);
    }
}
