//! Gradient descent, with and without momentum.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::Arithmetic;
use super::state::{settings, state};

/// Gradient descent with the momentum of TensorFlow 1: `tf.compat.v1.train.MomentumOptimizer`.
///
/// ```text
/// momentum = momentum * mu + g
/// var     -= momentum * lr                    with Nesterov: g * lr + momentum * mu * lr
/// ```
///
/// Burn's own has a dampening of 0.1 by default, which TensorFlow does not have.
#[derive(Debug, Clone, PartialEq)]
pub struct Momentum {
    momentum: f64,
    nesterov: bool,
}

state! {
    /// What [`Momentum`] keeps for a parameter.
    MomentumState of "Momentum" {
        /// The sum of the gradients, which fades.
        momentum: Tensor<D>,
    }
}

impl Momentum {
    /// That of `tf.compat.v1.train`, where the momentum, often 0.9, has no default.
    pub fn v1(momentum: f64) -> Self {
        Momentum {
            momentum,
            nesterov: false,
        }
    }
}

settings!(Momentum {
    /// Whether to look a step ahead. Default: false.
    with_nesterov(nesterov: bool);
});

impl Optimizer for Momentum {
    type State<const D: usize> = MomentumState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<MomentumState<D>>,
    ) -> (Tensor<D>, Option<MomentumState<D>>) {
        let arithmetic = Arithmetic::of(Form::V1, &tensor);
        let rate = Some(lr);
        let (lr, mu) = (arithmetic.single(lr).value(), arithmetic.setting(self.momentum).value());
        let momentum = state.map_or_else(|| tensor.zeros_like(), |state| state.momentum);
        let momentum = momentum.mul_scalar(mu) + grad.clone();
        let change = match self.nesterov {
            true => grad.mul_scalar(lr) + momentum.clone().mul_scalar(mu).mul_scalar(lr),
            false => momentum.clone().mul_scalar(lr),
        };
        let state = MomentumState {
            momentum,
            learning_rate: rate,
        };
        (tensor - change, Some(state))
    }

    fn to_device<const D: usize>(state: MomentumState<D>, device: &Device) -> MomentumState<D> {
        state.on_device(device)
    }
}

/// Gradient descent as in Keras: `tf.keras.optimizers.SGD`; without momentum also
/// `tf.compat.v1.train.GradientDescentOptimizer`.
///
/// ```text
/// momentum = momentum * mu - g * lr
/// var     += momentum                         with Nesterov: momentum * mu - g * lr
/// ```
///
/// Unlike that of [`Momentum`] the slot has the learning rate in it, and points the other way.
#[derive(Debug, Clone, PartialEq)]
pub struct Sgd {
    momentum: f64,
    nesterov: bool,
}

state! {
    /// What [`Sgd`] keeps for a parameter.
    SgdState of "SGD" {
        /// The last change, unless the momentum is 0.
        momentum: Option<Tensor<D>>,
    }
}

impl Sgd {
    /// Without momentum.
    pub fn keras() -> Self {
        Sgd {
            momentum: 0.0,
            nesterov: false,
        }
    }
}

settings!(Sgd {
    /// How much of a change is left in the next one. Default: 0.
    with_momentum(momentum: f64);
    /// Whether to look a step ahead. Default: false.
    with_nesterov(nesterov: bool);
});

impl Optimizer for Sgd {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        let arithmetic = Arithmetic::of(Form::Keras, &tensor);
        let mu = arithmetic.single(self.momentum).value();
        let step = grad.mul_scalar(arithmetic.single(lr).value());
        if self.momentum == 0.0 {
            let state = SgdState {
                momentum: None,
                learning_rate: Some(lr),
            };
            return (tensor - step, Some(state));
        }
        let momentum = state.and_then(|state| state.momentum);
        let momentum = momentum.unwrap_or_else(|| tensor.zeros_like()).mul_scalar(mu) - step.clone();
        let change = match self.nesterov {
            true => momentum.clone().mul_scalar(mu) - step,
            false => momentum.clone(),
        };
        let state = SgdState {
            momentum: Some(momentum),
            learning_rate: Some(lr),
        };
        (tensor + change, Some(state))
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        state.on_device(device)
    }
}
