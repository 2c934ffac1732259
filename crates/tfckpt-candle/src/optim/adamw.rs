//! AdamW, as Candle computes it.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW, VarMap};

use super::moments::{Moments, nameless, scalar, set, trainable};
use super::{Changes, CheckpointedOptimizer, OptimizerState};

/// `candle_nn::AdamW`, bit for bit, with state that can be saved: slots `VARIABLE/AdamW` and `VARIABLE/AdamW_1`, the
/// first and second moments, and `AdamW/iterations`, an int64.
#[derive(Debug)]
pub struct AdamW {
    vars: Vec<Moments>,
    params: ParamsAdamW,
    name: String,
    iterations: Var,
    changes: Changes,
}

impl AdamW {
    /// An optimizer of all variables of `varmap` that train: all but integers and running statistics. Variables that
    /// are added to `varmap` later are not trained.
    ///
    /// # Errors
    /// No memory for the moments on the device.
    pub fn new(varmap: &VarMap, params: ParamsAdamW) -> Result<Self> {
        Self::for_vars(trainable(varmap), params)
    }

    /// An optimizer of these variables alone, each with its path in the `VarMap`.
    ///
    /// # Errors
    /// A variable has an integer dtype, or there is no memory for the moments on the device.
    pub fn for_vars(vars: impl IntoIterator<Item = (String, Var)>, params: ParamsAdamW) -> Result<Self> {
        let (vars, iterations) = (Moments::zeros(vars)?, scalar(0i64)?);
        Ok(AdamW {
            vars,
            params,
            name: "AdamW".to_owned(),
            iterations,
            changes: Changes::default(),
        })
    }

    /// Another name for the slots and the counter than `AdamW`, for a second optimizer of the same model.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The settings.
    pub fn params(&self) -> &ParamsAdamW {
        &self.params
    }

    /// Other settings, from the next step on.
    pub fn set_params(&mut self, params: ParamsAdamW) {
        self.params = params;
    }

    /// The number of steps taken, those before a restore included.
    ///
    /// # Errors
    /// None, as long as the counter stays on the CPU.
    pub fn iterations(&self) -> Result<i64> {
        self.iterations.to_scalar()
    }

    /// The update of `candle_nn::AdamW` 0.11.1 (`optim.rs`, line 152), operation for operation.
    fn update(&self, moments: &Moments, g: &Tensor, step: i32) -> Result<()> {
        let ParamsAdamW {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        } = self.params;
        let Moments {
            var: theta,
            first: m,
            second: v,
            ..
        } = moments;
        let scale_m = 1f64 / (1f64 - beta1.powi(step));
        let scale_v = 1f64 / (1f64 - beta2.powi(step));
        let next_m = ((m.as_tensor() * beta1)? + (g * (1.0 - beta1))?)?;
        let next_v = ((v.as_tensor() * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
        let m_hat = (&next_m * scale_m)?;
        let v_hat = (&next_v * scale_v)?;
        let next_theta = (theta.as_tensor() * (1f64 - lr * weight_decay))?;
        let adjusted_grad = (m_hat / (v_hat.sqrt()? + eps)?)?;
        let next_theta = (next_theta - (adjusted_grad * lr)?)?;
        m.set(&next_m)?;
        v.set(&next_v)?;
        theta.set(&next_theta)
    }
}

impl Optimizer for AdamW {
    type Config = ParamsAdamW;

    /// Only for no variables at all: without names their state could not be saved. Use [`AdamW::new`].
    fn new(vars: Vec<Var>, params: ParamsAdamW) -> Result<Self> {
        match vars.is_empty() {
            true => Self::for_vars([], params),
            false => Err(nameless("AdamW")),
        }
    }

    /// Variables without a gradient stay as they are, and so do their moments.
    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.changes.begin();
        let step = self.iterations()? + 1;
        set(&self.iterations, step)?;
        let step = i32::try_from(step).unwrap_or(i32::MAX);
        for moments in &self.vars {
            if let Some(gradient) = gradients.get(&moments.var) {
                self.update(moments, gradient, step)?;
            }
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.params.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.params.lr = lr;
    }
}

impl CheckpointedOptimizer for AdamW {
    fn state(&self) -> OptimizerState {
        let counters = OptimizerState::default()
            .steps(format!("{}/iterations", self.name), &self.iterations)
            .changes(&self.changes);
        Moments::slots(&self.vars, &self.name, counters)
    }
}
