//! What the optimizers differ in.

use candle_core::{Result, Tensor};
use tfckpt::optimizers::{Convention, OptimizerKind, Slot};

use super::precision::{Precision, single};
use super::vars::Trained;

/// The settings of an optimizer, and what it computes from them.
pub trait Rule: std::fmt::Debug + Clone {
    /// Which optimizer it is.
    const KIND: OptimizerKind;

    /// What the type is called in this crate.
    const NAME: &'static str;

    /// Whose formula it computes, and how its state is called.
    fn convention(&self) -> Convention;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Sets it.
    fn set_lr(&mut self, lr: f64);

    /// What it keeps for each variable, with the initial values.
    fn slots(&self) -> Vec<(Slot, f64)>;

    /// The decay rates whose powers it counts, if it counts them: only V1 does.
    fn betas(&self) -> Option<(f64, f64)> {
        None
    }

    /// By what the product of the momenta of Nadam is multiplied at step `t`, the first of which is 1.
    fn momentum(&self, n: Precision, t: i64) -> Option<f64> {
        let _ = (n, t);
        None
    }

    /// Weight decay that is a setting of the optimizer and no option.
    fn weight_decay(&self) -> Option<f64> {
        None
    }

    /// The next value of the variable. Keeps the next values of the slots itself.
    fn update(&self, step: &Step<'_>) -> Result<Tensor>;
}

/// A step for one variable.
#[derive(Debug)]
pub struct Step<'a> {
    pub(super) trained: &'a Trained,
    pub(super) convention: Convention,
    /// Values before the step.
    pub(super) var: Tensor,
    pub(super) gradient: Tensor,
    pub(super) n: Precision,
    /// In the precision of the variable, by way of a float32.
    pub(super) lr: f64,
    /// The number of this step, from 1.
    pub(super) t: i64,
    /// The powers of the betas, where they are counted.
    pub(super) powers: (f32, f32),
    /// The product of the momenta, that of this step included.
    pub(super) product: f64,
}

impl Step<'_> {
    pub(super) fn get(&self, slot: Slot) -> Result<Tensor> {
        Ok(self.trained.slot(slot)?.as_detached_tensor())
    }

    /// Keeps the next value of a slot, and returns it.
    pub(super) fn put(&self, slot: Slot, value: Tensor) -> Result<Tensor> {
        self.trained.slot(slot)?.set(&value)?;
        Ok(value)
    }

    /// Moves a slot towards a value: `slot += (value - slot) * part`.
    pub(super) fn approach(&self, slot: Slot, value: &Tensor, part: f64) -> Result<Tensor> {
        let before = self.get(slot)?;
        let next = (&before + ((value - &before)? * part)?)?;
        self.put(slot, next)
    }

    /// Mixes a value into a slot: `slot = rho * slot + part * value`.
    pub(super) fn mix(&self, slot: Slot, rho: f64, value: &Tensor, part: f64) -> Result<Tensor> {
        let next = ((self.get(slot)? * rho)? + (value * part)?)?;
        self.put(slot, next)
    }

    /// Whether the kernels of TensorFlow compute, to which settings come as float32 tensors; Keras since 2.11 puts together
    /// other operations, with numbers of Python. Those that it casts beforehand become float32 tensors there as well.
    pub(super) fn by_kernels(&self) -> bool {
        matches!(self.convention, Convention::V1 | Convention::Keras2Legacy)
    }

    /// A setting in the precision of the variable.
    pub(super) fn setting(&self, value: f64) -> f64 {
        match self.by_kernels() {
            true => self.n.single(value),
            false => self.n.round(value),
        }
    }

    /// One minus a setting: kernels subtract in the precision of the variable, and Python before it rounds.
    pub(super) fn one_minus(&self, value: f64) -> f64 {
        match self.by_kernels() {
            true => self.n.sub(1.0, self.n.single(value)),
            false => self.n.round(1.0 - value),
        }
    }

    /// A decay rate to the power of the number of this step.
    pub(super) fn power(&self, base: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "TensorFlow casts it, too")]
        self.n.pow(self.n.single(base), self.n.round(self.t as f64))
    }

    /// The powers of both betas: counted by V1, else computed.
    pub(super) fn beta_powers(&self, beta1: f64, beta2: f64) -> (f64, f64) {
        match self.convention {
            Convention::V1 => (self.n.round(self.powers.0.into()), self.n.round(self.powers.1.into())),
            _ => (self.power(beta1), self.power(beta2)),
        }
    }
}

/// The power of a beta after one more step, as V1 counts it.
pub(super) fn next_power(power: f32, beta: f64) -> f32 {
    power * single(beta)
}
