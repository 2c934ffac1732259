//! The model that a `Learner` trains in place of the user's: the same in all but one thing, it tells of each step.

use std::sync::{Arc, Mutex, PoisonError};

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::Device;
use burn::train::checkpoint::CheckpointerError;
use burn::train::{InferenceStep, Interrupter, TrainOutput, TrainStep, TrainingError};

use crate::Result;
use crate::run::Shared;

/// A model, and what is done after each step of its optimizer. Visits and maps go straight to the model, so that the
/// paths of its parameters stay what they are.
#[derive(Debug, Clone)]
pub struct Hooked<M> {
    pub(crate) inner: M,
    pub(crate) hook: Arc<Hook>,
}

/// What happens after each step.
pub(crate) struct Hook {
    pub(crate) shared: Arc<Shared>,
    pub(crate) interrupter: Interrupter,
    /// Steps along with the scheduler of the `Learner`, which shows its state to nobody between epochs.
    pub(crate) scheduler: Mutex<ModuleLrScheduler>,
}

impl Hook {
    fn after_step<M: Module>(&self, model: &M, optimizer: &ModuleOptimizer) {
        let mut scheduler = self.scheduler.lock().unwrap_or_else(PoisonError::into_inner);
        scheduler.step();
        if self.shared.count_step()
            && let Err(error) = self.save(model, optimizer, &scheduler)
        {
            // Training that is not saved is not worth going on; the learner tells why it stopped.
            self.interrupter
                .fail(TrainingError::Checkpoint(CheckpointerError::Unknown(error.to_string())));
        }
    }

    fn save<M: Module>(&self, model: &M, optimizer: &ModuleOptimizer, scheduler: &ModuleLrScheduler) -> Result<()> {
        let position = self.shared.state().position;
        self.shared.save(model, optimizer, scheduler, position).map(drop)
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl<M: TrainStep + Module> TrainStep for Hooked<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> TrainOutput<Self::Output> {
        self.inner.step(item)
    }

    fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
        let inner = self.inner.optimize(optim, lr, grads);
        self.hook.after_step(&inner, optim);
        Hooked { inner, hook: self.hook }
    }

    fn optimize_multi(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: MultiGradientsParams) -> Self {
        let inner = self.inner.optimize_multi(optim, lr, grads);
        self.hook.after_step(&inner, optim);
        Hooked { inner, hook: self.hook }
    }
}

impl<M: InferenceStep> InferenceStep for Hooked<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> Self::Output {
        self.inner.step(item)
    }
}

impl<M: Module> Module for Hooked<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.inner.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Hooked {
            inner: self.inner.fork(device),
            hook: self.hook,
        }
    }

    fn to_device(self, device: &Device) -> Self {
        Hooked {
            inner: self.inner.to_device(device),
            hook: self.hook,
        }
    }

    fn train(self) -> Self {
        Hooked {
            inner: self.inner.train(),
            hook: self.hook,
        }
    }

    fn valid(&self) -> Self {
        Hooked {
            inner: self.inner.valid(),
            hook: self.hook.clone(),
        }
    }

    fn materialize(self) -> Self {
        Hooked {
            inner: self.inner.materialize(),
            hook: self.hook,
        }
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.inner.visit(visitor);
    }

    fn map<V: ModuleMapper>(self, mapper: &mut V) -> Self {
        Hooked {
            inner: self.inner.map(mapper),
            hook: self.hook,
        }
    }
}

impl<M: std::fmt::Display> std::fmt::Display for Hooked<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}
