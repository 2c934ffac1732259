//! Gradients that are too large, as Keras clips them.

use candle_core::{DType, Result, Tensor};

use super::precision::div;

/// How gradients are clipped before they are used. The options of Keras of these names.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Clip {
    /// `clipnorm`: each variable's gradient is scaled down to at most this L2 norm.
    Norm(f64),
    /// `global_clipnorm`: all gradients are scaled down together, by the L2 norm of all.
    GlobalNorm(f64),
    /// `clipvalue`: each element is kept between minus this number and this number.
    Value(f64),
}

impl Clip {
    /// The gradients, of which those that are `None` stay so.
    pub(super) fn apply(self, gradients: Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> {
        let each = |change: &dyn Fn(&Tensor) -> Result<Tensor>| {
            let changed = |gradient: &Option<Tensor>| gradient.as_ref().map(change).transpose();
            gradients.iter().map(changed).collect()
        };
        match self {
            Clip::Value(limit) => each(&|gradient| gradient.clamp(-limit, limit)),
            Clip::Norm(limit) => each(&|gradient| {
                let norm = number(&square_sum(gradient)?.sqrt()?)?;
                div(&(gradient * limit)?, norm.max(limit))
            }),
            Clip::GlobalNorm(limit) => {
                let mut sum = 0.0;
                for gradient in gradients.iter().flatten() {
                    sum += number(&square_sum(gradient)?)?;
                }
                let norm = sum.sqrt();
                // An infinite norm or one that is no number makes all gradients so, as in Keras.
                let scale = limit * (1.0 / norm).min(1.0 / limit) + norm * 0.0;
                each(&|gradient| gradient * scale)
            }
        }
    }
}

fn square_sum(gradient: &Tensor) -> Result<Tensor> {
    gradient.sqr()?.sum_all()
}

fn number(scalar: &Tensor) -> Result<f64> {
    scalar.to_dtype(DType::F64)?.to_scalar()
}
