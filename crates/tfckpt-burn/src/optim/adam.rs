//! Adam and AdamW.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::{Arithmetic, Number, counted_power, next_power};
use super::state::{settings, state};

/// Adam: `tf.compat.v1.train.AdamOptimizer`, `tf.keras.optimizers.Adam` and `AdamW`.
///
/// ```text
/// var  -= var * (weight_decay * lr)
/// alpha = lr * sqrt(1 - beta_2^t) / (1 - beta_1^t)
/// m    += (g - m) * (1 - beta_1)
/// v    += (g * g - v) * (1 - beta_2)
/// vhat  = max(vhat, v)
/// var  -= m * alpha / (sqrt(v or vhat) + epsilon)
/// ```
///
/// Epsilon is added to the root of the uncorrected `v`, "epsilon hat"; Burn's own Adam adds it to the corrected one. The
/// powers of the betas are products of float32 numbers in TensorFlow 1, which is what its checkpoints have, and computed
/// from the number of steps in Keras.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    form: Form,
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    weight_decay: f64,
    amsgrad: bool,
    nesterov: bool,
}

state! {
    /// What [`Adam`] keeps for a parameter.
    AdamState of "Adam" {
        /// The mean of the gradients.
        m: Tensor<D>,
        /// The mean of their squares.
        v: Tensor<D>,
        /// The largest `v` so far, with AMSGrad.
        vhat: Option<Tensor<D>>,
        /// Steps so far.
        time: u64,
        /// `beta_1` to the power of the next step.
        beta1_power: Option<f64>,
        /// `beta_2` to the power of the next step.
        beta2_power: Option<f64>,
    }
}

impl Adam {
    /// That of `tf.compat.v1.train`: epsilon 1e-8.
    pub fn v1() -> Self {
        Adam {
            form: Form::V1,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
            nesterov: false,
        }
    }

    /// That of `tf.keras.optimizers.legacy`: epsilon 1e-7.
    pub fn legacy() -> Self {
        Adam {
            form: Form::Legacy,
            epsilon: 1e-7,
            ..Adam::v1()
        }
    }

    /// Keras's Adam: epsilon 1e-7.
    pub fn keras() -> Self {
        Adam {
            form: Form::Keras,
            epsilon: 1e-7,
            ..Adam::v1()
        }
    }

    /// Keras's AdamW: epsilon 1e-7, weight decay 0.004.
    pub fn adamw() -> Self {
        Adam {
            weight_decay: 0.004,
            ..Adam::keras()
        }
    }
}

settings!(Adam {
    /// The decay of the first moments. Default: 0.9.
    with_beta_1(beta_1: f64);
    /// The decay of the second moments. Default: 0.999.
    with_beta_2(beta_2: f64);
    /// Keeps the divisor from zero.
    with_epsilon(epsilon: f64);
    /// The part of a parameter that is taken from it at each step, times the learning rate; with [`v1`](Self::v1) it is as
    /// in `tf.contrib.opt.AdamWOptimizer`, where the learning rate has no part in it. Default: 0, for AdamW 0.004.
    with_weight_decay(weight_decay: f64);
    /// Whether to divide by the largest `v` so far. Default: false.
    with_amsgrad(amsgrad: bool);
    /// Whether to look a step ahead; with [`v1`](Self::v1) this is `tf.contrib.opt.NadamOptimizer`, which is not the
    /// [`Nadam`](super::Nadam) of Keras. Default: false.
    with_nesterov(nesterov: bool);
});

impl Adam {
    /// In TensorFlow 1 the decay is not multiplied by the learning rate.
    fn decayed<const D: usize>(&self, arithmetic: Arithmetic, lr: Number, tensor: Tensor<D>) -> Tensor<D> {
        if self.weight_decay == 0.0 {
            return tensor;
        }
        let mut decay = tensor.clone().mul_scalar(arithmetic.setting(self.weight_decay).value());
        if self.form != Form::V1 {
            decay = decay.mul_scalar(lr.value());
        }
        tensor - decay
    }
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        mut tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let arithmetic = Arithmetic::of(self.form, &tensor);
        let (rate, lr) = (Some(lr), arithmetic.single(lr));
        let mut state = state.unwrap_or_else(|| AdamState {
            m: tensor.zeros_like(),
            v: tensor.zeros_like(),
            vhat: None,
            time: 0,
            beta1_power: None,
            beta2_power: None,
            learning_rate: None,
        });
        state.learning_rate = rate;
        state.time += 1;
        let time = state.time;
        let power = |kept: &mut Option<f64>, beta: f64| {
            let counted = counted_power(kept.filter(|_| self.form == Form::V1), beta, time);
            *kept = Some(next_power(counted, beta));
            match self.form {
                Form::V1 => arithmetic.single(counted),
                Form::Legacy | Form::Keras => arithmetic.single(beta).to_steps(time),
            }
        };
        let power_1 = power(&mut state.beta1_power, self.beta_1);
        let power_2 = power(&mut state.beta2_power, self.beta_2);
        let alpha = lr * power_2.complement().sqrt() / power_1.complement();
        let (rest_1, rest_2) = (arithmetic.rest(self.beta_1), arithmetic.rest(self.beta_2));
        tensor = self.decayed(arithmetic, lr, tensor);
        let squares = grad.clone() * grad.clone();
        state.m = state.m.clone() + (grad.clone() - state.m).mul_scalar(rest_1.value());
        state.v = state.v.clone() + (squares - state.v).mul_scalar(rest_2.value());
        if self.amsgrad {
            let largest = state.vhat.unwrap_or_else(|| state.v.zeros_like());
            state.vhat = Some(largest.max_pair(state.v.clone()));
        }
        let second = match &state.vhat {
            Some(largest) if self.amsgrad => largest,
            _ => &state.v,
        };
        let root = second
            .clone()
            .sqrt()
            .add_scalar(arithmetic.setting(self.epsilon).value());
        let first = match self.nesterov {
            true => {
                grad.mul_scalar(rest_1.value()) + state.m.clone().mul_scalar(arithmetic.setting(self.beta_1).value())
            }
            false => state.m.clone(),
        };
        tensor = tensor - first.mul_scalar(alpha.value()) / root;
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: AdamState<D>, device: &Device) -> AdamState<D> {
        state.on_device(device)
    }
}
