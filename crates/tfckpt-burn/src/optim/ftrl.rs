//! FTRL.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::Arithmetic;
use super::state::{settings, state};

/// FTRL, "follow the regularized leader": `tf.compat.v1.train.FtrlOptimizer` and `tf.keras.optimizers.Ftrl`.
///
/// ```text
/// next    = accum + g * g
/// linear += g + 2 * l2_shrinkage * var - (next^-power - accum^-power) / lr * var
/// var     = (clip(linear, -l1, l1) - linear) / (next^-power / lr + 2 * (l2 + beta / (2 * lr)))
/// accum   = next
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ftrl {
    form: Form,
    power: f64,
    initial_accumulator: f64,
    l1: f64,
    l2: f64,
    l2_shrinkage: f64,
    beta: f64,
}

state! {
    /// What [`Ftrl`] keeps for a parameter.
    FtrlState of "Ftrl" {
        /// The sum of the squares of the gradients.
        accum: Tensor<D>,
        /// The sum of the gradients, less what keeps the parameter near to where it was.
        linear: Tensor<D>,
    }
}

impl Ftrl {
    /// That of `tf.compat.v1.train`.
    pub fn v1() -> Self {
        Ftrl {
            form: Form::V1,
            power: -0.5,
            initial_accumulator: 0.1,
            l1: 0.0,
            l2: 0.0,
            l2_shrinkage: 0.0,
            beta: 0.0,
        }
    }

    /// That of `tf.keras.optimizers.legacy`.
    pub fn legacy() -> Self {
        Ftrl {
            form: Form::Legacy,
            ..Ftrl::v1()
        }
    }

    /// Keras's Ftrl.
    pub fn keras() -> Self {
        Ftrl {
            form: Form::Keras,
            ..Ftrl::v1()
        }
    }
}

settings!(Ftrl {
    /// How the learning rate goes down with the accumulator: `learning_rate_power`, not above 0. Default: -0.5.
    with_power(power: f64);
    /// What the accumulator begins with. Default: 0.1.
    with_initial_accumulator(initial_accumulator: f64);
    /// The strength of the L1 regularization. Default: 0.
    with_l1(l1: f64);
    /// The strength of the L2 regularization. Default: 0.
    with_l2(l2: f64);
    /// The strength of the L2 regularization of the gradients. Default: 0.
    with_l2_shrinkage(l2_shrinkage: f64);
    /// The beta of the paper. Default: 0.
    with_beta(beta: f64);
});

impl Ftrl {
    fn power_of<const D: usize>(&self, accum: &Tensor<D>) -> Tensor<D> {
        match self.power == -0.5 {
            true => accum.clone().sqrt(),
            false => accum.clone().powf_scalar(-self.power),
        }
    }
}

impl Optimizer for Ftrl {
    type State<const D: usize> = FtrlState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<FtrlState<D>>,
    ) -> (Tensor<D>, Option<FtrlState<D>>) {
        let arithmetic = Arithmetic::of(self.form, &tensor);
        let number = |value| arithmetic.setting(value);
        let (rate, lr) = (Some(lr), arithmetic.single(lr));
        let state = state.unwrap_or_else(|| FtrlState {
            accum: tensor.full_like(number(self.initial_accumulator).value()),
            linear: tensor.zeros_like(),
            learning_rate: None,
        });
        let accum = state.accum.clone() + grad.clone() * grad.clone();
        let root = self.power_of(&accum);
        let mut gradient = grad;
        if self.l2_shrinkage != 0.0 {
            gradient = gradient + tensor.clone().mul_scalar(number(2.0 * self.l2_shrinkage).value());
        }
        let pull = (root.clone() - self.power_of(&state.accum)).div_scalar(lr.value()) * tensor;
        let linear = state.linear + (gradient - pull);
        // Both forms take beta into the L2 regularization first.
        let l2 = number(self.l2) + number(self.beta) / (number(2.0) * lr);
        let quadratic = root.div_scalar(lr.value()).add_scalar((number(2.0) * l2).value());
        let l1 = number(self.l1).value();
        let tensor = match self.form {
            Form::V1 | Form::Legacy => {
                let shrunk = linear.clone().sign().mul_scalar(l1) - linear.clone();
                let is_small = linear.clone().abs().lower_equal_scalar(l1);
                (shrunk / quadratic).mask_fill(is_small, 0.0)
            }
            Form::Keras => (linear.clone().clamp(-l1, l1) - linear.clone()) / quadratic,
        };
        let state = FtrlState {
            accum,
            linear,
            learning_rate: rate,
        };
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: FtrlState<D>, device: &Device) -> FtrlState<D> {
        state.on_device(device)
    }
}
