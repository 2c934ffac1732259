//! Single numbers, computed with as TensorFlow does it: in the precision of the parameter.

use std::ops::{Add, Div, Mul, Sub};

use burn::tensor::{DType, Tensor, bf16, f16};

use super::form::Form;

/// How TensorFlow computes with the settings of an optimizer for a parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arithmetic {
    form: Form,
    precision: Precision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Half,
    Brain,
    Single,
    Double,
}

/// A number in some precision, that each operation rounds to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    value: f64,
    precision: Precision,
}

impl Arithmetic {
    pub(super) fn of<const D: usize>(form: Form, tensor: &Tensor<D>) -> Self {
        let precision = match tensor.dtype() {
            DType::F16 => Precision::Half,
            DType::BF16 => Precision::Brain,
            DType::F64 => Precision::Double,
            _ => Precision::Single,
        };
        Arithmetic { form, precision }
    }

    /// A number, rounded.
    pub(super) fn number(self, value: f64) -> Number {
        self.precision.number(value)
    }

    /// A number of which TensorFlow makes a float32 in any case: the learning rate, and what Keras casts before it uses it.
    pub(super) fn single(self, value: f64) -> Number {
        self.number(Precision::Single.number(value).value)
    }

    /// A setting. Those of kernels have been float32 before.
    pub(super) fn setting(self, value: f64) -> Number {
        match self.form {
            Form::V1 | Form::Legacy => self.single(value),
            Form::Keras => self.number(value),
        }
    }

    /// 1 less a setting: rounded by kernels before, and by Keras afterwards.
    pub(super) fn rest(self, value: f64) -> Number {
        match self.form {
            Form::V1 | Form::Legacy => self.setting(value).complement(),
            Form::Keras => self.number(1.0 - value),
        }
    }
}

impl Precision {
    fn number(self, value: f64) -> Number {
        let value = match self {
            Precision::Half => f16::from_f64(value).to_f64(),
            Precision::Brain => bf16::from_f64(value).to_f64(),
            Precision::Single => f64::from(single(value)),
            Precision::Double => value,
        };
        Number { value, precision: self }
    }
}

impl Number {
    pub(super) fn value(self) -> f64 {
        self.value
    }

    pub(super) fn sqrt(self) -> Self {
        self.precision.number(self.value.sqrt())
    }

    pub(super) fn pow(self, exponent: Number) -> Self {
        self.precision.number(self.value.powf(exponent.value))
    }

    /// To the power of a number of steps.
    pub(super) fn to_steps(self, steps: u64) -> Self {
        self.pow(self.precision.number(count(steps)))
    }

    /// 1 less this.
    pub(super) fn complement(self) -> Self {
        self.precision.number(1.0 - self.value)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
fn single(value: f64) -> f32 {
    value as f32
}

/// The power of a beta that TensorFlow 1 counts, a float32 whatever the parameter is: that which is kept, or that of a
/// number of steps.
pub(super) fn counted_power(kept: Option<f64>, beta: f64, steps: u64) -> f64 {
    kept.unwrap_or_else(|| f64::from(single(f64::from(single(beta)).powf(count(steps)))))
}

/// The same for the step after it.
pub(super) fn next_power(power: f64, beta: f64) -> f64 {
    f64::from(single(power) * single(beta))
}

/// A number of steps.
#[expect(clippy::cast_precision_loss, reason = "TensorFlow rounds the count as well")]
pub(super) fn count(steps: u64) -> f64 {
    steps as f64
}

/// Rounding what was computed in double precision gives what single precision gives: it has more than twice the bits.
macro_rules! operation {
    ($($trait:ident $name:ident $operator:tt),*) => {$(
        impl $trait for Number {
            type Output = Number;

            fn $name(self, other: Number) -> Number {
                self.precision.number(self.value $operator other.value)
            }
        }
    )*};
}

operation!(Add add +, Sub sub -, Mul mul *, Div div /);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the values are those of single precision"
    )]
    fn operations_in_single_precision_are_those_of_f32() {
        let mut x = 0.1f32;
        for step in 1..2000u16 {
            let y = (x * 7.3 + f32::from(step)).fract() + 1e-3;
            let [a, b] = [x, y].map(|value| Precision::Single.number(f64::from(value)));
            let ours = [a + b, a - b, a * b, a / b, a.sqrt(), b.complement()].map(|number| number.value() as f32);
            let theirs = [x + y, x - y, x * y, x / y, x.sqrt(), 1.0 - y];
            assert_eq!(ours.map(f32::to_bits), theirs.map(f32::to_bits), "{x} {y}");
            x = y;
        }
    }
}
