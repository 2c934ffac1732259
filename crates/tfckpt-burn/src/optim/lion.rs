//! Lion.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::Arithmetic;
use super::state::{settings, state};

/// Lion: `tf.keras.optimizers.Lion`.
///
/// ```text
/// var      -= var * (weight_decay * lr)
/// var      -= lr * sign(momentum * beta_1 + g * (1 - beta_1))
/// momentum  = momentum * beta_2 + g * (1 - beta_2)
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Lion {
    beta_1: f64,
    beta_2: f64,
    weight_decay: f64,
}

state! {
    /// What [`Lion`] keeps for a parameter.
    LionState of "Lion" {
        /// The mean of the gradients.
        momentum: Tensor<D>,
    }
}

impl Lion {
    /// Keras's Lion.
    pub fn keras() -> Self {
        Lion {
            beta_1: 0.9,
            beta_2: 0.99,
            weight_decay: 0.0,
        }
    }
}

settings!(Lion {
    /// How much of the mean is in a change. Default: 0.9.
    with_beta_1(beta_1: f64);
    /// The decay of the mean. Default: 0.99.
    with_beta_2(beta_2: f64);
    /// The part of a parameter that is taken from it at each step, times the learning rate. Default: 0.
    with_weight_decay(weight_decay: f64);
});

impl Optimizer for Lion {
    type State<const D: usize> = LionState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        mut tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<LionState<D>>,
    ) -> (Tensor<D>, Option<LionState<D>>) {
        let arithmetic = Arithmetic::of(Form::Keras, &tensor);
        let (rate, lr) = (Some(lr), arithmetic.single(lr).value());
        let mix = |momentum: Tensor<D>, grad: Tensor<D>, beta: f64| {
            let beta = arithmetic.single(beta);
            momentum.mul_scalar(beta.value()) + grad.mul_scalar(beta.complement().value())
        };
        if self.weight_decay != 0.0 {
            let decay = tensor.clone().mul_scalar(arithmetic.setting(self.weight_decay).value());
            tensor = tensor - decay.mul_scalar(lr);
        }
        let momentum = state.map_or_else(|| tensor.zeros_like(), |state| state.momentum);
        let change = mix(momentum.clone(), grad.clone(), self.beta_1).sign().mul_scalar(lr);
        let momentum = mix(momentum, grad, self.beta_2);
        let state = LionState {
            momentum,
            learning_rate: rate,
        };
        (tensor - change, Some(state))
    }

    fn to_device<const D: usize>(state: LionState<D>, device: &Device) -> LionState<D> {
        state.on_device(device)
    }
}
