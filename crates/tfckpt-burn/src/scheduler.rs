//! The state of a learning-rate scheduler as variables.

use burn::lr_scheduler::LrSchedulerRecord;
use burn::store::burn_pack::{Reader, Writer};
use tfckpt::{Checkpoint, Variable};

use crate::error::Result;
use crate::scalars;

/// The scope of the scheduler's variables.
pub(crate) const SCOPE: &str = "lr_scheduler/";

/// The state of a scheduler as variables: nothing but scalars.
pub(crate) fn variables(record: LrSchedulerRecord) -> Result<Vec<Variable<'static>>> {
    let reader = Reader::from_bytes(record.into_bytes()?)?;
    let scalars = reader.scalars().iter();
    Ok(scalars
        .map(|(key, &scalar)| scalars::variable(format!("{SCOPE}{key}"), scalar))
        .collect())
}

/// The record that a checkpoint has for a scheduler.
pub(crate) fn record(checkpoint: &Checkpoint) -> Result<LrSchedulerRecord> {
    let mut writer = Writer::new(Vec::new());
    for info in checkpoint.beginning_with(SCOPE) {
        if let Some(key) = info.name().strip_prefix(SCOPE)
            && let Some(scalar) = scalars::read(checkpoint, info)?
        {
            writer = writer.with_scalar(key, scalar);
        }
    }
    Ok(LrSchedulerRecord::from_bytes(writer.into_bytes()?)?)
}
