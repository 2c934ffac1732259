//! Nadam.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::precision::{Precision, div};
use super::super::rule::{Rule, Step};
use super::adam::step_size;

/// Nadam, as `Nadam` of Keras computes it, with momenta `u` that grow step by step; their product is state, too:
///
/// ```text
/// u(t)     = beta1 * (1 - 0.5 * 0.96^t)
/// product *= u(t)
/// m       += (g - m) * (1 - beta1)
/// v       += (g * g - v) * (1 - beta2)
/// m_hat    = u(t+1) * m / (1 - product * u(t+1)) + (1 - u(t)) * g / (1 - product)
/// var     -= m_hat * lr / (sqrt(v / (1 - beta2^t)) + eps)
/// ```
///
/// In legacy Keras the exponent is `0.004 * t`. For V1 it is `tf.contrib.opt.NadamOptimizer` of TensorFlow 1.15, which is
/// Adam with `(1 - beta1) * g + beta1 * m` for `m` in its last line, and is called `Adam`.
pub type Nadam = TfOptimizer<ParamsNadam>;

/// The settings of [`Nadam`]; those of [`of`](Self::of) are the defaults of TensorFlow or Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsNadam {
    /// The learning rate. Default: 0.001.
    pub lr: f64,
    /// The decay of the first moments. Default: 0.9.
    pub beta1: f64,
    /// The decay of the second moments. Default: 0.999.
    pub beta2: f64,
    /// Keeps the divisor from zero. Default: 1e-8, and 1e-7 in Keras.
    pub eps: f64,
    /// Whose formula it is, and how the state is called. Default: V1.
    pub convention: Convention,
}

impl ParamsNadam {
    /// The defaults of the class of this convention.
    pub fn of(convention: Convention) -> Self {
        ParamsNadam {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: if convention == Convention::V1 { 1e-8 } else { 1e-7 },
            convention,
        }
    }
}

impl Default for ParamsNadam {
    fn default() -> Self {
        Self::of(Convention::V1)
    }
}

impl Rule for ParamsNadam {
    const KIND: OptimizerKind = OptimizerKind::Nadam;
    const NAME: &'static str = "Nadam";

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
        vec![(Slot::FirstMoment, 0.0), (Slot::SecondMoment, 0.0)]
    }

    fn betas(&self) -> Option<(f64, f64)> {
        (self.convention == Convention::V1).then_some((self.beta1, self.beta2))
    }

    fn momentum(&self, n: Precision, t: i64) -> Option<f64> {
        match self.convention {
            Convention::V1 => None,
            // Keras 3 multiplies the product by numbers of Python, and casts those of the formula.
            Convention::Keras3 => Some(self.momentum_of(n, t, Precision::round)),
            _ => Some(self.momentum_at(n, t)),
        }
    }

    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        match self.convention {
            Convention::V1 => self.update_v1(step),
            Convention::Keras2Legacy => self.update_legacy(step),
            _ => self.update_keras(step),
        }
    }
}

impl ParamsNadam {
    /// The momentum of step `t`, which grows towards `beta1`.
    fn momentum_at(&self, n: Precision, t: i64) -> f64 {
        self.momentum_of(n, t, Precision::single)
    }

    fn momentum_of(&self, n: Precision, t: i64, setting: impl Fn(Precision, f64) -> f64) -> f64 {
        let decay = match self.convention {
            Convention::Keras2Legacy => 0.004,
            _ => 1.0,
        };
        #[expect(clippy::cast_precision_loss, reason = "TensorFlow casts it, too")]
        let exponent = n.mul(n.round(decay), n.round(t as f64));
        let power = n.pow(setting(n, 0.96), exponent);
        n.mul(setting(n, self.beta1), n.sub(1.0, n.mul(0.5, power)))
    }

    /// The kernel of Adam with `use_nesterov`.
    fn update_v1(&self, step: &Step<'_>) -> Result<Tensor> {
        let g = &step.gradient;
        let alpha = step_size(step, self.beta1, self.beta2);
        let part = step.one_minus(self.beta1);
        let m = step.approach(Slot::FirstMoment, g, part)?;
        let v = step.approach(Slot::SecondMoment, &g.sqr()?, step.one_minus(self.beta2))?;
        let ahead = ((g * part)? + (m * step.setting(self.beta1))?)?;
        &step.var - ((ahead * alpha)? / (v.sqrt()? + step.setting(self.eps))?)?
    }

    fn update_legacy(&self, step: &Step<'_>) -> Result<Tensor> {
        let (g, n) = (&step.gradient, step.n);
        let (beta1, beta2) = (step.setting(self.beta1), step.setting(self.beta2));
        let (now, next) = (self.momentum_at(n, step.t), self.momentum_at(n, step.t + 1));
        let product = step.product;
        let g_corrected = div(g, n.sub(1.0, product))?;
        let m = step.mix(Slot::FirstMoment, beta1, g, n.sub(1.0, beta1))?;
        let m_corrected = div(&m, n.sub(1.0, n.mul(product, next)))?;
        let v = step.mix(Slot::SecondMoment, beta2, &g.sqr()?, n.sub(1.0, beta2))?;
        let v_corrected = div(&v, n.sub(1.0, step.power(self.beta2)))?;
        let m_bar = ((g_corrected * n.sub(1.0, now))? + (m_corrected * next)?)?;
        &step.var - ((m_bar * step.lr)? / (v_corrected.sqrt()? + step.setting(self.eps))?)?
    }

    fn update_keras(&self, step: &Step<'_>) -> Result<Tensor> {
        let (g, n) = (&step.gradient, step.n);
        let part = |beta: f64| n.sub(1.0, n.single(beta));
        let (now, next) = (self.momentum_at(n, step.t), self.momentum_at(n, step.t + 1));
        let product = step.product;
        let m = step.approach(Slot::FirstMoment, g, part(self.beta1))?;
        let v = step.approach(Slot::SecondMoment, &g.sqr()?, part(self.beta2))?;
        let ahead = div(&(m * next)?, n.sub(1.0, n.mul(product, next)))?;
        let m_hat = (ahead + div(&(g * n.sub(1.0, now))?, n.sub(1.0, product))?)?;
        let v_hat = div(&v, n.sub(1.0, step.power(self.beta2)))?;
        &step.var - ((m_hat * step.lr)? / (v_hat.sqrt()? + step.setting(self.eps))?)?
    }
}
