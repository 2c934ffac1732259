//! What a run can be told before it starts.

use std::sync::Arc;

use candle_core::Var;
use tfckpt::map::NameMap;
use tfckpt::objects::ObjectLayout;
use tfckpt::training::{CheckpointRng, Checkpointable, Epochs, SaveListener, Stop, Trigger};
use tfckpt::{Clock, Saver, WhenBusy};

use super::Run;
use crate::error::Result;
use crate::layers::Layers;
use crate::optim::CheckpointedOptimizer;

/// # What is saved
impl Run {
    /// The kinds of the layers, as [`recording`](crate::recording) took them down; see
    /// [`Variables::layers`](crate::Variables::layers).
    #[must_use]
    pub fn layers(mut self, layers: &Layers) -> Self {
        self.variables.layers = layers.clone();
        self
    }

    /// Names and layouts in the checkpoints. Default: [`NameMap::keras`].
    #[must_use]
    pub fn names(mut self, names: NameMap) -> Self {
        self.variables.names = names;
        self
    }

    /// Writes object-based checkpoints, which `tf.train.Checkpoint(model=…, optimizer=…)` of TensorFlow 2 restores into
    /// Python objects that are laid out so. What is tracked, epochs and metrics stay outside of them. Default: name-based
    /// ones, for `tf.compat.v1.train.Saver`. Either kind is restored from, whatever is written.
    #[must_use]
    pub fn objects(mut self, layout: ObjectLayout) -> Self {
        self.objects = Some(layout);
        self
    }

    /// One more optimizer, of another name.
    #[must_use]
    pub fn optimizer(mut self, optimizer: &impl CheckpointedOptimizer) -> Self {
        self.optimizers.push(optimizer.state());
        self
    }

    /// One more variable of the training loop, `learning_rate` for one, that is saved and restored under this name.
    #[must_use]
    pub fn track(mut self, name: impl Into<String>, value: &Var) -> Self {
        self.tracked.push((name.into(), value.clone()));
        self
    }

    /// A generator of random numbers, whose clones the loop draws from: a resumed run draws what the other would have
    /// drawn. Saved under this name, as 57 bytes.
    ///
    /// Candle's own numbers on the CPU, those of `Tensor::rand`, `Tensor::randn` and `candle_nn::Dropout`, come from a
    /// generator that can neither be seeded nor saved. With [`dropout`](crate::dropout), [`uniform`](crate::uniform) and
    /// [`normal`](crate::normal) in their place a run can be resumed exactly.
    #[must_use]
    pub fn track_rng(self, name: impl Into<String>, rng: &CheckpointRng) -> Self {
        self.track_state(name, rng.clone())
    }

    /// Any other little state, by a handle that the loop shares. Saved under this name.
    #[must_use]
    pub fn track_state(mut self, name: impl Into<String>, state: impl Checkpointable + Send + 'static) -> Self {
        self.hooks.states.track(name, state);
        self
    }

    /// Whether a checkpoint may lack tracked states, as one that TensorFlow wrote, or this program before they were
    /// tracked. They stay as they are then. Default: false, because such a run does not go on exactly.
    #[must_use]
    pub fn allow_missing_state(mut self, allow: bool) -> Self {
        self.hooks.states.may_be_missing(allow);
        self
    }

    /// Where the batches come from: [`next_batch`](Self::next_batch) hands them out, and the position is saved as
    /// `tfckpt/epochs`. Default: the loop finds its batches by itself.
    #[must_use]
    pub fn epochs(mut self, epochs: Epochs) -> Self {
        self.hooks.epochs = Some(epochs);
        self
    }
}

/// # When it is saved
impl Run {
    /// Saves so many steps after the last save; 0 for no such interval. Default: 0. See [`Trigger`].
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

