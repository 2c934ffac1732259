//! Operations that compute each element from those in the same place: chains of them are computed at once.
//!
//! What they compute is what the kernels of the same names compute, element by element and in the same order of operations.

use crate::attrs::Attrs;
use crate::error::{Error, Result};

/// An operation on elements of single precision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Point {
    Add,
    /// As `Add`, of a vector to each row.
    BiasAdd,
    Sub,
    Mul,
    Div,
    SquaredDifference,
    Maximum,
    Minimum,
    Neg,
    Square,
    Sqrt,
    Rsqrt,
    Reciprocal,
    Exp,
    Tanh,
    Sigmoid,
    Erf,
    Relu,
    Relu6,
    /// Of images, scale, offset, mean and variance, with this epsilon: three of the others.
    BatchNorm(f64),
}

/// Those that are such by their names alone.
const BY_NAME: [(&str, Point); 19] = [
    ("Add", Point::Add),
    ("AddV2", Point::Add),
    ("Sub", Point::Sub),
    ("Mul", Point::Mul),
    ("RealDiv", Point::Div),
    ("SquaredDifference", Point::SquaredDifference),
    ("Maximum", Point::Maximum),
    ("Minimum", Point::Minimum),
    ("Neg", Point::Neg),
    ("Square", Point::Square),
    ("Sqrt", Point::Sqrt),
    ("Rsqrt", Point::Rsqrt),
    ("Reciprocal", Point::Reciprocal),
    ("Exp", Point::Exp),
    ("Tanh", Point::Tanh),
    ("Sigmoid", Point::Sigmoid),
    ("Erf", Point::Erf),
    ("Relu", Point::Relu),
    ("Relu6", Point::Relu6),
];

impl Point {
    /// What an operation of TensorFlow is, with these attributes; `None` if it is none of these.
    pub(super) fn of(op: &str, attrs: &Attrs<'_>) -> Result<Option<Point>> {
        let is_channels_last = || Ok::<_, Error>(attrs.text("data_format", "NHWC")?.ends_with('C'));
        Ok(match op {
            "BiasAdd" => is_channels_last()?.then_some(Point::BiasAdd),
            "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" => {
                let is_point = !attrs.bool("is_training", true)? && is_channels_last()?;
                is_point.then_some(Point::BatchNorm(f64::from(attrs.float("epsilon", 1e-4)?)))
            }
            _ => BY_NAME.iter().find(|(name, _)| *name == op).map(|(_, point)| *point),
        })
    }

    /// How many operands it has.
    pub(crate) fn operands(self) -> usize {
        use Point::*;
        match self {
            Add | BiasAdd | Sub | Mul | Div | SquaredDifference | Maximum | Minimum => 2,
            BatchNorm(_) => 5,
            Neg | Square | Sqrt | Rsqrt | Reciprocal | Exp | Tanh | Sigmoid | Erf | Relu | Relu6 => 1,
        }
    }

    /// Computes `results` from operands of the same length; `b` is not looked at if there is only one.
    #[inline(always)]
    pub(crate) fn compute(self, a: &[f32], b: &[f32], results: &mut [f32]) {
        match self {
            Point::Add | Point::BiasAdd => two(a, b, results, |a, b| a + b),
            Point::Sub => two(a, b, results, |a, b| a - b),
            Point::Mul => two(a, b, results, |a, b| a * b),
            Point::Div => two(a, b, results, |a, b| a / b),
            Point::SquaredDifference => two(a, b, results, |a, b| (a - b) * (a - b)),
            Point::Maximum => two(a, b, results, |a, b| if a >= b || a.is_nan() { a } else { b }),
            Point::Minimum => two(a, b, results, |a, b| if a <= b || a.is_nan() { a } else { b }),
            Point::Neg => one(a, results, |a| -a),
            Point::Square => one(a, results, |a| a * a),
            Point::Sqrt => one(a, results, f32::sqrt),
            Point::Rsqrt => one(a, results, |a| 1.0 / a.sqrt()),
            Point::Reciprocal => one(a, results, f32::recip),
            Point::Exp => one(a, results, f32::exp),
            Point::Tanh => one(a, results, f32::tanh),
            Point::Sigmoid => one(a, results, |a| 1.0 / (1.0 + (-a).exp())),
            Point::Erf => one(a, results, libm::erff),
            Point::Relu => one(a, results, |a| if a < 0.0 { 0.0 } else { a }),
            Point::Relu6 => one(a, results, |a| a.clamp(0.0, 6.0)),
            Point::BatchNorm(_) => {}
        }
    }
}

#[inline(always)]
fn one(a: &[f32], results: &mut [f32], f: impl Fn(f32) -> f32) {
    for (result, a) in results.iter_mut().zip(a) {
        *result = f(*a);
    }
}

#[inline(always)]
fn two(a: &[f32], b: &[f32], results: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((result, a), b) in results.iter_mut().zip(a).zip(b) {
        *result = f(*a, *b);
    }
}
