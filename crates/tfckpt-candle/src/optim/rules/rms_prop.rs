//! RMSProp, with momentum and mean or without.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::rule::{Rule, Step};

/// RMSProp, as `tf.compat.v1.train.RMSPropOptimizer` or `RMSprop` of Keras compute it:
///
/// ```text
/// rms += (g * g - rms) * (1 - rho)
/// mg  += (g - mg) * (1 - rho)                           if centered, and then rms - mg * mg below
/// mom  = mom * momentum + g * lr / sqrt(rms + eps)
/// var -= mom
/// ```
///
/// V1 starts `rms` at 1, Keras at 0. Legacy Keras without momentum adds epsilon to the root.
pub type RmsProp = TfOptimizer<ParamsRmsProp>;

/// The settings of [`RmsProp`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsRmsProp {
    /// The learning rate. Default: 0.001; V1 has none.
    pub lr: f64,
    /// The decay of the means, `decay` of V1. Default: 0.9.
    pub rho: f64,
    /// How much of the last step is taken again. Default: 0.
    pub momentum: f64,
    /// Keeps the divisor from zero. Default: 1e-7, and 1e-10 in V1.
    pub eps: f64,
    /// Whether the squared mean is subtracted from the mean of squares. Default: false.
    pub centered: bool,
    /// Whose formula it is, and how the state is called. Default: V1.
    pub convention: Convention,
}

impl ParamsRmsProp {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsRmsProp {
            lr: 1e-3,
            rho: 0.9,
            momentum: 0.0,
            eps: if convention == Convention::V1 { 1e-10 } else { 1e-7 },
            centered: false,
            convention,
        }
    }
}

impl Default for ParamsRmsProp {
    fn default() -> Self {
        Self::of(Convention::V1)
    }
}

impl Rule for ParamsRmsProp {
    const KIND: OptimizerKind = OptimizerKind::RmsProp;
    const NAME: &'static str = "RmsProp";

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
        let is_v1 = self.convention == Convention::V1;
        let mut slots = vec![(Slot::SecondMoment, if is_v1 { 1.0 } else { 0.0 })];
        slots.extend((is_v1 || self.momentum > 0.0).then_some((Slot::Momentum, 0.0)));
        slots.extend(self.centered.then_some((Slot::MeanGradient, 0.0)));
        slots
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        let g = &step.gradient;
        let (rho, part) = (step.setting(self.rho), step.one_minus(self.rho));
        // The kernels of TensorFlow always have a momentum; legacy Keras takes them if it has one.
        let by_kernel = step.by_kernels() && (self.convention == Convention::V1 || self.momentum > 0.0);
        let mean = |slot, value: &Tensor| match by_kernel {
            true => step.approach(slot, value, part),
            false => step.mix(slot, rho, value, part),
        };
        let mut squares = mean(Slot::SecondMoment, &g.sqr()?)?;
        if self.centered {
            squares = (squares - mean(Slot::MeanGradient, g)?.sqr()?)?;
        }
        let eps = step.setting(self.eps);
        let root = match self.convention == Convention::Keras2Legacy && !by_kernel {
            true => (squares.sqrt()? + eps)?,
            false => (squares + eps)?.sqrt()?,
        };
        let change = ((g * step.lr)? / root)?;
        if !by_kernel && self.momentum <= 0.0 {
            return &step.var - change;
        }
        let before = step.get(Slot::Momentum)?;
        let change = step.put(Slot::Momentum, ((before * step.setting(self.momentum))? + change)?)?;
        &step.var - change
    }
}
