//! The two moments of each variable, which both Adams keep.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::VarMap;
use tfckpt::map::Role;

use super::OptimizerState;
use crate::kinds::split;
use crate::variables::named_vars;

/// A variable and its moments.
#[derive(Debug)]
pub(super) struct Moments {
    path: String,
    pub(super) var: Var,
    pub(super) first: Var,
    pub(super) second: Var,
}

impl Moments {
    /// Zeros for each of `vars`.
    pub(super) fn zeros(vars: impl IntoIterator<Item = (String, Var)>) -> Result<Vec<Moments>> {
        let moments = |(path, var): (String, Var)| {
            if !var.dtype().is_float() {
                let what = format!("`{path}` has dtype {:?}, which no gradient can change", var.dtype());
                return Err(candle_core::Error::Msg(what).bt());
            }
            let zeros = || Var::zeros(var.shape(), var.dtype(), var.device());
            Ok(Moments {
                path,
                first: zeros()?,
                second: zeros()?,
                var,
            })
        };
        vars.into_iter().map(moments).collect()
    }

    /// Adds the moments to `state`, as slots called `NAME` and `NAME_1`.
    pub(super) fn slots(all: &[Moments], name: &str, state: OptimizerState) -> OptimizerState {
        let second = format!("{name}_1");
        let add = |state: OptimizerState, moments: &Moments| {
            let state = state.slot(&moments.path, name, &moments.first);
            state.slot(&moments.path, &second, &moments.second)
        };
        all.iter().fold(state, add)
    }
}

/// The variables of a `VarMap` that train, sorted by path: all but integers and the running statistics of batch
/// norms, which TensorFlow does not count as trainable either.
pub(super) fn trainable(varmap: &VarMap) -> impl Iterator<Item = (String, Var)> {
    named_vars(varmap).into_iter().filter(|(path, var)| {
        let role = Role::of_field(split(path).1);
        var.dtype().is_float() && !matches!(role, Role::RunningMean | Role::RunningVar)
    })
}

/// A scalar that counts, on the CPU.
pub(super) fn scalar<T: candle_core::WithDType>(value: T) -> Result<Var> {
    Var::from_vec(vec![value], (), &Device::Cpu)
}

/// Sets such a scalar.
pub(super) fn set<T: candle_core::WithDType>(scalar: &Var, value: T) -> Result<()> {
    scalar.set(&Tensor::from_vec(vec![value], (), &Device::Cpu)?)
}

/// Why `candle_nn::Optimizer::new` cannot build an optimizer for these.
pub(super) fn nameless(optimizer: &str) -> candle_core::Error {
    let what = format!(
        "variables without names cannot be found again in a checkpoint: build the optimizer by `{optimizer}::new(&varmap, params)`"
    );
    candle_core::Error::Msg(what).bt()
}
