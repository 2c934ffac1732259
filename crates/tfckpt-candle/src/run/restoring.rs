//! Going on from a checkpoint.

use std::path::Path;

use tfckpt::Checkpoint;
use tfckpt::GLOBAL_STEP;
use tfckpt::map::{Assign, LoadReport};

use super::Run;
use crate::assign;
use crate::entries;
use crate::error::{Error, Result};
use crate::optim::{Absent, Counter};

impl Run {
    /// Goes on from the latest checkpoint of the directory, or from the values that the model was built with if
    /// nothing was ever saved there. Returns `global_step`. Saves a run that begins, if it is to be
    /// [saved at its start](Self::save_at_start).
    ///
    /// # Errors
    /// As [`restore`](Self::restore), and [`tfckpt::Error::StateFile`] or [`tfckpt::Error::NoCheckpoint`] if the
    /// directory says that there is a checkpoint, which cannot be read: a run never starts again by accident.
    /// [`tfckpt::Error::Locked`] if another process trains in it, as [`Saver::prepare`](tfckpt::Saver::prepare).
    /// Without a checkpoint, what would keep the first save from succeeding: [`Error::UnknownLayers`] and the like.
    pub fn restore_or_initialize(&mut self) -> Result<i64> {
        // Another process that trains here, or a directory that cannot be written, is told of now and not at the first save.
        self.writer.prepare()?;
        let latest = self.writer.latest()?;
        match &latest {
            Some(checkpoint) => drop(self.take(checkpoint)?),
            None => drop(self.to_variables(self.hooks.variables())?),
        }
        if self.begin(latest.is_some()) {
            self.save()?;
        }
        Ok(self.global_step())
    }

    /// Begins with values of the checkpoint at `path`, as `map` says: an [`AssignmentMap`](tfckpt::map::AssignmentMap) or a
    /// [`WarmStart`](tfckpt::map::WarmStart). As in a warm start of TensorFlow's Estimator this happens only at the beginning
    /// of a run: once it has a checkpoint of its own, or has made a step, `path` is not even opened, and the answer is
    /// `None`. `global_step` stays 0. Slots, counters and what is [tracked](Self::track) are filled only if the map says
    /// so by `optimizer_state`.
    ///
    /// # Errors
    /// As [`Variables::init_from_checkpoint`](crate::Variables::init_from_checkpoint), and [`tfckpt::Error::StateFile`] or
    /// [`tfckpt::Error::NoCheckpoint`] if the directory's own checkpoint cannot be read.
    pub fn init_from(&mut self, path: impl AsRef<Path>, map: &impl Assign) -> Result<Option<LoadReport>> {
        let has_begun = self.global_step() > 0 || self.writer.latest()?.is_some();
        assign::init_run(has_begun, &self.variables, self.entries()?, path.as_ref(), map)
    }

    /// Goes on from this checkpoint, which may lie elsewhere and be TensorFlow's. All or nothing, as
    /// [`Variables::restore`](crate::Variables::restore), for everything that the run saves.
    ///
    /// A checkpoint without a `global_step`, as Keras saves it, is at the step that its optimizer has counted, if the
    /// run's optimizer is one of Keras. The state of another optimizer is refused, as far as names can tell.
    ///
    /// A checkpoint without a position in the [epochs](Self::epochs) is taken to be after as many batches as steps; one
    /// without metrics has none.
    ///
    /// # Errors
    /// As [`Variables::restore`](crate::Variables::restore), and [`Error::NoGlobalStep`], [`Error::UnknownVariable`],
    /// [`Error::OtherOptimizer`],
    /// [`tfckpt::Error::State`] for a tracked state or a position that the checkpoint does not have or that does not fit.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<LoadReport> {
        let report = self.take(checkpoint)?;
        self.begin(false);
        Ok(report)
    }

    fn take(&mut self, checkpoint: &Checkpoint) -> Result<LoadReport> {
        let step = match checkpoint.global_step()? {
            Some(step) => step,
            None => self.steps_of_keras(checkpoint)?.ok_or_else(|| Error::NoGlobalStep {
                prefix: checkpoint.prefix(),
            })?,
        };
        // The little states can be given back their values; what is read into variables cannot, so that it comes last.
        let before = self.hooks.restore(checkpoint, step)?;
        let report = self.take_variables(checkpoint, step);
        if report.is_err() {
            self.hooks.roll_back(before);
        }
        report
    }

    fn take_variables(&mut self, checkpoint: &Checkpoint, step: i64) -> Result<LoadReport> {
        let mut entries = self.entries()?;
        self.check_slots(checkpoint, &entries)?;
        // TensorFlow's optimizers keep no count of their own steps.
        let is_absent = |names: &[String]| !names.iter().any(|name| checkpoint.contains(name));
        let absent: Vec<&Counter> = self.optional_counters();
        let absent: Vec<&Counter> = absent.into_iter().filter(|counter| is_absent(&counter.names)).collect();
        entries.retain(|entry| !absent.iter().any(|counter| counter.name() == entry.path));
        let ours: Vec<&str> = self.hooks.names().chain([GLOBAL_STEP]).collect();
        let names = &self.variables.names;
        let is_ours = |name: &str| {
            if names.ignores(name) {
                return true;
            }
            let rest = ours.iter().filter_map(|ours| name.strip_prefix(ours));
            rest.into_iter().any(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let report = entries::restore(&entries, checkpoint, self.variables.verify_first, is_ours)?;
        self.variables.layers.remember(&report);
        for counter in absent.iter().filter(|counter| counter.absent == Absent::GlobalStep) {
            counter
                .value
                .set(&candle_core::Tensor::new(step, counter.value.device())?)?;
        }
        Ok(report)
    }

    /// Whether to save before the first step.
    fn begin(&mut self, is_saved: bool) -> bool {
        let due = self.hooks.begin(is_saved);
        self.note_changes();
        due.is_some()
    }
}
