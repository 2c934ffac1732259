//! What the loop asks at its steps.

use tfckpt::Saved;
use tfckpt::training::{Batch, Due, Metrics, Position, Signal};

use super::Run;
use crate::error::Result;

impl Run {
    /// The rows of the next step. `None` after the last epoch, and when the run [is to stop](Self::should_stop).
    ///
    /// Several may be taken for one step, whose gradients are added up: all are done when [`after_step`](Self::after_step)
    /// is called.
    pub fn next_batch(&mut self) -> Option<Batch> {
        self.hooks.next_batch()
    }

    /// Where the run is in its epochs; `None` without [`epochs`](Self::epochs).
    pub fn position(&self) -> Option<Position> {
        self.hooks.epochs.as_ref().map(|epochs| epochs.position())
    }

    /// Records the value of a metric for the step that is at work: before its [`after_step`](Self::after_step), so that
    /// the checkpoint of the step has it.
    pub fn metric(&mut self, name: impl Into<String>, value: f64) {
        self.hooks.metrics.record(name, value);
    }

    /// The lowest, highest and latest values of metrics, those of earlier runs included.
    pub fn metrics(&self) -> &Metrics {
        &self.hooks.metrics
    }

    /// Counts a step of the optimizer, and saves if it is time: one of the intervals has passed, or the run is to stop.
    ///
    /// # Errors
    /// As [`save`](Self::save), also for a save in the background that failed meanwhile.
    /// The step is done and counted all the same; a loop that goes on saves after the next one.
    pub fn after_step(&mut self) -> Result<Option<Saved>> {
        let due = self.hooks.after_step();
        if self.saves_on_panic {
            self.note_changes();
        }
        match due {
            None => self.finished(),
            Some(Due::Stop) => {
                // The last save must not be left out because another one is at work.
                let earlier = self.wait()?;
                Ok(self.save()?.or(earlier))
            }
            Some(_) => self.save(),
        }
    }

    /// Saves after the next step.
    pub fn request_save(&mut self) {
        self.hooks.trigger.request();
    }

    /// Whether the run is to end: a signal came, a listener or the program asked. Its state is saved by the next
    /// [`after_step`](Self::after_step), or by [`finish`](Self::finish).
    #[inline]
    pub fn should_stop(&self) -> bool {
        self.hooks.should_stop()
    }

    /// The signal that stopped it.
    pub fn stopped_by(&self) -> Option<Signal> {
        self.hooks.stop.signal()
    }

    /// What the process should end with: 0, or 128 + n if signal n stopped it.
    pub fn exit_code(&self) -> u8 {
        self.hooks.stop.exit_code()
    }

    /// Notes how many changes the optimizers have made.
    pub(super) fn note_changes(&mut self) {
        self.changes.clear();
        self.changes
            .extend(self.optimizers.iter().map(|optimizer| optimizer.change_count()));
    }
}
