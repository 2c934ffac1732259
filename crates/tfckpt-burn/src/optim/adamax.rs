//! Adamax.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::{Arithmetic, counted_power, next_power};
use super::state::{settings, state};

/// Adamax: `tf.keras.optimizers.Adamax`, and that of `tf.contrib.opt`.
///
/// ```text
/// m    += (g - m) * (1 - beta_1)
/// v     = max(beta_2 * v, |g|)
/// var  -= lr * m / ((1 - beta_1^t) * (v + epsilon))
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Adamax {
    form: Form,
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
}

state! {
    /// What [`Adamax`] keeps for a parameter.
    AdamaxState of "Adamax" {
        /// The mean of the gradients.
        m: Tensor<D>,
        /// The largest gradient, which fades.
        v: Tensor<D>,
        /// Steps so far.
        time: u64,
        /// `beta_1` to the power of the next step.
        beta1_power: Option<f64>,
    }
}

impl Adamax {
    /// `tf.contrib.opt.AdaMaxOptimizer` of TensorFlow 1: epsilon 1e-8.
    pub fn v1() -> Self {
        Adamax {
            form: Form::V1,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
        }
    }

    /// That of `tf.keras.optimizers.legacy`: epsilon 1e-7.
    pub fn legacy() -> Self {
        Adamax {
            form: Form::Legacy,
            ..Adamax::keras()
        }
    }

    /// Keras's Adamax: epsilon 1e-7.
    pub fn keras() -> Self {
        Adamax {
            form: Form::Keras,
            epsilon: 1e-7,
            ..Adamax::v1()
        }
    }
}

settings!(Adamax {
    /// The decay of the means. Default: 0.9.
    with_beta_1(beta_1: f64);
    /// The decay of the largest gradients. Default: 0.999.
    with_beta_2(beta_2: f64);
    /// Keeps the divisor from zero.
    with_epsilon(epsilon: f64);
});

impl Optimizer for Adamax {
    type State<const D: usize> = AdamaxState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamaxState<D>>,
    ) -> (Tensor<D>, Option<AdamaxState<D>>) {
        let arithmetic = Arithmetic::of(self.form, &tensor);
        let (rate, lr) = (Some(lr), arithmetic.single(lr));
        let mut state = state.unwrap_or_else(|| AdamaxState {
            m: tensor.zeros_like(),
            v: tensor.zeros_like(),
            time: 0,
            beta1_power: None,
            learning_rate: None,
        });
        state.learning_rate = rate;
        state.time += 1;
        let kept = state.beta1_power.filter(|_| self.form == Form::V1);
        let counted = counted_power(kept, self.beta_1, state.time);
        state.beta1_power = Some(next_power(counted, self.beta_1));
        let power = match self.form {
            Form::V1 => arithmetic.single(counted),
            Form::Legacy | Form::Keras => arithmetic.single(self.beta_1).to_steps(state.time),
        };
        state.m = state.m.clone() + (grad.clone() - state.m).mul_scalar(arithmetic.rest(self.beta_1).value());
        state.v = state
            .v
            .mul_scalar(arithmetic.setting(self.beta_2).value())
            .max_pair(grad.abs());
        let divisor = state.v.clone().add_scalar(arithmetic.setting(self.epsilon).value());
        let rest = power.complement();
        let change = match self.form {
            Form::V1 | Form::Legacy => (state.m.clone() / divisor).mul_scalar((lr / rest).value()),
            Form::Keras => state.m.clone().mul_scalar(lr.value()) / divisor.mul_scalar(rest.value()),
        };
        (tensor - change, Some(state))
    }

    fn to_device<const D: usize>(state: AdamaxState<D>, device: &Device) -> AdamaxState<D> {
        state.on_device(device)
    }
}
