//! What a run can be told before it starts.

use std::sync::{Arc, PoisonError};

use tfckpt::io::{Durability, Progress};
use tfckpt::map::NameMap;
use tfckpt::objects::ObjectLayout;
use tfckpt::optimizers::{Convention, OptimizerNames};
use tfckpt::training::{CheckpointRng, Checkpointable, Epochs, SaveListener, Stop, Trigger};
use tfckpt::{Clock, Saver, WhenBusy};

use super::place::OWN;
use super::writer::Writer;
use super::{Event, Shared, State, TfCheckpoints};
use crate::error::Result;
use crate::scheduler;

/// # What is saved
impl TfCheckpoints {
    /// Names and layouts. Default: [`NameMap::keras`].
    #[must_use]
    pub fn names(self, names: NameMap) -> Self {
        self.with(|shared| shared.names = names)
    }

    /// Writes object-based checkpoints, which `tf.train.Checkpoint(model=…, optimizer=…)` of TensorFlow 2 restores into
    /// Python objects that are laid out so. Burn's own counters and all that is tracked stay outside of them. The
    /// [convention](Self::optimizer_convention) is that of the layout's optimizer. Default:
    /// name-based ones, for `tf.compat.v1.train.Saver`. Either kind is restored from, whatever is written.
    #[must_use]
    pub fn objects(self, layout: ObjectLayout) -> Self {
        let layout = layout.outside(scheduler::SCOPE).outside(OWN);
        let run = self.with(|shared| {
            let names = layout.given_optimizer_names().cloned();
            let convention = names.as_ref().map(OptimizerNames::convention);
            if let Some(convention) = convention.or(layout.optimizer_convention()) {
                shared.optimizer.convention = convention;
            }
            shared.optimizer.names.extend(names);
        });
        run.with_writer(|writer| writer.objects = Some(layout))
    }

    /// What the state of optimizers is called when it is saved: as in `tf.compat.v1.train`, in Keras 2 or in Keras 3. A
    /// restore finds the state in any of them, and what TensorFlow does not have under names of its own. Default:
    /// [`Convention::V1`], `VARIABLE/Adam` and `VARIABLE/Adam_1`.
    ///
    /// State that means something else in TensorFlow is kept under names of its own, `VARIABLE/optimizer/FIELD`, and never
    /// under TensorFlow's: a momentum with dampening, which Burn's `SgdConfig` has by default, or that of Burn's `RmsProp`,
    /// which has no learning rate in it. [`optim`](crate::optim) has optimizers whose state is TensorFlow's. As Burn shows no
    /// settings of an optimizer, those of Burn's and ours are found out by steps on single numbers; one of your own never
    /// makes a step that you did not ask for.
    #[must_use]
    pub fn optimizer_convention(self, convention: Convention) -> Self {
        self.with(|shared| shared.optimizer.convention = convention)
    }

    /// What optimizers are called: the `name` that their Python classes are given, which is in the names of the slots.
    /// Default: `Adam`, `RMSProp`, as TensorFlow calls them itself.
    #[must_use]
    pub fn optimizer_name(self, name: impl Into<String>) -> Self {
        self.with(|shared| shared.optimizer.name = Some(name.into()))
    }

    /// All names of the state of the optimizers of one kind: scopes, and the numbers of a second optimizer. Sets the
    /// [convention](Self::optimizer_convention) as well. May be called for several kinds, where groups of parameters have
    /// optimizers of their own.
    #[must_use]
    pub fn optimizer_names(self, names: OptimizerNames) -> Self {
        self.with(|shared| {
            shared.optimizer.convention = names.convention();
            shared.optimizer.names.push(names);
        })
    }

    /// The decay rates of the Adam family, whose powers TensorFlow stores as `beta1_power` and `beta2_power`. Default: those
    /// that the optimizer is found to have.
    #[must_use]
    pub fn adam_betas(self, beta1: f32, beta2: f32) -> Self {
        self.with(|shared| shared.optimizer.betas = Some((beta1, beta2)))
    }

    /// A generator of random numbers, whose clones the training draws from: a resumed run draws what the other would
    /// have drawn. Saved under this name, as 57 bytes. What is drawn ahead, by data loaders with threads of their own,
    /// is not drawn again.
    #[must_use]
    pub fn track_rng(self, name: impl Into<String>, rng: &CheckpointRng) -> Self {
        self.track_state(name, rng.clone())
    }

