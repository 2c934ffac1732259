//! Adam, as TensorFlow computes it.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var};
use candle_nn::{Optimizer, VarMap};

use super::moments::{Moments, nameless, scalar, set, trainable};
use super::{Changes, CheckpointedOptimizer, OptimizerState};

/// The settings of [`Adam`]; the defaults are TensorFlow's.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamsAdam {
    /// The learning rate. Default: 0.001.
    pub lr: f64,
    /// The decay of the first moments. Default: 0.9.
    pub beta1: f64,
    /// The decay of the second moments. Default: 0.999.
    pub beta2: f64,
    /// Keeps the divisor from zero; TensorFlow adds it to the uncorrected root, "epsilon hat". Default: 1e-8.
    pub eps: f64,
}

impl Default for ParamsAdam {
    fn default() -> Self {
        ParamsAdam {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

/// Adam with the update of `tf.compat.v1.train.AdamOptimizer`, in the same order of operations and the same
/// precision:
///
/// ```text
/// alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
/// m    += (g - m) * (1 - beta1)
/// v    += (g * g - v) * (1 - beta2)
/// var  -= m * alpha / (sqrt(v) + eps)
/// ```
///
/// Its state is that of TensorFlow, so that a run can go on in either: slots `VARIABLE/Adam` (`m`) and
/// `VARIABLE/Adam_1` (`v`), and the float32 scalars `beta1_power` and `beta2_power`, which start as the betas and are
/// multiplied by them after each step. `Adam/iterations`, the number of steps, is ours; checkpoints without it do as
/// well.
#[derive(Debug)]
pub struct Adam {
    vars: Vec<Moments>,
    params: ParamsAdam,
    name: String,
    beta1_power: Var,
    beta2_power: Var,
    iterations: Var,
    changes: Changes,
}

impl Adam {
    /// An optimizer of all variables of `varmap` that train: all but integers and running statistics. Variables that
    /// are added to `varmap` later are not trained.
    ///
    /// # Errors
    /// No memory for the moments on the device.
    pub fn new(varmap: &VarMap, params: ParamsAdam) -> Result<Self> {
        Self::for_vars(trainable(varmap), params)
    }

    /// An optimizer of these variables alone, each with its path in the `VarMap`.
    ///
    /// # Errors
    /// A variable has an integer dtype, or there is no memory for the moments on the device.
    pub fn for_vars(vars: impl IntoIterator<Item = (String, Var)>, params: ParamsAdam) -> Result<Self> {
        Ok(Adam {
            vars: Moments::zeros(vars)?,
            beta1_power: scalar(single(params.beta1))?,
            beta2_power: scalar(single(params.beta2))?,
            iterations: scalar(0i64)?,
            changes: Changes::default(),
            name: NAME.to_owned(),
            params,
        })
    }

    /// Another name for the slots than `Adam`, for a second optimizer of the same model. Its counters are then called
    /// `NAME/beta1_power`, `NAME/beta2_power` and `NAME/iterations`.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The settings.
    pub fn params(&self) -> &ParamsAdam {
        &self.params
    }

    /// Other settings, from the next step on. The betas of the past stay in the powers, as in TensorFlow.
    pub fn set_params(&mut self, params: ParamsAdam) {
        self.params = params;
    }

    /// The number of steps taken, those before a restore included.
    ///
    /// # Errors
    /// None, as long as the counter stays on the CPU.
    pub fn iterations(&self) -> Result<i64> {
        self.iterations.to_scalar()
    }

    fn update(&self, moments: &Moments, gradient: &Tensor, alpha: f64) -> Result<()> {
        let Moments { var, first, second, .. } = moments;
        let scale1 = f64::from(1.0 - single(self.params.beta1));
        let scale2 = f64::from(1.0 - single(self.params.beta2));
        let eps = f64::from(single(self.params.eps));
        let m = (first.as_tensor() + ((gradient - first.as_tensor())? * scale1)?)?;
        let v = (second.as_tensor() + ((gradient.sqr()? - second.as_tensor())? * scale2)?)?;
        let change = ((&m * alpha)? / (v.sqrt()? + eps)?)?;
        let next = (var.as_tensor() - change)?;
        first.set(&m)?;
        second.set(&v)?;
        var.set(&next)
    }

    /// The step size of this step, in the precision of the variables.
    fn alpha(&self, dtype: DType, power1: f32, power2: f32) -> f64 {
        let lr = single(self.params.lr);
        match dtype {
            DType::F64 => f64::from(lr) * (1.0 - f64::from(power2)).sqrt() / (1.0 - f64::from(power1)),
            _ => f64::from(lr * (1.0 - power2).sqrt() / (1.0 - power1)),
        }
    }
}

impl Optimizer for Adam {
    type Config = ParamsAdam;

    /// Only for no variables at all: without names their state could not be saved. Use [`Adam::new`].
    fn new(vars: Vec<Var>, params: ParamsAdam) -> Result<Self> {
        match vars.is_empty() {
            true => Self::for_vars([], params),
            false => Err(nameless("Adam")),
        }
    }

    /// Variables without a gradient stay as they are, and so do their moments.
    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.changes.begin();
        let (power1, power2) = (
            self.beta1_power.to_scalar::<f32>()?,
            self.beta2_power.to_scalar::<f32>()?,
        );
        for moments in &self.vars {
            if let Some(gradient) = gradients.get(&moments.var) {
                self.update(moments, gradient, self.alpha(moments.var.dtype(), power1, power2))?;
            }
        }
        set(&self.beta1_power, power1 * single(self.params.beta1))?;
        set(&self.beta2_power, power2 * single(self.params.beta2))?;
        set(&self.iterations, self.iterations()? + 1)
    }

    fn learning_rate(&self) -> f64 {
        self.params.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.params.lr = lr;
    }
}

impl CheckpointedOptimizer for Adam {
    fn state(&self) -> OptimizerState {
        let scope = if self.name == NAME {
            String::new()
        } else {
            format!("{}/", self.name)
        };
        let counters = OptimizerState::default()
            .counter(format!("{scope}beta1_power"), &self.beta1_power)
            .counter(format!("{scope}beta2_power"), &self.beta2_power)
            .steps(format!("{}/iterations", self.name), &self.iterations)
            .changes(&self.changes);
        Moments::slots(&self.vars, &self.name, counters)
    }
}

const NAME: &str = "Adam";

/// TensorFlow keeps its settings in single precision.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
fn single(value: f64) -> f32 {
    value as f32
}
