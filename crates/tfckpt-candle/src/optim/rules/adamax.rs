//! Adamax.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::rule::{Rule, Step};

/// Adamax, as `tf.contrib.opt.AdaMaxOptimizer` of TensorFlow 1.15 or `Adamax` of Keras compute it:
///
/// ```text
/// m   += (g - m) * (1 - beta1)
/// u    = max(u * beta2, |g|)
/// var -= lr / (1 - beta1_power) * m / (u + eps)
/// ```
pub type Adamax = TfOptimizer<ParamsAdamax>;

/// The settings of [`Adamax`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsAdamax {
    /// The learning rate. Default: 0.001.
    pub lr: f64,
    /// The decay of the first moments. Default: 0.9.
    pub beta1: f64,
    /// The decay of the norms. Default: 0.999.
    pub beta2: f64,
    /// Keeps the divisor from zero. Default: 1e-8, and 1e-7 in Keras.
    pub eps: f64,
    /// Whose formula it is, and how the state is called. Default: V1.
    pub convention: Convention,
}

impl ParamsAdamax {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsAdamax {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: if convention == Convention::V1 { 1e-8 } else { 1e-7 },
            convention,
        }
    }
}

impl Default for ParamsAdamax {
    fn default() -> Self {
        Self::of(Convention::V1)
    }
}

impl Rule for ParamsAdamax {
    const KIND: OptimizerKind = OptimizerKind::Adamax;
    const NAME: &'static str = "Adamax";

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
        vec![(Slot::FirstMoment, 0.0), (Slot::Norm, 0.0)]
    }

    fn betas(&self) -> Option<(f64, f64)> {
        (self.convention == Convention::V1).then_some((self.beta1, self.beta2))
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        let (g, n) = (&step.gradient, step.n);
        let m = step.approach(Slot::FirstMoment, g, step.one_minus(self.beta1))?;
        let decayed = (step.get(Slot::Norm)? * step.setting(self.beta2))?;
        let norm = step.put(Slot::Norm, decayed.maximum(&g.abs()?)?)?;
        let correction = n.sub(1.0, step.beta_powers(self.beta1, self.beta2).0);
        let divisor = (norm + step.setting(self.eps))?;
        let change = match step.by_kernels() {
            true => ((m / divisor)? * n.div(step.lr, correction))?,
            false => ((m * step.lr)? / (divisor * correction)?)?,
        };
        &step.var - change
    }
}
