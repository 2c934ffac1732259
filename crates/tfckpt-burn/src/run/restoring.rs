//! Going on from a checkpoint.

use std::collections::BTreeSet;

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use tfckpt::Checkpoint;
use tfckpt::map::{Assign, LoadReport};

use super::place::Place;
use super::{Data, Event, Shared, TfCheckpoints};
use crate::error::Result;
use crate::schema::Schema;
use crate::{module, optimizer, scheduler};

impl TfCheckpoints {
    /// Takes the run up again from the latest checkpoint, and says at which step; 0 if there is none, and then
    /// nothing is changed. Locks the directory against other processes that would save there. Saves a run that begins, if
    /// it is to be [saved at its start](Self::save_at_start). After an error nothing is changed.
    ///
    /// A checkpoint without a `global_step`, as Keras saves it, is at the step that its optimizer has counted.
    ///
    /// # Errors
    /// The directory has checkpoints, but the latest cannot be read or does not fit: a run never starts again by
    /// accident. [`tfckpt::Error::State`] for a tracked state or a position that the checkpoint does not have or that does
    /// not fit; [`tfckpt::Error::Locked`] if another run saves in the directory. Without a checkpoint, what would keep the
    /// first save from succeeding.
    pub fn restore_or_initialize<M: Module>(
        &self,
        model: &mut M,
        optimizer: &mut ModuleOptimizer,
        scheduler: &mut ModuleLrScheduler,
    ) -> Result<i64> {
        let shared = &self.shared;
        let mut writer = shared.writer();
        writer.prepare()?;
        let latest = writer.saver.latest()?;
        drop(writer);
        match &latest {
            Some(checkpoint) => shared.take(checkpoint, model, optimizer, scheduler)?,
            None => shared.check_names(model, optimizer, scheduler)?,
        }
        if shared.begin(latest.is_some()) {
            shared.save(model, optimizer, scheduler)?;
        }
        let global_step = self.global_step();
        if let Some(checkpoint) = latest {
            shared.tell(&Event::Restored {
                prefix: checkpoint.prefix(),
                global_step,
            });
        }
        Ok(global_step)
    }

    /// Begins with values of the checkpoint at `path`, as `map` says; see [`init_from_checkpoint`](crate::init_from_checkpoint).
    /// As in a warm start of TensorFlow's Estimator this happens only at the beginning of a run: once it has a checkpoint of
    /// its own, or has made a step, `path` is not even opened, and the answer is `None`. `global_step` stays 0, and the
    /// optimizer begins anew. For a `Learner`, call this before [`launch`](Self::launch).
    ///
    /// # Errors
    /// As [`init_from_checkpoint`](crate::init_from_checkpoint), and if the directory has checkpoints, of which the latest
    /// cannot be read.
    pub fn init_from<M: Module>(
        &self,
        model: &mut M,
        path: impl AsRef<std::path::Path>,
        map: &impl Assign,
    ) -> Result<Option<LoadReport>> {
        if self.global_step() > 0 || self.shared.writer().saver.latest()?.is_some() {
            return Ok(None);
        }
        let report = crate::init_from_checkpoint(model, &Checkpoint::open(path)?, &self.shared.names, map)?;
        self.shared.remember(&report);
        Ok(Some(report))
    }
}

impl Shared {
    fn take<M: Module>(
        &self,
        checkpoint: &Checkpoint,
        model: &mut M,
        optimizer: &mut ModuleOptimizer,
        scheduler: &mut ModuleLrScheduler,
    ) -> Result<()> {
        let schema = Schema::of(model);
        let traits = self.traits_of(optimizer, &schema)?;
        let loaded = optimizer::load(
            optimizer.clone(),
            checkpoint,
            &schema,
            &self.names,
            &self.optimizer,
            &traits,
        )?;
        let rates = scheduler.clone().load_record(scheduler::record(checkpoint)?);
        let place = Place::read(checkpoint)?;
        let global_step = match checkpoint.global_step()? {
            Some(step) => step,
            None => optimizer::step(checkpoint, &self.optimizer, &traits)?.unwrap_or(0),
        };
        let before = self.state().hooks.restore(checkpoint, global_step)?;
        // What reads into the model comes last, and changes nothing if it fails.
        match module::load(model, checkpoint, &self.names, false) {
            Ok(report) => self.remember(&report),
            Err(error) => {
                self.state().hooks.roll_back(before);
                return Err(error);
            }
        }
        *optimizer = loaded;
        *scheduler = rates;
        self.writer().last_saved = Some(global_step);
        let mut state = self.state();
        state.place = place;
        state.data = Data {
            is_counted: state.data.is_counted,
            next_epoch: place.epoch as u64,
            passes_behind: place.epoch as u64,
            skip: place.batches,
            handed_out: 0,
            is_last: false,
        };
        Ok(())
    }

    /// Whether all that will be saved has names of its own.
    fn check_names<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<()> {
        let content = self.content(model, optimizer, scheduler)?;
        let mut names = BTreeSet::new();
        for variable in content.variables.iter().chain(&content.others) {
            if !names.insert(variable.key()) {
                let name = variable.name().into_owned();
                return Err(tfckpt::Error::DuplicateName { name }.into());
            }
        }
        Ok(())
    }

    /// Whether to save before the first step.
    fn begin(&self, is_saved: bool) -> bool {
        let mut state = self.state();
        let due = state.hooks.begin(is_saved);
        let begins = !std::mem::replace(&mut state.has_begun, true);
        drop(state);
        if begins {
            super::lock(&self.listeners).begin();
        }
        due.is_some()
    }
}