    /// Any other little state, by a handle that the training shares. Saved under this name.
    #[must_use]
    pub fn track_state(self, name: impl Into<String>, state: impl Checkpointable + Send + 'static) -> Self {
        self.with_state(|own| own.hooks.states.track(name, state))
    }

    /// Whether a checkpoint may lack tracked states, as one that TensorFlow wrote, or this program before they were
    /// tracked. They stay as they are then. Default: false, because such a run does not go on exactly.
    #[must_use]
    pub fn allow_missing_state(self, allow: bool) -> Self {
        self.with_state(|state| state.hooks.states.may_be_missing(allow))
    }

    /// The order of the training data: what [`loader`](Self::loader) and [`next_batch`](Self::next_batch) go by. The
    /// position is saved as `tfckpt/epochs`. Default: the training finds its batches by itself, see
    /// [`resume`](Self::resume).
    #[must_use]
    pub fn epochs(self, epochs: Epochs) -> Self {
        self.with_state(|state| state.hooks.epochs = Some(epochs))
    }

    /// Seeds the device before each step, and for each batch that a loader of ours makes, by a number that follows from
    /// this one and `global_step`: a resumed run draws the numbers for dropout, noise and augmentation that the other would
    /// have drawn. Burn can seed the generators of devices, but not read them. A loop written by hand calls
    /// [`before_pass`](Self::before_pass). Default: devices are left alone.
    ///
    /// Most devices, Flex among them, have one generator for the whole process: threads that draw from it at the same time,
    /// such as those of a data loader, disturb each other.
    #[must_use]
    pub fn seed_each_step(self, seed: u64) -> Self {
        self.with(|shared| shared.seed = Some(seed))
    }

    /// Takes a validation metric of a `Learner` into the checkpoints: the mean over each epoch of what Burn calls `metric`
    /// (`Loss`, `Accuracy`) is recorded as `name` (`val_loss`). Default: none. Burn finds it in the logs of the training, so
    /// that it must be registered there: `training.metrics((LossMetric::new(),))`.
    #[must_use]
    pub fn valid_metric(self, metric: impl Into<String>, name: impl Into<String>) -> Self {
        self.with(|shared| shared.valid_metrics.push((metric.into(), name.into())))
    }
}

/// # When it is saved
impl TfCheckpoints {
    /// Saves so many steps after the last save; 0 for no such interval. Default: 0. See [`Trigger`]. A `Learner` saves at
    /// the end of each epoch in any case.
    #[must_use]
    pub fn every_steps(self, steps: u64) -> Self {
        self.trigger(|trigger| trigger.every_steps(steps))
    }

    /// Saves at the first step that ends so many seconds after the last save; 0 for no such interval. Default: 0. With
    /// [`every_steps`](Self::every_steps) whichever comes first counts.
    #[must_use]
    pub fn every_seconds(self, seconds: f64) -> Self {
        self.trigger(|trigger| trigger.every_seconds(seconds))
    }

    /// Whether a run that starts from nothing is saved before its first step. Default: false. See [`SaveListener`] for what it
    /// means to ask for the end at this save.
    #[must_use]
    pub fn save_at_start(self, save: bool) -> Self {
        self.trigger(|trigger| trigger.at_start(save))
    }

    /// Whether [`finish`](Self::finish) saves the last step, and a `Learner` that was interrupted the step that it had come
    /// to. Default: true.
    #[must_use]
    pub fn save_at_end(self, save: bool) -> Self {
        self.trigger(|trigger| trigger.at_end(save))
    }

    /// Whether the state after the last whole step is saved when a panic goes through [`launch`](Self::launch), or drops
    /// this value: half a step is never saved. Default: false. What was done is a line on stderr; listeners are not called.
    /// Nothing can be done where a panic aborts.
    ///
    /// Burn's tensors do not change, so that it is enough to keep those of the last step until the next one is done. That
    /// costs their memory a second time, and the device cannot compute in place: some percent of a step of the optimizer.
    #[must_use]
    pub fn save_on_panic(self, save: bool) -> Self {
        self.with(|shared| shared.saves_on_panic = save)
    }

