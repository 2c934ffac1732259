//! Burn's checkpointers, which hand over an epoch in three parts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::store::burn_pack::Writer;
use burn::train::checkpoint::{
    Checkpoint as BurnCheckpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::{Aggregate, EventStoreClient, Split};
use tfckpt::Variable;

use crate::error::{Error, Result};
use crate::run::{Content, EpochEnd, Shared};
use crate::schema::Schema;
use crate::{carrier, module, record};

/// What the three checkpointers of a training share: Burn calls each on a thread of its own, in any order.
pub(crate) struct Joint {
    shared: Arc<Shared>,
    schema: Schema,
    restored: Mutex<Restored>,
    parts: Mutex<HashMap<usize, Parts>>,
}

struct Restored {
    optimizer: Option<OptimizerRecord>,
    scheduler: Option<LrSchedulerRecord>,
}

/// What has arrived of an epoch's checkpoint.
#[derive(Default)]
struct Parts {
    /// Comes first, from the thread that trains.
    end: Option<EpochEnd>,
    model: Option<ModuleRecord>,
    optimizer: Option<OptimizerRecord>,
    scheduler: Option<LrSchedulerRecord>,
}

impl Joint {
    /// For a training of a model like this, whose optimizer and scheduler go on from these records.
    pub(crate) fn new(
        shared: Arc<Shared>,
        schema: Schema,
        optimizer: OptimizerRecord,
        scheduler: LrSchedulerRecord,
    ) -> Self {
        Joint {
            shared,
            schema,
            restored: Mutex::new(Restored {
                optimizer: Some(optimizer),
                scheduler: Some(scheduler),
            }),
            parts: Mutex::default(),
        }
    }

    /// Takes in a part of an epoch; the last one to come commits all.
    fn arrive(&self, epoch: usize, put: impl FnOnce(&mut Parts)) -> Result<(), CheckpointerError> {
        let mut all = lock(&self.parts);
        let parts = all.entry(epoch).or_default();
        put(parts);
        let Parts {
            end: Some(_),
            model: Some(_),
            optimizer: Some(_),
            scheduler: Some(_),
        } = parts
        else {
            return Ok(());
        };
        let whole = all.remove(&epoch);
        drop(all);
        match whole {
            Some(Parts {
                end: Some(end),
                model: Some(model),
                optimizer: Some(optimizer),
                scheduler: Some(scheduler),
            }) => self
                .commit(end, model, optimizer, scheduler)
                .map_err(|error| failed(&error)),
            _ => Ok(()),
        }
    }

    fn commit(
        &self,
        end: EpochEnd,
        model: ModuleRecord,
        optimizer: OptimizerRecord,
        scheduler: LrSchedulerRecord,
    ) -> Result<()> {
        self.shared.save_epoch(Content {
            global_step: end.global_step,
            variables: self.variables(model)?,
            states: Box::new(move || carrier::take(optimizer)),
            scheduler,
            schema: self.schema.clone(),
            others: end.others,
            metrics: end.metrics,
        })
    }

    fn variables(&self, record: ModuleRecord) -> Result<Vec<Variable<'static>>> {
        let tensors = record::take(record, &self.schema)?;
        module::recorded(&self.schema, tensors, &self.shared.names())
    }
}

/// One of the three checkpointers.
pub(crate) struct Part(pub(crate) Arc<Joint>);

impl Checkpointer<ModuleRecord> for Part {
    fn save(&self, epoch: usize, record: ModuleRecord) -> Result<(), CheckpointerError> {
        self.0.arrive(epoch, |parts| parts.model = Some(record))
    }

    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        deleted()
    }

    /// Nothing: the model was restored before the learner was made, where a failure is an error and no panic.
    fn restore(&self, _: usize) -> Result<ModuleRecord, CheckpointerError> {
        let nothing = Writer::new(Vec::new())
            .into_bytes()
            .map_err(|error| failed(&error.into()))?;
        Ok(ModuleRecord::checkpoint_from_bytes(nothing)
            .map_err(CheckpointerError::Record)?
            .allow_partial(true))
    }
}

impl Checkpointer<OptimizerRecord> for Part {
    fn save(&self, epoch: usize, record: OptimizerRecord) -> Result<(), CheckpointerError> {
        self.0.arrive(epoch, |parts| parts.optimizer = Some(record))
    }

    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        deleted()
    }

    fn restore(&self, epoch: usize) -> Result<OptimizerRecord, CheckpointerError> {
        let mut restored = lock(&self.0.restored);
        restored.optimizer.take().ok_or_else(|| nothing_for(epoch))
    }
}

impl Checkpointer<LrSchedulerRecord> for Part {
    fn save(&self, epoch: usize, record: LrSchedulerRecord) -> Result<(), CheckpointerError> {
        self.0.arrive(epoch, |parts| parts.scheduler = Some(record))
    }

    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        deleted()
    }

    fn restore(&self, epoch: usize) -> Result<LrSchedulerRecord, CheckpointerError> {
        let mut restored = lock(&self.0.restored);
        restored.scheduler.take().ok_or_else(|| nothing_for(epoch))
    }
}

/// Burn's strategies may ask for deletions; what is kept is the saver's business.
fn deleted() -> Result<(), CheckpointerError> {
    Ok(())
}

fn nothing_for(epoch: usize) -> CheckpointerError {
    CheckpointerError::Unknown(format!("epoch {epoch} is not the one that this run goes on from"))
}

pub(crate) fn failed(error: &Error) -> CheckpointerError {
    CheckpointerError::Unknown(error.chain())
}

/// A panic elsewhere leaves parts that are whole or not there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Saves each epoch, and takes down what belongs to it before the training goes on. Which checkpoints are kept is the
/// saver's business.
pub(crate) struct AtEpochEnd(pub(crate) Arc<Joint>);

impl CheckpointingStrategy for AtEpochEnd {
    fn checkpointing(&mut self, epoch: usize, store: &EventStoreClient) -> Vec<CheckpointingAction> {
        let Joint { shared, parts, .. } = &*self.0;
        let value = |(metric, name): &(String, String)| {
            let value = store.find_metric(metric, epoch, Aggregate::Mean, &Split::Valid)?;
            Some((name.clone(), value))
        };
        let metrics = shared.valid_metrics.iter().filter_map(value).collect();
        let end = shared.end_epoch(epoch, metrics);
        lock(parts).entry(epoch).or_default().end = Some(end);
        vec![CheckpointingAction::Save]
    }
}
