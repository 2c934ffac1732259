//! Burn's own `SupervisedTraining`, with TensorFlow checkpoints.

use std::sync::{Arc, Mutex, OnceLock};

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::ModuleOptimizer;
use burn::train::{Learner, LearnerModel, LearningResult, SupervisedTraining, TrainingError};

use crate::error::{Error, Result};
use crate::hook::{Hook, Hooked};
use crate::joint::{AtEpochEnd, Joint, Part, failed};
use crate::run::{OnPanic, Shared, TfCheckpoints};
use crate::schema::Schema;

impl TfCheckpoints {
    /// Launches a training that saves at the end of each epoch, after validation, and within epochs as
    /// [`every_steps`](Self::every_steps) and [`every_seconds`](Self::every_seconds) say; it goes on from the latest
    /// checkpoint if there is one.
    ///
    /// A checkpoint from the middle of an epoch is exact if the training data comes through [`loader`](Self::loader) or
    /// [`resume`](Self::resume); otherwise the epoch starts over, with the weights that it had come to.
    ///
    /// What asks the run to stop interrupts the `Learner` after the step that is then saved: [`LearningResult::interrupted`]
    /// has the reason, [`exit_code`](Self::exit_code) what the process should end with. A `Learner` that was interrupted by
    /// others is saved as well, but for a step during which that came too late to be seen.
    ///
    /// Burn's checkpointers and checkpointing strategy give way to this; which checkpoints are kept is said here.
    ///
    /// # Errors
    /// As [`restore_or_initialize`](Self::restore_or_initialize). Errors of later saves stop the training and are in the
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
        let epoch = self.shared.first_epoch();
        let joint = Arc::new(Joint::new(
            self.shared.clone(),
            Schema::of(&model),
            optimizer.to_record(),
            scheduler.to_record(),
        ));
        let hook = Hook {
            shared: self.shared.clone(),
            interrupter: training.interrupter(),
            scheduler: Mutex::new(scheduler.clone()),
            device: OnceLock::new(),
        };
        let mut training = training
            .with_custom_checkpointers(Part(joint.clone()), Part(joint.clone()), Part(joint.clone()))
            .with_checkpointing_strategy(AtEpochEnd(joint));
        if step > 0 {
            // Moves the first epoch, and makes Burn ask for the records that are ready for it.
            training = training.checkpoint(epoch);
        }
        // Parameters that have a value lose their gradients when a learner moves them to its own device.
        if !model.devices().iter().all(|device| device.is_autodiff()) {
            model = model.train();
        }
        let hooked = Hooked {
            inner: model,
            hook: Arc::new(hook),
        };
        let on_panic = OnPanic(&self.shared);
        let LearningResult {
            model,
            renderer,
            interrupted,
            mut error,
        } = training.launch(Learner::new(hooked, optimizer, scheduler));
        drop(on_panic);
        if let Err(unsaved) = self.shared.finish_learner() {
            error = error.or(Some(Arc::new(TrainingError::Checkpoint(failed(&unsaved)))));
        }
        Ok(LearningResult {
            model: model.inner,
            renderer,
            interrupted,
            error,
        })
    }
}

impl Shared {
    /// The epochs that are completed, when a `Learner` begins.
    fn first_epoch(&self) -> usize {
        let mut state = self.state();
        if !state.data.is_counted {
            // The epoch starts over.
            state.place.batches = 0;
        }
        state.place.epoch
    }

    /// What is still being written belongs to the training, and so does a last step that was not saved.
    fn finish_learner(&self) -> Result<(), Error> {
        self.wait()?;
        if self.is_due_at_end() {
            self.save_whole_step()?;
        }
        self.end();
        Ok(())
    }
}
