//! What a loop asks at its steps.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use tfckpt::Saved;
use tfckpt::training::{Batch, Metrics, Position, Signal};

use super::TfCheckpoints;
use super::steps::Draws;
use crate::error::Result;

impl TfCheckpoints {
    /// The rows of the next step of a loop written by hand. `None` after the last epoch, when the run
    /// [is to stop](Self::should_stop), and without [`epochs`](Self::epochs).
    ///
    /// Several may be taken for one step, whose gradients are added up: all are done when
    /// [`after_step`](Self::after_step) is called.
    pub fn next_batch(&self) -> Option<Batch> {
        let mut state = self.shared.state();
        match state.should_stop() {
            true => None,
            false => state.hooks.next_batch(),
        }
    }

    /// Where the run is in its [epochs](Self::epochs); `None` without.
    pub fn position(&self) -> Option<Position> {
        self.shared
            .state()
            .hooks
            .epochs
            .as_ref()
            .map(|epochs| epochs.position())
    }

    /// Seeds a device for the forward pass that comes next, if [`seed_each_step`](Self::seed_each_step) says so, by a
    /// number that follows from that seed, `global_step` and the number of passes since that step. A `Learner` needs no
    /// such call.
    pub fn before_pass(&self, device: &Device) {
        self.shared.seed(device, Draws::Pass);
    }

    /// Records the value of a metric for the step that is at work: before its [`after_step`](Self::after_step), so that
    /// the checkpoint of the step has it.
    pub fn metric(&self, name: impl Into<String>, value: f64) {
        self.shared.state().hooks.metrics.record(name, value);
    }

    /// The lowest, highest and latest values of metrics, those of earlier runs included.
    pub fn metrics(&self) -> Metrics {
        self.shared.state().hooks.metrics.clone()
    }

    /// Counts a step of the optimizer, and saves if it is time: one of the intervals has passed, or the run is to stop.
    /// A `Learner` calls it by itself.
    ///
    /// # Errors
    /// The save failed, or one in the background did meanwhile. The checkpoints before are as they were.
    /// The step is done and counted all the same; a loop that goes on saves after the next one.
    pub fn after_step<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<Option<Saved>> {
        self.shared.after_step(model, optimizer, scheduler, false)
    }

    /// Saves after the next step.
    pub fn request_save(&self) {
        self.shared.state().hooks.trigger.request();
    }

    /// Whether the run is to end: a signal came, a listener or the program asked. Its state is saved by the next
    /// [`after_step`](Self::after_step), or by [`finish`](Self::finish). A `Learner` stops by itself.
    pub fn should_stop(&self) -> bool {
        self.shared.state().should_stop()
    }

    /// The signal that stopped it.
    pub fn stopped_by(&self) -> Option<Signal> {
        self.shared.state().hooks.stop.signal()
    }

    /// What the process should end with: 0, or 128 + n if signal n stopped it.
    pub fn exit_code(&self) -> u8 {
        self.shared.state().hooks.stop.exit_code()
    }
}
