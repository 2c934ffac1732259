//! Functions of one number.

use candle_core::Tensor;

use super::arithmetic::unary;
use super::elementwise::{indicator, map, map_double};
use super::table::{Ops, one};
use crate::error::Result;
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    for (name, f, int) in TABLE {
        ops.pure(name, move |_| unary(f, int));
    }
    for (name, f) in CLASSES {
        ops.pure(name, move |_| {
            one(move |args, _| {
                let x = args.float(0)?.to_dtype(candle_core::DType::F64)?;
                let values = x
                    .to_device(&candle_core::Device::Cpu)?
                    .flatten_all()?
                    .to_vec1::<f64>()?;
                TfTensor::truths(values.into_iter().map(|x| u8::from(f(x))).collect(), x.dims())
            })
        });
    }
    ops.pure("CheckNumerics", |attrs| {
        let message = attrs.text("message", "")?.to_owned();
        one(move |args, _| {
            let x = args.float(0)?.to_dtype(candle_core::DType::F64)?;
            let values = x
                .to_device(&candle_core::Device::Cpu)?
                .flatten_all()?
                .to_vec1::<f64>()?;
            match values.iter().all(|x| x.is_finite()) {
                true => Ok(args.tensor(0)?.clone()),
                false => Err(crate::error::Error::operand(format!(
                    "{message}: the tensor has Inf or NaN values"
                ))),
            }
        })
    });
}

type Float = fn(&Tensor) -> Result<Tensor>;
type Int = Option<fn(i64) -> i64>;

type Class = fn(f64) -> bool;

const CLASSES: [(&str, Class); 3] = [
    ("IsNan", f64::is_nan),
    ("IsInf", f64::is_infinite),
    ("IsFinite", f64::is_finite),
];

const TABLE: [(&str, Float, Int); 41] = [
    (
        "Abs",
        |x| map(x, "abs", f32::abs, f64::abs, |x, _| sign(x)),
        Some(i64::wrapping_abs),
    ),
    ("Neg", |x| Ok(x.neg()?), Some(i64::wrapping_neg)),
    ("Sqrt", |x| Ok(x.sqrt()?), None),
    (
        "Rsqrt",
        |x| {
            map(
                x,
                "rsqrt",
                |x| 1.0 / x.sqrt(),
                |x| 1.0 / x.sqrt(),
                |_, y| (y.powf(3.0)? * -0.5)?.contiguous(),
            )
        },
        None,
    ),
    ("Square", |x| Ok(x.sqr()?), Some(|x| x.wrapping_mul(x))),
    ("Exp", |x| Ok(x.exp()?), None),
    ("Expm1", |x| map_double(x, "expm1", f64::exp_m1, |_, y| y + 1.0), None),
    ("Log", |x| Ok(x.log()?), None),
    (
        "Log1p",
        |x| map_double(x, "log1p", f64::ln_1p, |x, _| (x + 1.0)?.recip()),
        None,
    ),
    ("Sin", |x| Ok(x.sin()?), None),
    ("Cos", |x| Ok(x.cos()?), None),
    ("Tan", |x| map_double(x, "tan", f64::tan, |_, y| y.sqr()? + 1.0), None),
    (
        "Asin",
        |x| map_double(x, "asin", f64::asin, |x, _| x.sqr()?.affine(-1.0, 1.0)?.sqrt()?.recip()),
        None,
    ),
    (
        "Acos",
        |x| {
            map_double(x, "acos", f64::acos, |x, _| {
                x.sqr()?.affine(-1.0, 1.0)?.sqrt()?.recip()?.neg()
            })
        },
        None,
    ),
    (
        "Atan",
        |x| map_double(x, "atan", f64::atan, |x, _| (x.sqr()? + 1.0)?.recip()),
        None,
    ),
    (
        "Sinh",
        |x| map_double(x, "sinh", f64::sinh, |x, _| plain(x, f64::cosh)),
        None,
    ),
    (
        "Cosh",
        |x| map_double(x, "cosh", f64::cosh, |x, _| plain(x, f64::sinh)),
        None,
    ),
    ("Tanh", |x| Ok(x.tanh()?), None),
    (
        "Asinh",
        |x| map_double(x, "asinh", f64::asinh, |x, _| (x.sqr()? + 1.0)?.sqrt()?.recip()),
        None,
    ),
    (
        "Acosh",
        |x| map_double(x, "acosh", f64::acosh, |x, _| (x.sqr()? - 1.0)?.sqrt()?.recip()),
        None,
    ),
    (
        "Atanh",
        |x| map_double(x, "atanh", f64::atanh, |x, _| x.sqr()?.affine(-1.0, 1.0)?.recip()),
        None,
    ),
    (
        "Floor",
        |x| map(x, "floor", f32::floor, f64::floor, |x, _| x.zeros_like()),
        None,
    ),
    (
        "Ceil",
        |x| map(x, "ceil", f32::ceil, f64::ceil, |x, _| x.zeros_like()),
        None,
    ),
    ("Round", round, Some(|x| x)),
    ("Rint", round, None),
    ("Sign", |x| Ok(sign(x)?), Some(i64::signum)),
    ("Reciprocal", |x| Ok(x.recip()?), None),
    ("Inv", |x| Ok(x.recip()?), None),
    (
        "Erf",
        |x| map(x, "erf", libm::erff, libm::erf, |x, _| bell(x, 1.0)),
        None,
    ),
    (
        "Erfc",
        |x| map_double(x, "erfc", libm::erfc, |x, _| bell(x, -1.0)),
        None,
    ),
    (
        "Lgamma",
        |x| map_double(x, "lgamma", libm::lgamma, |x, _| plain(x, digamma)),
        None,
    ),
    (
        "Digamma",
        |x| map_double(x, "digamma", digamma, |x, _| x.zeros_like()),
        None,
    ),
    (
        "Erfinv",
        |x| {
            map_double(x, "erfinv", erfinv, |_, y| {
                plain(y, |y| (y * y).exp() * 0.5 * std::f64::consts::PI.sqrt())
            })
        },
        None,
    ),
    (
        "Ndtri",
        |x| {
            map_double(x, "ndtri", ndtri, |_, y| {
                plain(y, |y| (y * y * 0.5).exp() * (2.0 * std::f64::consts::PI).sqrt())
            })
        },
        None,
    ),
    ("Sigmoid", sigmoid, None),
    (
        "Softplus",
        |x| map_double(x, "softplus", softplus, |x, _| plain(x, logistic)),
        None,
    ),
    (
        "Softsign",
        |x| {
            map(
                x,
                "softsign",
                |x| x / (1.0 + x.abs()),
                |x| x / (1.0 + x.abs()),
                |x, _| (x.abs()? + 1.0)?.sqr()?.recip(),
            )
        },
        None,
    ),
    ("Relu", relu, Some(|x| x.max(0))),
    (
        "Relu6",
        |x| {
            map(
                x,
                "relu6",
                |x| x.clamp(0.0, 6.0),
                |x| x.clamp(0.0, 6.0),
                |x, _| indicator(&(x.gt(0.0)? * x.lt(6.0)?)?, x),
            )
        },
        Some(|x| x.clamp(0, 6)),
    ),
    (
        "Elu",
        |x| {
            map(
                x,
                "elu",
                |x| if x < 0.0 { x.exp_m1() } else { x },
                |x| if x < 0.0 { x.exp_m1() } else { x },
                |x, y| x.lt(0.0)?.where_cond(&(y + 1.0)?, &x.ones_like()?),
            )
        },
        None,
    ),
    (
        "Selu",
        |x| {
            map_double(
                x,
                "selu",
                |x| {
                    if x < 0.0 {
                        SELU_SCALE * SELU_ALPHA * x.exp_m1()
                    } else {
                        SELU_SCALE * x
                    }
                },
                |x, y| {
                    x.lt(0.0)?
                        .where_cond(&(y + SELU_SCALE * SELU_ALPHA)?, &(x.ones_like()? * SELU_SCALE)?)
                },
            )
        },
        None,
    ),
];

