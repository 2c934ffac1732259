//! Nadam.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::{Arithmetic, Number, count};
use super::state::{settings, state};

/// Nadam: `tf.keras.optimizers.Nadam`.
///
/// ```text
/// u(t)      = beta_1 * (1 - 0.5 * 0.96^t)
/// u_product = u(1) * … * u(t)
/// m        += (g - m) * (1 - beta_1)
/// v        += (g * g - v) * (1 - beta_2)
/// m_hat     = u(t+1) * m / (1 - u_product * u(t+1)) + (1 - u(t)) * g / (1 - u_product)
/// var      -= lr * m_hat / (sqrt(v / (1 - beta_2^t)) + epsilon)
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Nadam {
    form: Form,
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
}

state! {
    /// What [`Nadam`] keeps for a parameter.
    NadamState of "Nadam" {
        /// The mean of the gradients.
        m: Tensor<D>,
        /// The mean of their squares.
        v: Tensor<D>,
        /// Steps so far.
        time: u64,
        /// The product of the momenta of these steps.
        u_product: f64,
    }
}

impl Nadam {
    /// That of `tf.keras.optimizers.legacy`, whose momentum grows more slowly: `0.96^(0.004 * t)`. Epsilon 1e-7.
    pub fn legacy() -> Self {
        Nadam {
            form: Form::Legacy,
            ..Nadam::keras()
        }
    }

    /// Keras's Nadam: epsilon 1e-7.
    pub fn keras() -> Self {
        Nadam {
            form: Form::Keras,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
        }
    }

    /// What a step multiplies the first beta by.
    fn factor(&self, arithmetic: Arithmetic, base: Number, step: u64) -> Number {
        let exponent = match self.form {
            Form::Legacy => arithmetic.number(0.004) * arithmetic.number(count(step)),
            Form::V1 | Form::Keras => arithmetic.number(count(step)),
        };
        (arithmetic.number(0.5) * base.pow(exponent)).complement()
    }
}

settings!(Nadam {
    /// The decay of the first moments. Default: 0.9.
    with_beta_1(beta_1: f64);
    /// The decay of the second moments. Default: 0.999.
    with_beta_2(beta_2: f64);
    /// Keeps the divisor from zero. Default: 1e-7.
    with_epsilon(epsilon: f64);
});

impl Optimizer for Nadam {
    type State<const D: usize> = NadamState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<NadamState<D>>,
    ) -> (Tensor<D>, Option<NadamState<D>>) {
        let arithmetic = Arithmetic::of(self.form, &tensor);
        let number = |value| arithmetic.number(value);
        let (beta_1, beta_2) = (arithmetic.single(self.beta_1), arithmetic.single(self.beta_2));
        let mut state = state.unwrap_or_else(|| NadamState {
            m: tensor.zeros_like(),
            v: tensor.zeros_like(),
            time: 0,
            u_product: 1.0,
            learning_rate: None,
        });
        state.learning_rate = Some(lr);
        state.time += 1;
        let factor = |base: Number, step: u64| self.factor(arithmetic, base, step);
        let base = arithmetic.single(0.96);
        let (now, next) = (beta_1 * factor(base, state.time), beta_1 * factor(base, state.time + 1));
        let before = number(state.u_product);
        let product = match self.form {
            Form::Legacy => before * now,
            Form::V1 | Form::Keras => before * number(self.beta_1) * factor(number(0.96), state.time),
        };
        let product_next = product * next;
        state.u_product = product.value();
        let (rest_1, rest_2) = (beta_1.complement().value(), beta_2.complement().value());
        let squares = grad.clone() * grad.clone();
        let (rest_now, rest_product) = (now.complement().value(), product.complement().value());
        let rest_next = product_next.complement().value();
        let mean = match self.form {
            Form::Legacy => {
                state.m = state.m.mul_scalar(beta_1.value()) + grad.clone().mul_scalar(rest_1);
                state.v = state.v.mul_scalar(beta_2.value()) + squares.mul_scalar(rest_2);
                let ahead = state.m.clone().div_scalar(rest_next).mul_scalar(next.value());
                grad.div_scalar(rest_product).mul_scalar(rest_now) + ahead
            }
            Form::V1 | Form::Keras => {
                state.m = state.m.clone() + (grad.clone() - state.m).mul_scalar(rest_1);
                state.v = state.v.clone() + (squares - state.v).mul_scalar(rest_2);
                let ahead = state.m.clone().mul_scalar(next.value()).div_scalar(rest_next);
                ahead + grad.mul_scalar(rest_now).div_scalar(rest_product)
            }
        };
        let correction = beta_2.to_steps(state.time).complement();
        let root = state.v.clone().div_scalar(correction.value()).sqrt();
        let root = root.add_scalar(arithmetic.setting(self.epsilon).value());
        let change = mean.mul_scalar(arithmetic.single(lr).value()) / root;
        (tensor - change, Some(state))
    }

    fn to_device<const D: usize>(state: NadamState<D>, device: &Device) -> NadamState<D> {
        state.on_device(device)
    }
}
