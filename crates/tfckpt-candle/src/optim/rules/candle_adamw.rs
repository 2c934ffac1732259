//! AdamW, as Candle computes it.

use candle_core::{Result, Tensor};
use candle_nn::ParamsAdamW;
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::super::exact::TfOptimizer;
use super::super::rule::{Rule, Step};

/// `candle_nn::AdamW`, bit for bit, with state that can be saved: slots `VARIABLE/AdamW` and `VARIABLE/AdamW_1`, the
/// first and second moments, and `AdamW/iterations`, an int64. That of Keras is [`KerasAdamW`](super::KerasAdamW).
pub type AdamW = TfOptimizer<ParamsAdamW>;

impl Rule for ParamsAdamW {
    const KIND: OptimizerKind = OptimizerKind::AdamW;
    const NAME: &'static str = "AdamW";

    fn convention(&self) -> Convention {
        Convention::V1
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

    /// The update of `candle_nn::AdamW` 0.11.1 (`optim.rs`, line 152), operation for operation.
    fn update(&self, step: &Step<'_>) -> Result<Tensor> {
        let ParamsAdamW {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        } = *self;
        let (g, t) = (&step.gradient, i32::try_from(step.t).unwrap_or(i32::MAX));
        let scale_m = 1f64 / (1f64 - beta1.powi(t));
        let scale_v = 1f64 / (1f64 - beta2.powi(t));
        let m = step.put(
            Slot::FirstMoment,
            ((step.get(Slot::FirstMoment)? * beta1)? + (g * (1.0 - beta1))?)?,
        )?;
        let v = step.put(
            Slot::SecondMoment,
            ((step.get(Slot::SecondMoment)? * beta2)? + (g.sqr()? * (1.0 - beta2))?)?,
        )?;
        let m_hat = (m * scale_m)?;
        let v_hat = (v * scale_v)?;
        let next_theta = (&step.var * (1f64 - lr * weight_decay))?;
        let adjusted_grad = (m_hat / (v_hat.sqrt()? + eps)?)?;
        next_theta - (adjusted_grad * lr)?
    }
}
