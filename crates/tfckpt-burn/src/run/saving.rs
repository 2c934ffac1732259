//! Saving.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use tfckpt::Saved;

use super::writer::{Outcome, Slots};
use super::{Content, Event, Shared, TfCheckpoints};
use crate::error::Result;
use crate::optimizer;

impl TfCheckpoints {
    /// Saves now; `None` if this step is saved already, or in the background and not finished yet.
    ///
    /// # Errors
    /// The save failed. The checkpoints before are as they were.
    pub fn save<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<Option<Saved>> {
        self.shared.save(model, optimizer, scheduler)
    }

    /// Waits for the save that goes on in the background, and gives the newest that was finished since one was last
    /// given.
    ///
    /// # Errors
    /// That of a save in the background.
    pub fn wait(&self) -> Result<Option<Saved>> {
        self.shared.wait()
    }

    /// Ends a run: saves its last step unless that is saved or [not wanted](Self::save_at_end), waits for what is being
    /// written, and tells the listeners. Returns the newest save that was not given before. It may go on afterwards.
    /// [`launch`](Self::launch) does so by itself.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn finish<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<Option<Saved>> {
        let mut newest = self.wait()?;
        if self.shared.is_due_at_end() {
            newest = self.save(model, optimizer, scheduler)?.or(newest);
            newest = self.wait()?.or(newest);
        }
        self.shared.end();
        Ok(newest)
    }
}

impl Shared {
    /// Saves the step that the run is at, unless it is saved.
    pub(crate) fn save<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<Option<Saved>> {
        let step = self.state().hooks.global_step();
        if self.state().hooks.trigger.is_saved(step) {
            return Ok(None);
        }
        self.before_save(step);
        let outcome = self.write(self.content(model, optimizer, scheduler)?)?;
        let mut state = self.state();
        match outcome.left_out {
            true => state.hooks.left_out(),
            false => state.hooks.saved(),
        }
        drop(state);
        Ok(self.told(outcome))
    }

    /// Saves the end of an epoch, which Burn hands over. Also if the step is saved: what was not known then is that the
    /// epoch was over, and how well it went.
    pub(crate) fn save_epoch(&self, content: Content) -> Result<()> {
        // It must not be left out because another one is at work. Who waits here is no training.
        let finished = self.writer().wait()?;
        let outcome = Outcome {
            finished,
            ..Outcome::default()
        };
        self.told(outcome);
        let outcome = self.write(content)?;
        self.told(outcome);
        Ok(())
    }

    /// Writes, perhaps in the background.
    pub(super) fn write(&self, content: Content) -> Result<Outcome> {
        let slots = Slots {
            naming: self.optimizer.clone(),
            traits: self.traits(),
        };
        let mut writer = self.writer();
        if let Some(mut layout) = writer.objects.take() {
            if layout.given_optimizer_names().is_none()
                && let Some(names) = optimizer::object_names(&slots.traits, &slots.naming)
            {
                layout = layout.optimizer_names(names);
            }
            let state = self.state();
            let layout = state.hooks.names().fold(layout, |layout, name| layout.outside(name));
            drop(state);
            writer.change(|saver| saver.objects(layout));
        }
        let outcome = writer.write(content, &self.names, slots, self.on_event.as_ref())?;
        drop(writer);
        if let Some(saved) = &outcome.committed {
            self.tell(&Event::Saved(saved));
        }
        Ok(outcome)
    }

    pub(crate) fn wait(&self) -> Result<Option<Saved>> {
        let finished = self.writer().wait()?;
        Ok(self.told(Outcome {
            finished,
            ..Outcome::default()
        }))
    }

    /// What was finished in the background.
    pub(super) fn finished(&self) -> Result<Option<Saved>> {
        let finished = self.writer().finished()?;
        Ok(self.told(Outcome {
            finished,
            ..Outcome::default()
        }))
    }

    /// Whether to save now that the run is over: because that is wanted, or because the run is to stop.
    pub(crate) fn is_due_at_end(&self) -> bool {
        let state = self.state();
        let step = state.hooks.global_step();
        let stops = || state.should_stop() && !state.hooks.trigger.is_saved(step);
        state.hooks.trigger.is_due_at_end(step).is_some() || stops()
    }

    /// The run is over.
    pub(crate) fn end(&self) {
        let step = self.state().hooks.global_step();
        super::lock(&self.listeners).end(step);
    }

    /// What was measured until now is of the state that is saved, and listeners are told.
    pub(super) fn before_save(&self, global_step: i64) {
        self.state().hooks.before_save();
        let answer = super::lock(&self.listeners).before_save(global_step);
        self.state().listener_stops |= answer.is_break();
    }

    /// Tells the listeners of saves, and gives the newest.
    fn told(&self, outcome: Outcome) -> Option<Saved> {
        let mut newest = None;
        for saved in outcome.finished.into_iter().chain(outcome.committed) {
            let answer = super::lock(&self.listeners).after_save(&saved);
            self.state().listener_stops |= answer.is_break();
            newest = Some(saved);
        }
        newest
    }
}
