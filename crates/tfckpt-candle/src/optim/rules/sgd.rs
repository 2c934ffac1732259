//! Gradient descent, with momentum or without.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::rule::{Rule, Step};

/// Gradient descent, as `tf.compat.v1.train.GradientDescentOptimizer` and `MomentumOptimizer` or `SGD` of Keras compute it:
///
/// ```text
/// V1:    a = a * momentum + g;       var -= a * lr, or with Nesterov g * lr + a * momentum * lr
/// Keras: a = a * momentum - g * lr;  var += a,      or with Nesterov a * momentum - g * lr
/// ```
///
/// `candle_nn::SGD` does without momentum, and is the same then.
pub type Sgd = TfOptimizer<ParamsSgd>;

/// The settings of [`Sgd`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsSgd {
    /// The learning rate. Default: 0.01.
    pub lr: f64,
    /// How much of the last step is taken again. Default: 0, and then nothing is kept.
    pub momentum: f64,
    /// Nesterov's momentum, which looks a step ahead. Default: false.
    pub nesterov: bool,
    /// Whose formula it is, and how the state is called. Default: V1.
    pub convention: Convention,
}

impl ParamsSgd {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsSgd {
            lr: 0.01,
            momentum: 0.0,
            nesterov: false,
            convention,
        }
    }
}

impl Default for ParamsSgd {
    fn default() -> Self {
        Self::of(Convention::V1)
    }
}

impl Rule for ParamsSgd {
    const KIND: OptimizerKind = OptimizerKind::Sgd;
    const NAME: &'static str = "Sgd";

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
        let momentum = (self.momentum != 0.0).then_some((Slot::Momentum, 0.0));
        momentum.into_iter().collect()
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        let (g, lr) = (&step.gradient, step.lr);
        if self.momentum == 0.0 {
            return &step.var - (g * lr)?;
        }
        let momentum = step.n.single(self.momentum);
        let before = step.get(Slot::Momentum)?;
        if self.convention == Convention::V1 {
            let sum = step.put(Slot::Momentum, ((before * momentum)? + g)?)?;
            let change = match self.nesterov {
                true => ((g * lr)? + ((sum * momentum)? * lr)?)?,
                false => (sum * lr)?,
            };
            return &step.var - change;
        }
        let velocity = step.put(Slot::Momentum, ((before * momentum)? - (g * lr)?)?)?;
        match self.nesterov {
            true => &step.var + ((velocity * momentum)? - (g * lr)?)?,
            false => &step.var + velocity,
        }
    }
}
