//! The variables that optimizers train, and what they keep for each.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::VarMap;
use tfckpt::map::Role;
use tfckpt::optimizers::Slot;

use crate::kinds::split;
use crate::variables::named_vars;

/// A variable and its slots.
#[derive(Debug)]
pub(super) struct Trained {
    /// Its path in the `VarMap`.
    pub(super) path: String,
    pub(super) var: Var,
    pub(super) slots: Vec<(Slot, Var)>,
}

impl Trained {
    /// Each of `vars` with new slots of these initial values.
    pub(super) fn all(vars: impl IntoIterator<Item = (String, Var)>, slots: &[(Slot, f64)]) -> Result<Vec<Trained>> {
        let trained = |(path, var): (String, Var)| {
            if !var.dtype().is_float() {
                let what = format!("`{path}` has dtype {:?}, which no gradient can change", var.dtype());
                return Err(candle_core::Error::Msg(what).bt());
            }
            let mut trained = Trained {
                path,
                var,
                slots: Vec::new(),
            };
            slots.iter().try_for_each(|&(slot, value)| trained.add(slot, value))?;
            Ok(trained)
        };
        vars.into_iter().map(trained).collect()
    }

    /// One more slot.
    pub(super) fn add(&mut self, slot: Slot, value: f64) -> Result<()> {
        let (shape, dtype, device) = (self.var.shape(), self.var.dtype(), self.var.device());
        let zeros = Tensor::zeros(shape, dtype, device)?;
        let value = match value {
            0.0 => Var::from_tensor(&zeros)?,
            value => Var::from_tensor(&(zeros + value)?)?,
        };
        self.slots.push((slot, value));
        Ok(())
    }

    pub(super) fn slot(&self, wanted: Slot) -> Result<&Var> {
        let mut slots = self.slots.iter();
        let found = slots.find(|(slot, _)| *slot == wanted).map(|(_, value)| value);
        found.ok_or_else(|| {
            let what = format!(
                "the optimizer keeps no {wanted:?} for `{}`, as its settings want it now: build it with these settings",
                self.path
            );
            candle_core::Error::Msg(what).bt()
        })
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
