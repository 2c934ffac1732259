//! Ftrl.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::precision::div;
use super::super::rule::{Rule, Step};

/// Ftrl, as `tf.compat.v1.train.FtrlOptimizer` and `Ftrl` of Keras compute it:
///
/// ```text
/// new     = sum + g * g
/// linear += g + 2 * l2_shrinkage * var - (new^-lr_power - sum^-lr_power) / lr * var
/// var     = (clip(linear, -l1, l1) - linear) / (new^-lr_power / lr + 2 * (l2 + beta / (2 * lr)))
/// sum     = new
/// ```
pub type Ftrl = TfOptimizer<ParamsFtrl>;

/// The settings of [`Ftrl`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsFtrl {
    /// The learning rate. Default: 0.001; V1 has none.
    pub lr: f64,
    /// How it falls with the sum of squares; not above 0. Default: -0.5.
    pub lr_power: f64,
    /// What the sums of squares start at. Default: 0.1.
    pub initial_accumulator_value: f64,
    /// `l1_regularization_strength`. Default: 0.
    pub l1: f64,
    /// `l2_regularization_strength`. Default: 0.
    pub l2: f64,
    /// `l2_shrinkage_regularization_strength`. Default: 0.
    pub l2_shrinkage: f64,
    /// `beta` of the paper. Default: 0.
    pub beta: f64,
    /// Whose formula it is, and how the state is called. Default: V1.
    pub convention: Convention,
}

impl ParamsFtrl {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsFtrl {
            lr: 1e-3,
            lr_power: -0.5,
            initial_accumulator_value: 0.1,
            l1: 0.0,
            l2: 0.0,
            l2_shrinkage: 0.0,
            beta: 0.0,
            convention,
        }
    }
}

impl Default for ParamsFtrl {
    fn default() -> Self {
        Self::of(Convention::V1)
    }
}

impl Rule for ParamsFtrl {
    const KIND: OptimizerKind = OptimizerKind::Ftrl;
    const NAME: &'static str = "Ftrl";

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
        vec![(Slot::Accumulator, self.initial_accumulator_value), (Slot::Linear, 0.0)]
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        let (g, n, var, lr) = (&step.gradient, step.n, &step.var, step.lr);
        let power = |sum: &Tensor| match step.by_kernels() && self.lr_power == -0.5 {
            true => sum.sqrt(),
            false => sum.powf(-step.setting(self.lr_power)),
        };
        let before = step.get(Slot::Accumulator)?;
        let sum = (&before + g.sqr()?)?;
        let risen = power(&sum)?;
        let shrunk = (g + (var * n.mul(2.0, step.setting(self.l2_shrinkage)))?)?;
        let change = (shrunk - (div(&(&risen - power(&before)?)?, lr)? * var)?)?;
        let linear = step.put(Slot::Linear, (step.get(Slot::Linear)? + change)?)?;
        step.put(Slot::Accumulator, sum)?;
        let l1 = step.setting(self.l1);
        let l2 = n.add(step.setting(self.l2), n.div(step.setting(self.beta), n.mul(2.0, lr)));
        let quadratic = (div(&risen, lr)? + n.mul(2.0, l2))?;
        (linear.clamp(-l1, l1)? - linear)? / quadratic
    }
}
