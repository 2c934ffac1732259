//! Where a run is, as far as Burn is concerned.

use tfckpt::{Checkpoint, Variable};

use crate::error::Result;
use crate::scalars;

/// The scope of what is Burn's own.
pub(super) const OWN: &str = "burn/";
/// Epochs that the run has completed.
const EPOCH: &str = "burn/epoch";
/// Batches of the training data that it has used since then.
const EPOCH_STEPS: &str = "burn/epoch_steps";

/// How far a run has come in its training data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Epochs completed.
    pub(crate) epoch: usize,
    /// Batches used since then.
    pub(crate) batches: u64,
}

impl Place {
    pub(super) fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let counter = |name: &str| -> Result<u64> {
            match checkpoint.contains(name) {
                true => Ok(scalars::read(checkpoint, checkpoint.variable(name)?)?
                    .and_then(|scalar| u64::try_from(scalar).ok())
                    .unwrap_or(0)),
                false => Ok(0),
            }
        };
        Ok(Place {
            epoch: usize::try_from(counter(EPOCH)?).unwrap_or(usize::MAX),
            batches: counter(EPOCH_STEPS)?,
        })
    }

    pub(super) fn variables(self) -> [Variable<'static>; 2] {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        [(EPOCH, self.epoch as u64), (EPOCH_STEPS, self.batches)]
            .map(|(name, count)| Variable::scalar(name, signed(count)).non_trainable())
    }
}
