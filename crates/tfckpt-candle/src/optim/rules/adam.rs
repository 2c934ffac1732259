//! Adam, as TensorFlow computes it.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::rule::{Rule, Step};

/// Adam with the update of `tf.compat.v1.train.AdamOptimizer`, in the same order of operations and the same
/// precision:
///
/// ```text
/// alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
/// m    += (g - m) * (1 - beta1)
/// v    += (g * g - v) * (1 - beta2)
/// var  -= m * alpha / (sqrt(v) + eps)
/// ```
///
/// Its state is that of TensorFlow, so that a run can go on in either: slots `VARIABLE/Adam` (`m`) and
/// `VARIABLE/Adam_1` (`v`), and the float32 scalars `beta1_power` and `beta2_power`, which start as the betas and are
/// multiplied by them after each step. `Adam/iterations`, the number of steps, is ours; checkpoints without it do as
/// well.
///
/// Keras has the same formula, but computes the powers anew for each step, and `1 - beta` in double precision. With
/// `amsgrad` it divides by the root of the largest `v` so far.
pub type Adam = TfOptimizer<ParamsAdam>;

/// AdamW as Keras defines it: [`Adam`] after `var -= var * weight_decay * lr`. [`AdamW`](crate::AdamW) is Candle's.
///
/// For V1 it is `tf.contrib.opt.AdamWOptimizer` of TensorFlow 1.15, which decays by `var -= var * weight_decay`.
pub type KerasAdamW = TfOptimizer<ParamsKerasAdamW>;

/// The settings of [`Adam`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsAdam {
    /// The learning rate. Default: 0.001.
    pub lr: f64,
    /// The decay of the first moments. Default: 0.9.
    pub beta1: f64,
    /// The decay of the second moments. Default: 0.999.
    pub beta2: f64,
    /// Keeps the divisor from zero; TensorFlow adds it to the uncorrected root, "epsilon hat". Default: 1e-8, and 1e-7 in Keras.
    pub eps: f64,
    /// Divides by the largest second moment so far. An option of Keras. Default: false.
    pub amsgrad: bool,
    /// Whose formula it is, and how the state is called. Default: V1.
    pub convention: Convention,
}

impl ParamsAdam {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsAdam {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: if convention == Convention::V1 { 1e-8 } else { 1e-7 },
            amsgrad: false,
            convention,
        }
    }
}

impl Default for ParamsAdam {
    fn default() -> Self {
        Self::of(Convention::V1)
    }
}

impl Rule for ParamsAdam {
    const KIND: OptimizerKind = OptimizerKind::Adam;
    const NAME: &'static str = "Adam";

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
        moments(self.amsgrad)
    }

    fn betas(&self) -> Option<(f64, f64)> {
        (self.convention == Convention::V1).then_some((self.beta1, self.beta2))
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        update(step, (self.beta1, self.beta2), self.eps, self.amsgrad)
    }
}

/// The settings of [`KerasAdamW`]; those of [`of`](Self::of) are the defaults of Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsKerasAdamW {
    /// The learning rate. Default: 0.001.
    pub lr: f64,
    /// How fast variables shrink. Default: 0.004.
    pub weight_decay: f64,
    /// The decay of the first moments. Default: 0.9.
    pub beta1: f64,
    /// The decay of the second moments. Default: 0.999.
    pub beta2: f64,
    /// Keeps the divisor from zero. Default: 1e-7, and 1e-8 in V1.
    pub eps: f64,
    /// Divides by the largest second moment so far. Default: false.
    pub amsgrad: bool,
    /// How the state is called, and how weights decay. Default: Keras 3.
    pub convention: Convention,
}

impl ParamsKerasAdamW {
    /// The defaults, for the class of this convention.
    pub fn of(convention: Convention) -> Self {
        let ParamsAdam {
            lr,
            beta1,
            beta2,
            eps,
            amsgrad,
            ..
        } = ParamsAdam::of(convention);
        ParamsKerasAdamW {
            lr,
            weight_decay: 0.004,
            beta1,
            beta2,
            eps,
            amsgrad,
            convention,
        }
    }
}

impl Default for ParamsKerasAdamW {
    fn default() -> Self {
        Self::of(Convention::Keras3)
    }
}

impl Rule for ParamsKerasAdamW {
    const KIND: OptimizerKind = OptimizerKind::AdamW;
    const NAME: &'static str = "KerasAdamW";

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
        moments(self.amsgrad)
    }

    fn betas(&self) -> Option<(f64, f64)> {
        (self.convention == Convention::V1).then_some((self.beta1, self.beta2))
    }

    fn weight_decay(&self) -> Option<f64> {
        Some(self.weight_decay)
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        update(step, (self.beta1, self.beta2), self.eps, self.amsgrad)
    }
}

fn moments(amsgrad: bool) -> Vec<(Slot, f64)> {
    let mut slots = vec![(Slot::FirstMoment, 0.0), (Slot::SecondMoment, 0.0)];
    slots.extend(amsgrad.then_some((Slot::MaxSecondMoment, 0.0)));
    slots
}

fn update(step: &Step<'_>, (beta1, beta2): (f64, f64), eps: f64, amsgrad: bool) -> Result<Tensor> {
    let g = &step.gradient;
    let alpha = step_size(step, beta1, beta2);
    let m = step.approach(Slot::FirstMoment, g, step.one_minus(beta1))?;
    let mut v = step.approach(Slot::SecondMoment, &g.sqr()?, step.one_minus(beta2))?;
    if amsgrad {
        v = step.put(Slot::MaxSecondMoment, step.get(Slot::MaxSecondMoment)?.maximum(&v)?)?;
    }
    &step.var - ((m * alpha)? / (v.sqrt()? + step.setting(eps))?)?
}

/// The learning rate, corrected for moments that began as zeros.
pub(super) fn step_size(step: &Step<'_>, beta1: f64, beta2: f64) -> f64 {
    let n = step.n;
    let (power1, power2) = step.beta_powers(beta1, beta2);
    n.div(n.mul(step.lr, n.sqrt(n.sub(1.0, power2))), n.sub(1.0, power1))
}
