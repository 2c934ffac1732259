//! Adagrad.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::rule::{Rule, Step};

/// Adagrad, as `tf.compat.v1.train.AdagradOptimizer` or `Adagrad` of Keras compute it:
///
/// ```text
/// sum += g * g
/// var -= g * lr / sqrt(sum)           V1
///        g * lr / (sqrt(sum) + eps)   legacy Keras
///        g * lr / sqrt(sum + eps)     Keras
/// ```
pub type Adagrad = TfOptimizer<ParamsAdagrad>;

/// The settings of [`Adagrad`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsAdagrad {
    /// The learning rate. Default: 0.001; V1 has none.
    pub lr: f64,
    /// What the sums start at. Default: 0.1.
    pub initial_accumulator_value: f64,
    /// Keeps the divisor from zero. V1 has none. Default: 1e-7.
    pub eps: f64,
    /// Whose formula it is, and how the state is called. Default: V1.
    pub convention: Convention,
}

impl ParamsAdagrad {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsAdagrad {
            lr: 1e-3,
            initial_accumulator_value: 0.1,
            eps: 1e-7,
            convention,
        }
    }
}

impl Default for ParamsAdagrad {
    fn default() -> Self {
        Self::of(Convention::V1)
    }
}

impl Rule for ParamsAdagrad {
    const KIND: OptimizerKind = OptimizerKind::Adagrad;
    const NAME: &'static str = "Adagrad";

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
        vec![(Slot::Accumulator, self.initial_accumulator_value)]
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        let g = &step.gradient;
        let sum = step.put(Slot::Accumulator, (step.get(Slot::Accumulator)? + g.sqr()?)?)?;
        let eps = step.setting(self.eps);
        let root = match self.convention {
            Convention::V1 => sum.sqrt()?,
            Convention::Keras2Legacy => (sum.sqrt()? + eps)?,
            _ => (sum + eps)?.sqrt()?,
        };
        &step.var - ((g * step.lr)? / root)?
    }
}
