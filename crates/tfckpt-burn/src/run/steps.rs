//! What happens around the steps of a training.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use tfckpt::training::Due;
use tfckpt::{Saved, Variable};

use super::{Shared, State};
use crate::error::Result;
use crate::random::mixed;

/// What is saved at the end of an epoch besides what Burn hands over, taken down when the epoch ended.
pub(crate) struct EpochEnd {
    pub(crate) global_step: i64,
    pub(crate) others: Vec<Variable<'static>>,
    pub(crate) metrics: Vec<(String, f64)>,
}

/// What draws random numbers of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draws {
    /// A batch is made.
    Batch,
    /// A forward pass.
    Pass,
}

impl Shared {
    /// Counts a step of the optimizer, and saves if it is time. `is_last_chance`: the training ends with this step, whatever
    /// the run itself wants.
    pub(crate) fn after_step<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
        is_last_chance: bool,
    ) -> Result<Option<Saved>> {
        let (due, is_kept) = self.state().after_step(is_last_chance);
        if self.saves_on_panic || is_kept {
            let whole = self.content(model, optimizer, scheduler)?;
            self.state().whole = Some(whole);
        }
        match due {
            None => self.finished(),
            Some(Due::Stop) => {
                // The last save must not be left out because another one is at work.
                let earlier = self.wait()?;
                Ok(self.save(model, optimizer, scheduler)?.or(earlier))
            }
            Some(_) => self.save(model, optimizer, scheduler),
        }
    }

    /// An epoch of a `Learner` is over, validation included.
    pub(crate) fn end_epoch(&self, epoch: usize, metrics: Vec<(String, f64)>) -> EpochEnd {
        let mut state = self.state();
        state.place.epoch = epoch;
        state.place.batches = 0;
        state.data.handed_out = 0;
        let global_step = state.hooks.global_step();
        for (name, value) in metrics {
            state.hooks.metrics.record(name, value);
        }
        drop(state);
        self.before_save(global_step);
        let mut state = self.state();
        // On its way from here on: later steps count from it.
        state.hooks.saved();
        EpochEnd {
            global_step,
            others: state.others(),
            metrics: state.metrics(),
        }
    }

    /// Seeds the device, if that is wanted, by a number that follows from the place of the training alone.
    pub(crate) fn seed(&self, device: &Device, what: Draws) {
        let Some(seed) = self.seed else {
            return;
        };
        let mut state = self.state();
        let pass = state.passes * 2 + u64::from(what == Draws::Pass);
        state.passes += u64::from(what == Draws::Pass);
        let step = state.hooks.global_step().cast_unsigned();
        drop(state);
        device.seed(mixed(&[seed, step, pass]));
    }

    /// Why the training is to end after this step; `None` if it is not.
    pub(crate) fn reason_to_stop(&self) -> Option<String> {
        let state = self.state();
        let step = state.hooks.global_step();
        // A wish that came after the step was looked at is heeded by the next one.
        if !state.should_stop() || !state.hooks.trigger.is_saved(step) {
            return None;
        }
        let who = match state.hooks.stop.signal() {
            Some(signal) => signal.to_string(),
            None if state.listener_stops => "a listener asked to stop".to_owned(),
            None => "the program asked to stop".to_owned(),
        };
        Some(format!("{who}: step {step} is saved"))
    }

    /// Whether forward passes are to be told of.
    pub(crate) fn is_seeded(&self) -> bool {
        self.seed.is_some()
    }
}

impl State {
    /// Says whether to save, and whether the state is to be kept.
    fn after_step(&mut self, is_last_chance: bool) -> (Option<Due>, bool) {
        self.whole = None;
        self.passes = 0;
        let due = self.hooks.after_step();
        match self.data.is_counted {
            true => self.place.batches = self.data.handed_out,
            false => self.place.batches += 1,
        }
        let step = self.hooks.global_step();
        let is_saved = self.hooks.trigger.is_saved(step);
        let wants_end = is_last_chance && self.hooks.trigger.is_due_at_end(step).is_some();
        let stops = (wants_end || self.should_stop()) && !is_saved;
        let is_kept = std::mem::take(&mut self.data.is_last);
        (if stops { Some(Due::Stop) } else { due }, is_kept)
    }

    pub(super) fn should_stop(&self) -> bool {
        self.listener_stops || self.hooks.should_stop()
    }
}
