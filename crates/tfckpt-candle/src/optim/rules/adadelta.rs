//! Adadelta.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::rule::{Rule, Step};

/// Adadelta, as `tf.compat.v1.train.AdadeltaOptimizer` and `Adadelta` of Keras compute it:
///
/// ```text
/// squares = squares * rho + g * g * (1 - rho)
/// change  = sqrt(changes + eps) / sqrt(squares + eps) * g
/// changes = changes * rho + change * change * (1 - rho)
/// var    -= change * lr
/// ```
pub type Adadelta = TfOptimizer<ParamsAdadelta>;

/// The settings of [`Adadelta`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsAdadelta {
    /// The learning rate. Default: 0.001.
    pub lr: f64,
    /// The decay of the means. Default: 0.95.
    pub rho: f64,
    /// Keeps roots from zero. Default: 1e-7, and 1e-8 in V1.
    pub eps: f64,
    /// Whose formula it is, and how the state is called. Default: V1.
    pub convention: Convention,
}

impl ParamsAdadelta {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsAdadelta {
            lr: 1e-3,
            rho: 0.95,
            eps: if convention == Convention::V1 { 1e-8 } else { 1e-7 },
            convention,
        }
    }
}

impl Default for ParamsAdadelta {
    fn default() -> Self {
        Self::of(Convention::V1)
    }
}

impl Rule for ParamsAdadelta {
    const KIND: OptimizerKind = OptimizerKind::Adadelta;
    const NAME: &'static str = "Adadelta";

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
        vec![(Slot::Accumulator, 0.0), (Slot::UpdateAccumulator, 0.0)]
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        let g = &step.gradient;
        let (rho, part) = (step.setting(self.rho), step.one_minus(self.rho));
        let eps = step.setting(self.eps);
        let squares = step.mix(Slot::Accumulator, rho, &g.sqr()?, part)?;
        let updates = step.get(Slot::UpdateAccumulator)?;
        let (above, below) = ((updates + eps)?.sqrt()?, (squares + eps)?.sqrt()?);
        let change = match step.by_kernels() {
            true => ((above * below.recip()?)? * g)?,
            false => ((above * g)? / below)?,
        };
        step.mix(Slot::UpdateAccumulator, rho, &change.sqr()?, part)?;
        &step.var - (change * step.lr)?
    }
}
