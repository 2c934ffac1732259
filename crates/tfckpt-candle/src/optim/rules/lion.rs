//! Lion.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::rule::{Rule, Step};

/// Lion, as Keras from 2.11 on computes it:
///
/// ```text
/// var -= lr * sign(m * beta1 + g * (1 - beta1))
/// m    = m * beta2 + g * (1 - beta2)
/// ```
///
/// TensorFlow 1 and legacy Keras have none; under their conventions `m` is called `VARIABLE/Lion` or `Lion/VARIABLE/m`.
pub type Lion = TfOptimizer<ParamsLion>;

/// The settings of [`Lion`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsLion {
    /// The learning rate. Default: 0.001, and 0.0001 in Keras 2.
    pub lr: f64,
    /// How much of the mean of gradients is in a step. Default: 0.9.
    pub beta1: f64,
    /// The decay of the mean. Default: 0.99.
    pub beta2: f64,
    /// How the state is called; the formula is one. Default: Keras 3.
    pub convention: Convention,
}

impl ParamsLion {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsLion {
            lr: if convention == Convention::Keras2 { 1e-4 } else { 1e-3 },
            beta1: 0.9,
            beta2: 0.99,
            convention,
        }
    }
}

impl Default for ParamsLion {
    fn default() -> Self {
        Self::of(Convention::Keras3)
    }
}

impl Rule for ParamsLion {
    const KIND: OptimizerKind = OptimizerKind::Lion;
    const NAME: &'static str = "Lion";

    fn convention(&self) -> Convention {
        self.convention
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn slots(&self) -> Vec<(Slot, f64)> {
        vec![(Slot::FirstMoment, 0.0)]
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        let (g, n) = (&step.gradient, step.n);
        let (beta1, beta2) = (n.single(self.beta1), n.single(self.beta2));
        let before = step.get(Slot::FirstMoment)?;
        let direction = ((before * beta1)? + (g * n.sub(1.0, beta1))?)?.sign()?;
        step.mix(Slot::FirstMoment, beta2, g, n.sub(1.0, beta2))?;
        &step.var - (direction * step.lr)?
    }
}
