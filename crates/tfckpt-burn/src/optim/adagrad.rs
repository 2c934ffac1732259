//! Adagrad.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::Arithmetic;
use super::state::{settings, state};

/// Adagrad: `tf.compat.v1.train.AdagradOptimizer` and `tf.keras.optimizers.Adagrad`.
///
/// ```text
/// accumulator += g * g
/// var         -= lr * g / sqrt(accumulator + epsilon)
/// ```
///
/// The accumulator begins with 0.1; that of Burn's own begins with 0, and there epsilon is added to the root.
#[derive(Debug, Clone, PartialEq)]
pub struct Adagrad {
    form: Form,
    initial_accumulator: f64,
    epsilon: f64,
}

state! {
    /// What [`Adagrad`] keeps for a parameter.
    AdagradState of "Adagrad" {
        /// The sum of the squares of the gradients.
        accumulator: Tensor<D>,
    }
}

impl Adagrad {
    /// That of `tf.compat.v1.train`, which has no epsilon.
    pub fn v1() -> Self {
        Adagrad {
            form: Form::V1,
            initial_accumulator: 0.1,
            epsilon: 0.0,
        }
    }

    /// That of `tf.keras.optimizers.legacy`: epsilon 1e-7, which is added to the root.
    pub fn legacy() -> Self {
        Adagrad {
            form: Form::Legacy,
            ..Adagrad::keras()
        }
    }

    /// Keras's Adagrad: epsilon 1e-7.
    pub fn keras() -> Self {
        Adagrad {
            form: Form::Keras,
            epsilon: 1e-7,
            ..Adagrad::v1()
        }
    }
}

settings!(Adagrad {
    /// What the accumulator begins with. Default: 0.1.
    with_initial_accumulator(initial_accumulator: f64);
    /// Keeps the divisor from zero. Default: 1e-7; with [`v1`](Self::v1) it has no effect.
    with_epsilon(epsilon: f64);
});

impl Optimizer for Adagrad {
    type State<const D: usize> = AdagradState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdagradState<D>>,
    ) -> (Tensor<D>, Option<AdagradState<D>>) {
        let arithmetic = Arithmetic::of(self.form, &tensor);
        let epsilon = arithmetic.setting(self.epsilon).value();
        let accumulator = match state {
            Some(state) => state.accumulator,
            None => tensor.full_like(arithmetic.setting(self.initial_accumulator).value()),
        };
        let accumulator = accumulator + grad.clone() * grad.clone();
        let root = match self.form {
            Form::V1 => accumulator.clone().sqrt(),
            Form::Legacy => accumulator.clone().sqrt().add_scalar(epsilon),
            Form::Keras => accumulator.clone().add_scalar(epsilon).sqrt(),
        };
        let change = grad.mul_scalar(arithmetic.single(lr).value()) / root;
        let state = AdagradState {
            accumulator,
            learning_rate: Some(lr),
        };
        (tensor - change, Some(state))
    }

    fn to_device<const D: usize>(state: AdagradState<D>, device: &Device) -> AdagradState<D> {
        state.on_device(device)
    }
}
