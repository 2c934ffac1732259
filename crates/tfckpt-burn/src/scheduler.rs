//! The state of a learning-rate scheduler as variables, and a counter of optimizer steps that travels in it.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::ParamGroup;
use burn::store::burn_pack::{Reader, Writer};
use tfckpt::{Checkpoint, Variable};

use crate::error::Result;
use crate::scalars;

/// The scope of the scheduler's variables.
pub(crate) const SCOPE: &str = "lr_scheduler/";

/// The field of [`StepCounter`] in a scheduler's record.
const COUNTER: &str = "tfckpt_global_step";

/// The state of a scheduler as variables: nothing but scalars. The counter is left out; it is the global step.
pub(crate) fn variables(record: LrSchedulerRecord) -> Result<Vec<Variable<'static>>> {
    let reader = Reader::from_bytes(record.into_bytes()?)?;
    let own = reader.scalars().iter().filter(|(key, _)| !key.ends_with(COUNTER));
    Ok(own
        .map(|(key, &scalar)| scalars::variable(format!("{SCOPE}{key}"), scalar))
        .collect())
}

/// The record that a checkpoint has for a scheduler.
pub(crate) fn record(checkpoint: &Checkpoint) -> Result<LrSchedulerRecord> {
    let mut writer = Writer::new(Vec::new());
    for info in checkpoint.variables() {
        if let Some(key) = info.name().strip_prefix(SCOPE)
            && let Some(scalar) = scalars::read(checkpoint, info)?
        {
            writer = writer.with_scalar(key, scalar);
        }
    }
    Ok(LrSchedulerRecord::from_bytes(writer.into_bytes()?)?)
}

/// A scheduler that counts, too. Burn steps it once for each step of the optimizer, and puts the count into the
/// record at the very moment when it takes the record, which nothing else in a `Learner` does.
pub(crate) fn counted(scheduler: ModuleLrScheduler, global_step: i64) -> ModuleLrScheduler {
    // The group of no parameter: the counter sets no learning rate.
    scheduler.with_group(ParamGroup::from_ids(Vec::new()), StepCounter { global_step })
}

/// The count in a record of a [`counted`] scheduler.
pub(crate) fn count(record: &LrSchedulerRecord) -> Result<Option<i64>> {
    let reader = Reader::from_bytes(record.clone().into_bytes()?)?;
    let counter = reader.scalars().iter().find(|(key, _)| key.ends_with(COUNTER));
    Ok(counter.and_then(|(_, &scalar)| i64::try_from(scalar).ok()))
}

#[derive(Debug, Clone)]
struct StepCounter {
    global_step: i64,
}

impl LrScheduler for StepCounter {
    fn step(&mut self) -> f64 {
        self.global_step += 1;
        0.0
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar(COUNTER, self.global_step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.global_step = record.scalar(COUNTER).unwrap_or(self.global_step);
    }
}