    /// Whether [`restore_or_initialize`](Self::restore_or_initialize) saves a run that starts from nothing. Default: false. See
    /// [`SaveListener`] for what it means to ask for the end at this save.
    #[must_use]
    pub fn save_at_start(self, save: bool) -> Self {
        self.trigger(|trigger| trigger.at_start(save))
    }

    /// Whether [`finish`](Self::finish) saves the last step. Default: true.
    #[must_use]
    pub fn save_at_end(self, save: bool) -> Self {
        self.trigger(|trigger| trigger.at_end(save))
    }

    /// Whether a run that is dropped because of a panic saves what it has. Default: false.
    ///
    /// It does so only if the state is certainly that of a whole step: none of half a step is ever saved. Between two
    /// steps it is, as long as batches come from [`next_batch`](Self::next_batch). Within a step it is until the optimizer
    /// changes variables, if all optimizers tell, as [`Adam`](crate::Adam) and [`AdamW`](crate::AdamW) do, and
    /// if the model has no running statistics, which change in each forward pass, and no variable is
    /// [tracked](Self::track); random numbers and other states are saved as they were when the last step ended. What was
    /// done, or why nothing was, is a line on stderr. Listeners are not called. Nothing can be done where a panic aborts.
    #[must_use]
    pub fn save_on_panic(mut self, save: bool) -> Self {
        self.saves_on_panic = save;
        self.hooks.keep_whole_steps(save);
        self
    }

    /// Saves and stops after the step during which SIGTERM or SIGINT (Ctrl-C) comes; a second one ends the process at once.
    /// See [`Stop`].
    ///
    /// # Errors
    /// [`tfckpt::Error::Signal`] if the operating system refuses.
    pub fn stop_on_signals(self) -> Result<Self> {
        Ok(self.stop(&Stop::on_signals()?))
    }

    /// Saves and stops when this asks: other signals, or a wish of the program itself.
    #[must_use]
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.hooks.stop = stop.clone();
        self
    }

    /// One more that is told of saves, and may end the training.
    #[must_use]
    pub fn listener(mut self, listener: impl SaveListener + Send + 'static) -> Self {
        self.hooks.listeners.add(listener);
        self
    }

    /// What tells the time. Default: the clock of the machine.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.trigger(|trigger| trigger.clock(clock))
    }

    fn trigger(mut self, change: impl FnOnce(Trigger) -> Trigger) -> Self {
        self.hooks.trigger = change(std::mem::take(&mut self.hooks.trigger));
        self
    }
}

/// # How it is saved and restored
impl Run {
    /// How many checkpoints to keep; 0 keeps all. Default: 5.
    #[must_use]
    pub fn max_to_keep(self, count: usize) -> Self {
        self.saver(|saver| saver.max_to_keep(count))
    }

    /// Changes what else the saver can do: `.saver(|saver| saver.basename("gan"))`.
    #[must_use]
    pub fn saver(mut self, change: impl FnOnce(Saver) -> Saver) -> Self {
        self.writer.change(change);
        self
    }

    /// Saves while the training goes on: a save costs the training one copy of the state, at the speed of memory. See
    /// [`BackgroundSaver`](tfckpt::BackgroundSaver). [`save`](Self::save) and [`after_step`](Self::after_step) then give the
    /// save that was finished since, [`wait`](Self::wait) waits for the last. Default: a save returns when it is done.
    #[must_use]
    pub fn in_background(mut self, when_busy: WhenBusy) -> Self {
        self.writer.in_background(when_busy);
        self
    }

    /// The most bytes that copies of the state may take, [in the background](Self::in_background); see
    /// [`BackgroundSaver::memory_budget`](tfckpt::BackgroundSaver::memory_budget). Default: no limit.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.writer.memory_budget(bytes);
        self
    }

    /// Whether a checkpoint is verified before anything is changed; see
    /// [`Variables::verify_first`](crate::Variables::verify_first). Default: true.
    #[must_use]
    pub fn verify_first(mut self, verify: bool) -> Self {
        self.variables.verify_first = verify;
        self
    }
}
