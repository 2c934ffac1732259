//! RMSProp.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::form::Form;
use super::number::Arithmetic;
use super::state::{settings, state};

/// RMSProp: `tf.compat.v1.train.RMSPropOptimizer` and `tf.keras.optimizers.RMSprop`.
///
/// ```text
/// rms      = rho * rms + (1 - rho) * g * g
/// mg       = rho * mg + (1 - rho) * g         if it is centered
/// momentum = mu * momentum + lr * g / sqrt(rms - mg * mg + epsilon)
/// var     -= momentum
/// ```
///
/// Burn's own adds epsilon to the root, and has no learning rate in its momentum.
#[derive(Debug, Clone, PartialEq)]
pub struct RmsProp {
    form: Form,
    rho: f64,
    momentum: f64,
    epsilon: f64,
    centered: bool,
}

state! {
    /// What [`RmsProp`] keeps for a parameter.
    RmsPropState of "RMSProp" {
        /// The mean of the squares of the gradients.
        rms: Tensor<D>,
        /// The mean of the gradients, if it is centered.
        mg: Option<Tensor<D>>,
        /// The last change: always in TensorFlow 1, in Keras unless the momentum is 0.
        momentum: Option<Tensor<D>>,
    }
}

impl RmsProp {
    /// That of `tf.compat.v1.train`: epsilon 1e-10, and `rms` begins with 1.
    pub fn v1() -> Self {
        RmsProp {
            form: Form::V1,
            rho: 0.9,
            momentum: 0.0,
            epsilon: 1e-10,
            centered: false,
        }
    }

    /// That of `tf.keras.optimizers.legacy`: epsilon 1e-7, which without momentum is added to the root; `rms` begins with 0.
    pub fn legacy() -> Self {
        RmsProp {
            form: Form::Legacy,
            epsilon: 1e-7,
            ..RmsProp::v1()
        }
    }

    /// Keras's RMSprop: epsilon 1e-7, and `rms` begins with 0.
    pub fn keras() -> Self {
        RmsProp {
            form: Form::Keras,
            epsilon: 1e-7,
            ..RmsProp::v1()
        }
    }
}

settings!(RmsProp {
    /// The decay of the means; `decay` in TensorFlow 1. Default: 0.9.
    with_rho(rho: f64);
    /// How much of a change is left in the next one. Default: 0.
    with_momentum(momentum: f64);
    /// Keeps the divisor from zero.
    with_epsilon(epsilon: f64);
    /// Whether to divide by the variance and not by the mean of the squares. Default: false.
    with_centered(centered: bool);
});

impl RmsProp {
    /// Legacy Keras takes the kernels if it has a momentum.
    fn is_by_kernel(&self) -> bool {
        match self.form {
            Form::V1 => true,
            Form::Legacy => self.momentum > 0.0,
            Form::Keras => false,
        }
    }

    /// A mean of values, with one more of them.
    fn mean<const D: usize>(&self, arithmetic: Arithmetic, mean: Tensor<D>, value: Tensor<D>) -> Tensor<D> {
        let rest = arithmetic.rest(self.rho).value();
        match self.is_by_kernel() {
            true => mean.clone() + (value - mean).mul_scalar(rest),
            false => mean.mul_scalar(arithmetic.setting(self.rho).value()) + value.mul_scalar(rest),
        }
    }
}

impl Optimizer for RmsProp {
    type State<const D: usize> = RmsPropState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<RmsPropState<D>>,
    ) -> (Tensor<D>, Option<RmsPropState<D>>) {
        let arithmetic = Arithmetic::of(self.form, &tensor);
        let mut state = state.unwrap_or_else(|| RmsPropState {
            rms: match self.form {
                Form::V1 => tensor.ones_like(),
                Form::Legacy | Form::Keras => tensor.zeros_like(),
            },
            mg: None,
            momentum: None,
            learning_rate: None,
        });
        state.learning_rate = Some(lr);
        let squares = grad.clone() * grad.clone();
        state.rms = self.mean(arithmetic, state.rms, squares);
        let mut variance = state.rms.clone();
        if self.centered {
            let mg = state.mg.unwrap_or_else(|| tensor.zeros_like());
            let mg = self.mean(arithmetic, mg, grad.clone());
            variance = variance - mg.clone() * mg.clone();
            state.mg = Some(mg);
        }
        let epsilon = arithmetic.setting(self.epsilon).value();
        let root = match self.form == Form::Legacy && !self.is_by_kernel() {
            true => variance.sqrt().add_scalar(epsilon),
            false => variance.add_scalar(epsilon).sqrt(),
        };
        let mut change = grad.mul_scalar(arithmetic.single(lr).value()) / root;
        if self.form == Form::V1 || self.momentum > 0.0 {
            let momentum = state.momentum.unwrap_or_else(|| tensor.zeros_like());
            change = momentum.mul_scalar(arithmetic.setting(self.momentum).value()) + change;
            state.momentum = Some(change.clone());
        }
        (tensor - change, Some(state))
    }

    fn to_device<const D: usize>(state: RmsPropState<D>, device: &Device) -> RmsPropState<D> {
        state.on_device(device)
    }
}
