//! Adadelta.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::Arithmetic;
use super::state::{settings, state};

/// Adadelta: `tf.compat.v1.train.AdadeltaOptimizer` and `tf.keras.optimizers.Adadelta`.
///
/// ```text
/// accum        = rho * accum + (1 - rho) * g * g
/// update       = sqrt(accum_update + epsilon) / sqrt(accum + epsilon) * g
/// accum_update = rho * accum_update + (1 - rho) * update * update
/// var         -= lr * update
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Adadelta {
    form: Form,
    rho: f64,
    epsilon: f64,
}

state! {
    /// What [`Adadelta`] keeps for a parameter.
    AdadeltaState of "Adadelta" {
        /// The mean of the squares of the gradients.
        accum: Tensor<D>,
        /// The mean of the squares of the changes.
        accum_update: Tensor<D>,
    }
}

impl Adadelta {
    /// That of `tf.compat.v1.train`: epsilon 1e-8.
    pub fn v1() -> Self {
        Adadelta {
            form: Form::V1,
            rho: 0.95,
            epsilon: 1e-8,
        }
    }

    /// That of `tf.keras.optimizers.legacy`: epsilon 1e-7.
    pub fn legacy() -> Self {
        Adadelta {
            form: Form::Legacy,
            epsilon: 1e-7,
            ..Adadelta::v1()
        }
    }

    /// Keras's Adadelta: epsilon 1e-7.
    pub fn keras() -> Self {
        Adadelta {
            form: Form::Keras,
            epsilon: 1e-7,
            ..Adadelta::v1()
        }
    }
}

settings!(Adadelta {
    /// The decay of the means. Default: 0.95.
    with_rho(rho: f64);
    /// Keeps the divisor from zero, and gets the changes started.
    with_epsilon(epsilon: f64);
});

impl Optimizer for Adadelta {
    type State<const D: usize> = AdadeltaState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdadeltaState<D>>,
    ) -> (Tensor<D>, Option<AdadeltaState<D>>) {
        let arithmetic = Arithmetic::of(self.form, &tensor);
        let (rho, rest) = (arithmetic.setting(self.rho), arithmetic.rest(self.rho));
        let epsilon = arithmetic.setting(self.epsilon).value();
        let mean = |mean: Tensor<D>, value: Tensor<D>| {
            mean.mul_scalar(rho.value()) + (value.clone() * value).mul_scalar(rest.value())
        };
        let root = |mean: &Tensor<D>| mean.clone().add_scalar(epsilon).sqrt();
        let mut state = state.unwrap_or_else(|| AdadeltaState {
            accum: tensor.zeros_like(),
            accum_update: tensor.zeros_like(),
            learning_rate: None,
        });
        state.learning_rate = Some(lr);
        state.accum = mean(state.accum, grad.clone());
        let update = root(&state.accum_update) * grad / root(&state.accum);
        state.accum_update = mean(state.accum_update, update.clone());
        let change = update.mul_scalar(arithmetic.single(lr).value());
        (tensor - change, Some(state))
    }

    fn to_device<const D: usize>(state: AdadeltaState<D>, device: &Device) -> AdadeltaState<D> {
        state.on_device(device)
    }
}