const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// `max(x, 0)`, NaN for NaN; no gradient at 0.
pub(crate) fn relu(x: &Tensor) -> Result<Tensor> {
    map(
        x,
        "relu",
        |x| if x < 0.0 { 0.0 } else { x },
        |x| if x < 0.0 { 0.0 } else { x },
        |x, _| indicator(&x.gt(0.0)?, x),
    )
}

pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    map(
        x,
        "sigmoid",
        |x| 1.0 / (1.0 + (-x).exp()),
        logistic,
        |_, y| y * y.affine(-1.0, 1.0)?,
    )
}

/// To the nearest integer, halves to even.
fn round(x: &Tensor) -> Result<Tensor> {
    map(x, "round", f32::round_ties_even, f64::round_ties_even, |x, _| {
        x.zeros_like()
    })
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p() + if x.is_nan() { x } else { 0.0 }
}

/// -1, 0 or 1; NaN for NaN.
fn sign(x: &Tensor) -> candle_core::Result<Tensor> {
    let sign = |x: f64| {
        if x > 0.0 {
            1.0
        } else if x < 0.0 {
            -1.0
        } else {
            x
        }
    };
    Ok(map_double(x, "sign", sign, |x, _| x.zeros_like())?)
}

/// A function without a gradient.
fn plain(x: &Tensor, f: fn(f64) -> f64) -> candle_core::Result<Tensor> {
    Ok(map_double(x, "plain", f, |x, _| x.zeros_like())?)
}

/// The derivative of the error function, times `factor`.
fn bell(x: &Tensor, factor: f64) -> candle_core::Result<Tensor> {
    x.sqr()?.neg()?.exp()? * (factor * 2.0 / std::f64::consts::PI.sqrt())
}

/// The derivative of the logarithm of the gamma function, by its asymptotic series.
fn digamma(mut x: f64) -> f64 {
    if x <= 0.0 {
        if x == x.floor() {
            return f64::NAN;
        }
        let angle = std::f64::consts::PI * x;
        return digamma(1.0 - x) - std::f64::consts::PI / angle.tan();
    }
    let mut result = 0.0;
    while x < 10.0 {
        result -= 1.0 / x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = inverse
        * (1.0 / 12.0 - inverse * (1.0 / 120.0 - inverse * (1.0 / 252.0 - inverse * (1.0 / 240.0 - inverse / 132.0))));
    result + x.ln() - 0.5 / x - series
}

/// The inverse of the error function: a start by Winitzki, and steps of Newton.
fn erfinv(y: f64) -> f64 {
    if y.abs() >= 1.0 {
        return if y.abs() == 1.0 { y * f64::INFINITY } else { f64::NAN };
    }
    let a = 0.147;
    let logarithm = (1.0 - y * y).ln();
    let middle = 2.0 / (std::f64::consts::PI * a) + logarithm / 2.0;
    let mut x = ((middle * middle - logarithm / a).sqrt() - middle).sqrt().copysign(y);
    for _ in 0..4 {
        x -= (libm::erf(x) - y) / (2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp());
    }
    x
}

/// The inverse of the normal distribution.
fn ndtri(p: f64) -> f64 {
    std::f64::consts::SQRT_2 * erfinv(2.0 * p - 1.0)
}