    /// Saves and stops after the step during which SIGTERM or SIGINT (Ctrl-C) comes; a second one ends the process at
    /// once. See [`Stop`] and [`exit_code`](Self::exit_code).
    ///
    /// # Errors
    /// [`tfckpt::Error::Signal`] if the operating system refuses.
    pub fn stop_on_signals(self) -> Result<Self> {
        Ok(self.stop(&Stop::on_signals()?))
    }

    /// Saves and stops when this asks: other signals, or a wish of the program itself.
    #[must_use]
    pub fn stop(self, stop: &Stop) -> Self {
        self.with_state(|state| state.hooks.stop = stop.clone())
    }

    /// One more that is told of saves, and may end the training. For the end of an epoch a `Learner` tells from a thread
    /// of its own.
    #[must_use]
    pub fn listener(self, listener: impl SaveListener + Send + 'static) -> Self {
        self.with(|shared| {
            let listeners = shared.listeners.get_mut().unwrap_or_else(PoisonError::into_inner);
            listeners.add(listener);
        })
    }

    /// Called after each save and after a restore: `|event| println!("{event}")`. For a save in the background it is called
    /// as soon as that is done, by the thread that did it. Default: nothing.
    #[must_use]
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.on_event = Some(Arc::new(listener)))
    }

    /// What tells the time to [`every_seconds`](Self::every_seconds). Default: the clock of the machine.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.trigger(|trigger| trigger.clock(clock))
    }

    fn trigger(self, change: impl FnOnce(Trigger) -> Trigger) -> Self {
        self.with_state(|state| state.hooks.trigger = change(std::mem::take(&mut state.hooks.trigger)))
    }
}

/// # How it is saved and restored
impl TfCheckpoints {
    /// How many checkpoints to keep; 0 or `None` keeps all. Default: 5.
    #[must_use]
    pub fn max_to_keep(self, count: impl Into<Option<usize>>) -> Self {
        self.saver(|saver| saver.max_to_keep(count))
    }

    /// The name in front of `-STEP`. Default: `model.ckpt`.
    #[must_use]
    pub fn basename(self, basename: impl Into<String>) -> Self {
        self.saver(|saver| saver.basename(basename))
    }

    /// What a save waits for. Default: [`Durability::Synced`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        self.saver(|saver| saver.durability(durability))
    }

    /// Who is told how far saves and restores have come. Default: nobody.
    #[must_use]
    pub fn progress(self, progress: impl Progress + 'static) -> Self {
        self.saver(|saver| saver.progress(progress))
    }

    /// Changes what else the saver can do, the rules by which it keeps checkpoints for one:
    /// `.saver(|saver| saver.retention(Retention::default().best("val_loss", Goal::Min, 3)))`.
    #[must_use]
    pub fn saver(self, change: impl FnOnce(Saver) -> Saver) -> Self {
        self.with_writer(|writer| writer.change(change))
    }

    /// Saves while the training goes on. Tensors of Burn do not change, so that nothing is copied before the training
    /// goes on: the steps after it make new ones, as they do anyway, and the old ones stay in memory until they are
    /// written. [`save`](Self::save) and [`after_step`](Self::after_step) then give the save that was finished since,
    /// [`wait`](Self::wait) waits for the last. Default: a save returns when it is done.
    #[must_use]
    pub fn in_background(self, when_busy: WhenBusy) -> Self {
        self.with_writer(|writer| writer.when_busy = Some(when_busy))
    }
}

impl TfCheckpoints {
    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        // Once a loader or a learner shares the state, an option would be lost without a word.
        match Arc::get_mut(&mut self.shared) {
            Some(shared) => change(shared),
            None => debug_assert!(false, "options are set before the first use"),
        }
        self
    }

    fn with_state(self, change: impl FnOnce(&mut State)) -> Self {
        self.with(|shared| change(shared.state.get_mut().unwrap_or_else(PoisonError::into_inner)))
    }

    fn with_writer(self, change: impl FnOnce(&mut Writer)) -> Self {
        self.with(|shared| change(shared.writer.get_mut().unwrap_or_else(PoisonError::into_inner)))
    }
}
