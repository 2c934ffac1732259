//! Burn's own `SupervisedTraining`, with TensorFlow checkpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::store::burn_pack::{Reader, Writer};
use burn::tensor::TensorData;
use burn::train::checkpoint::{Checkpoint as BurnCheckpoint, Checkpointer, CheckpointerError};
use burn::train::{Learner, LearnerModel, LearningResult, SupervisedTraining, TrainingError};
use tfckpt::Variable;

use crate::dtype::to_stored_bytes;
use crate::error::{Error, Result};
use crate::hook::{Hook, Hooked};
use crate::run::{Position, Shared, TfCheckpoints};
use crate::schema::Schema;
use crate::{carrier, module, scheduler};

impl TfCheckpoints {
    /// Launches a training that saves at the end of each epoch, and every few steps if
    /// [`every_steps`](Self::every_steps) says so; it goes on from the latest checkpoint if there is one.
    ///
    /// A checkpoint from the middle of an epoch is exact if the training data comes through
    /// [`resume`](Self::resume) in the same order as before; otherwise the epoch starts over, with the weights that it
    /// had come to.
    ///
    /// # Errors
    /// The latest checkpoint cannot be read or does not fit. Errors of later saves stop the training and are in the
    /// result, as with Burn's own checkpoints.
    pub fn launch<M: LearnerModel>(
        &self,
        training: SupervisedTraining<Hooked<M>>,
        mut model: M,
        mut optimizer: ModuleOptimizer,
        scheduler: impl Into<ModuleLrScheduler>,
    ) -> Result<LearningResult<M>> {
        let mut scheduler = scheduler.into();
        let step = self.restore_or_initialize(&mut model, &mut optimizer, &mut scheduler)?;
        let counted = scheduler::counted(scheduler.clone(), step);
        let resumed = self.shared.state().position;
        let interrupter = training.interrupter();
        let hook = Hook {
            shared: self.shared.clone(),
            interrupter,
            scheduler: Mutex::new(scheduler),
        };
        let joint = Arc::new(Joint {
            shared: self.shared.clone(),
            schema: Schema::of(&model),
            restored: Mutex::new(Restored {
                optimizer: Some(optimizer.to_record()),
                scheduler: Some(counted.to_record()),
            }),
            parts: Mutex::default(),
        });
        let mut training = training.with_custom_checkpointers(Part(joint.clone()), Part(joint.clone()), Part(joint));
        if step > 0 {
            // Moves the first epoch, and makes Burn ask for the records that are ready for it.
            training = training.checkpoint(resumed.epoch);
        }
        // Parameters that have a value lose their gradients when a learner moves them to its own device.
        if !model.devices().iter().all(|device| device.is_autodiff()) {
            model = model.train();
        }
        let result = training.launch(Learner::new(
            Hooked {
                inner: model,
                hook: Arc::new(hook),
            },
            optimizer,
            counted,
        ));
        let LearningResult {
            model,
            renderer,
            interrupted,
            mut error,
        } = result;
        // What is still being written belongs to this training.
        if let Err(unsaved) = self.wait() {
            error = error.or(Some(Arc::new(TrainingError::Checkpoint(failed(unsaved)))));
        }
        Ok(LearningResult {
            model: model.inner,
            renderer,
            interrupted,
            error,
        })
    }
}

/// What the three checkpointers of a training share: Burn calls each on a thread of its own, in any order.
struct Joint {
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
    model: Option<ModuleRecord>,
    optimizer: Option<OptimizerRecord>,
    scheduler: Option<LrSchedulerRecord>,
}

impl Joint {
    /// Takes in a part of an epoch; the last one to come commits all.
    fn arrive(&self, epoch: usize, put: impl FnOnce(&mut Parts)) -> Result<(), CheckpointerError> {
        let whole = {
            let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = parts.entry(epoch).or_default();
            put(entry);
            match (&entry.model, &entry.optimizer, &entry.scheduler) {
                (Some(_), Some(_), Some(_)) => parts.remove(&epoch),
                _ => None,
            }
        };
        match whole {
            Some(Parts {
                model: Some(model),
                optimizer: Some(optimizer),
                scheduler: Some(scheduler),
            }) => self.commit(epoch, model, optimizer, scheduler).map_err(failed),
            _ => Ok(()),
        }
    }

    fn commit(
        &self,
        epoch: usize,
        model: ModuleRecord,
        optimizer: OptimizerRecord,
        rates: LrSchedulerRecord,
    ) -> Result<()> {
        let global_step = scheduler::count(&rates)?.unwrap_or_default();
        let variables = self.variables(model)?;
        let position = Position {
            global_step,
            epoch,
            epoch_steps: 0,
        };
        self.shared.commit(
            variables,
            move || carrier::take(optimizer),
            rates,
            &self.schema,
            position,
        )?;
        // The training thread may be some steps into the next epoch by now.
        let mut state = self.shared.state();
        state.position.epoch = epoch;
        state.position.epoch_steps = state.position.global_step.abs_diff(global_step);
        Ok(())
    }

    fn variables(&self, record: ModuleRecord) -> Result<Vec<Variable<'static>>> {
        let tensors = Reader::from_bytes(record.into_bytes()?)?.into_tensors()?;
        let names = &self.shared.names;
        let mut variables = Vec::new();
        for tensor in tensors {
            let found = self
                .schema
                .parameters
                .iter()
                .find(|parameter| parameter.path == tensor.name);
            let unknown = || Error::UnknownParameter {
                path: tensor.name.clone(),
            };
            let parameter = found.ok_or_else(unknown)?;
            let shape = tensor.shape.to_vec();
            let layout = parameter.record_layout(names);
            variables.push(module::laid_out(
                parameter,
                parameter.name(names),
                &shape,
                layout,
                move |sink| {
                    let (_, dtype, shape, _, bytes) = tensor.into_parts()?;
                    sink(&to_stored_bytes(TensorData::from_bytes(bytes, shape, dtype)))
                },
            )?);
        }
        Ok(variables)
    }
}

/// One of the three checkpointers.
struct Part(Arc<Joint>);

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
            .map_err(|error| failed(error.into()))?;
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
        let mut restored = self.0.restored.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut restored = self.0.restored.lock().unwrap_or_else(PoisonError::into_inner);
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

fn failed(error: Error) -> CheckpointerError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    CheckpointerError::Unknown(text)
}
