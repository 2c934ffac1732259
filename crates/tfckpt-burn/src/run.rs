//! A directory of checkpoints for a training run.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use tfckpt::io::Durability;
use tfckpt::map::{LoadReport, NameMap};
use tfckpt::objects::ObjectLayout;
use tfckpt::{BackgroundSaver, Checkpoint, Saved, Saver, Submitted, Variable, WhenBusy};

use crate::carrier::States;
use crate::error::{Error, Result};
use crate::optimizer::OptimizerNames;
use crate::schema::Schema;
use crate::{module, optimizer, parts, scalars, scheduler};

/// What is Burn's own.
const OWN: &str = "burn/";
/// The epoch that a checkpoint's run has completed.
const EPOCH: &str = "burn/epoch";
/// Steps of the optimizer since then.
const EPOCH_STEPS: &str = "burn/epoch_steps";

/// Saves a training run as TensorFlow checkpoints, and takes it up again.
///
/// One checkpoint holds the model, the state of the optimizer as slot variables, the state of the learning-rate
/// scheduler and `global_step`, and is committed as a whole by a [`Saver`].
///
/// For a `Learner` there is [`launch`](Self::launch); a hand-written loop calls
/// [`restore_or_initialize`](Self::restore_or_initialize) before and [`after_step`](Self::after_step) within.
#[derive(Debug)]
pub struct TfCheckpoints {
    pub(crate) shared: Arc<Shared>,
}

/// What happens to checkpoints while a run goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run goes on from a checkpoint.
    Restored {
        /// Its prefix.
        prefix: PathBuf,
        /// The step that it was saved at.
        global_step: i64,
    },
    /// A checkpoint was saved.
    Saved(&'a Saved),
}

impl std::fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Restored { prefix, global_step } => {
                write!(f, "going on from {} at step {global_step}", prefix.display())
            }
            Event::Saved(saved) => write!(f, "saved {} ({} bytes)", saved.prefix.display(), saved.data_bytes),
        }
    }
}

type Listener = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// The options, and the state that the hooks of a run share.
pub(crate) struct Shared {
    pub(crate) names: NameMap,
    pub(crate) optimizer: OptimizerNames,
    pub(crate) every_steps: Option<u64>,
    listener: Option<Listener>,
    /// Locked before the state, and for as long as a save takes: who is told of it may ask for the step.
    saving: Mutex<Saving>,
    state: Mutex<State>,
}

/// What saves.
struct Saving {
    saver: Saver,
    /// How saving in the background is done, and what does it from the first save on.
    when_busy: Option<WhenBusy>,
    background: Option<BackgroundSaver>,
}

pub(crate) struct State {
    pub(crate) position: Position,
    last_saved: Option<i64>,
    /// Batches that the next pass over the training data leaves out, because the run before has seen them.
    pub(crate) skip: u64,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) global_step: i64,
    /// Epochs completed.
    pub(crate) epoch: usize,
    /// Steps since then.
    pub(crate) epoch_steps: u64,
}

impl TfCheckpoints {
    /// Checkpoints in `directory`, which is made if it is not there. Options are set before the first use.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let saving = Saving {
            saver: Saver::new(directory),
            when_busy: None,
            background: None,
        };
        let state = State {
            position: Position::default(),
            last_saved: None,
            skip: 0,
        };
        let shared = Shared {
            names: NameMap::keras(),
            optimizer: OptimizerNames {
                name: "Adam".to_owned(),
                betas: (0.9, 0.999),
            },
            every_steps: None,
            listener: None,
            saving: Mutex::new(saving),
            state: Mutex::new(state),
        };
        TfCheckpoints {
            shared: Arc::new(shared),
        }
    }

    /// How many checkpoints to keep; 0 or `None` keeps all. Default: 5.
    #[must_use]
    pub fn max_to_keep(self, count: impl Into<Option<usize>>) -> Self {
        self.with_saver(|saver| saver.max_to_keep(count))
    }

    /// The name in front of `-STEP`. Default: `model.ckpt`.
    #[must_use]
    pub fn basename(self, basename: impl Into<String>) -> Self {
        self.with_saver(|saver| saver.basename(basename))
    }

    /// What a save waits for. Default: [`Durability::Synced`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        self.with_saver(|saver| saver.durability(durability))
    }

    /// Writes object-based checkpoints, which `tf.train.Checkpoint(model=…, optimizer=…)` of TensorFlow 2 restores into
    /// Python objects that are laid out so. Burn's own counters stay outside of them. Default: name-based ones, for
    /// `tf.compat.v1.train.Saver`. Either kind is restored from, whatever is written.
    #[must_use]
    pub fn objects(self, layout: ObjectLayout) -> Self {
        let layout = layout.outside(scheduler::SCOPE).outside(OWN);
        self.with_saver(|saver| saver.objects(layout))
    }

    /// Saves while the training goes on. Tensors of Burn do not change, so that nothing is copied before the training
    /// goes on: the steps after it make new ones, as they do anyway, and the old ones stay in memory until they are
    /// written. [`save`](Self::save) and [`after_step`](Self::after_step) then give the save that was finished since,
    /// [`wait`](Self::wait) waits for the last; events are told from a thread of their own. Default: a save returns when
    /// it is done.
    #[must_use]
    pub fn in_background(self, when_busy: WhenBusy) -> Self {
        self.with_saving(|saving| saving.when_busy = Some(when_busy))
    }

    /// Names and layouts. Default: [`NameMap::keras`].
    #[must_use]
    pub fn names(self, names: NameMap) -> Self {
        self.with(|shared| shared.names = names)
    }

    /// Saves whenever `global_step` is a multiple of `steps`. Default: a `Learner` saves at the end of each epoch, a
    /// hand-written loop when it says so.
    #[must_use]
    pub fn every_steps(self, steps: u64) -> Self {
        self.with(|shared| shared.every_steps = Some(steps).filter(|&steps| steps > 0))
    }

    /// What the slots of the Adam family are called: `VARIABLE/Adam` and `VARIABLE/Adam_1`. Default: `Adam`.
    #[must_use]
    pub fn optimizer_name(self, name: impl Into<String>) -> Self {
        self.with(|shared| shared.optimizer.name = name.into())
    }

    /// The decay rates of the Adam family. Burn does not show them, and TensorFlow stores their powers,
    /// `beta1_power` and `beta2_power`. Default: 0.9 and 0.999, as Burn's.
    #[must_use]
    pub fn adam_betas(self, beta1: f32, beta2: f32) -> Self {
        self.with(|shared| shared.optimizer.betas = (beta1, beta2))
    }

    /// Called after each save and after a restore: `|event| println!("{event}")`. Default: nothing.
    #[must_use]
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.listener = Some(Arc::new(listener)))
    }

    /// The number of optimizer steps so far.
    pub fn global_step(&self) -> i64 {
        self.shared.state().position.global_step
    }

    /// Takes the run up again from the latest checkpoint, and says at which step; 0 if there is none, and then
    /// nothing is changed. After an error nothing is changed either.
    ///
    /// # Errors
    /// The directory has checkpoints, but the latest cannot be read or does not fit.
    pub fn restore_or_initialize<M: Module>(
        &self,
        model: &mut M,
        optimizer: &mut ModuleOptimizer,
        scheduler: &mut ModuleLrScheduler,
    ) -> Result<i64> {
        let latest = self.shared.saving().saver.latest()?;
        let Some(checkpoint) = latest.map(Arc::new) else {
            return Ok(0);
        };
        let shared = &self.shared;
        let schema = Schema::of(model);
        let loaded = optimizer::load(
            optimizer.clone(),
            &checkpoint,
            &schema,
            &shared.names,
            &shared.optimizer,
        )?;
        let rates = scheduler.clone().load_record(scheduler::record(&checkpoint)?);
        let position = Position::read(&checkpoint)?;
        module::load(model, &checkpoint, &shared.names, false)?;
        *optimizer = loaded;
        *scheduler = rates;
        let mut state = shared.state();
        state.position = position;
        state.last_saved = Some(position.global_step);
        state.skip = position.epoch_steps;
        drop(state);
        shared.tell(&Event::Restored {
            prefix: checkpoint.prefix(),
            global_step: position.global_step,
        });
        Ok(position.global_step)
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
        map: &impl tfckpt::map::Assign,
    ) -> Result<Option<LoadReport>> {
        if self.global_step() > 0 || self.shared.saving().saver.latest()?.is_some() {
            return Ok(None);
        }
        crate::init_from_checkpoint(model, &Checkpoint::open(path)?, &self.shared.names, map).map(Some)
    }

    /// Counts a step of the optimizer, and saves if one is due.
    ///
    /// # Errors
    /// The save failed. The checkpoints before are as they were.
    pub fn after_step<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<Option<Saved>> {
        match self.shared.count_step() {
            true => self.save(model, optimizer, scheduler),
            false => Ok(None),
        }
    }

    /// Saves now; `None` if this step is saved already.
    ///
    /// # Errors
    /// The save failed. The checkpoints before are as they were.
    pub fn save<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<Option<Saved>> {
        let position = self.shared.state().position;
        if self.shared.state().last_saved == Some(position.global_step) {
            return Ok(None);
        }
        self.shared.save(model, optimizer, scheduler, position)
    }

    /// Waits for the save that goes on in the background, and gives the newest that was finished since one was last
    /// given.
    ///
    /// # Errors
    /// That of a save in the background.
    pub fn wait(&self) -> Result<Option<Saved>> {
        self.shared.wait()
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        // Once a loader or a learner shares the state, an option would be lost without a word.
        match Arc::get_mut(&mut self.shared) {
            Some(shared) => change(shared),
            None => debug_assert!(false, "options are set before the first use"),
        }
        self
    }

    fn with_saver(self, change: impl FnOnce(Saver) -> Saver) -> Self {
        self.with_saving(|saving| {
            let saver = std::mem::replace(&mut saving.saver, Saver::new(""));
            saving.saver = change(saver);
        })
    }

    fn with_saving(self, change: impl FnOnce(&mut Saving)) -> Self {
        self.with(|shared| change(shared.saving.get_mut().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves plain counters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saving(&self) -> MutexGuard<'_, Saving> {
        // A panic elsewhere leaves a saver that checks the directory itself.
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: &Event<'_>) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }

    /// Counts a step, and says whether a save is due.
    pub(crate) fn count_step(&self) -> bool {
        let mut state = self.state();
        state.position.global_step += 1;
        state.position.epoch_steps += 1;
        self.every_steps
            .is_some_and(|every| state.position.global_step.unsigned_abs().is_multiple_of(every))
    }

    /// Writes one checkpoint of what a training has at hand.
    pub(crate) fn save<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
        position: Position,
    ) -> Result<Option<Saved>> {
        let schema = Schema::of(model);
        let variables = module::variables(model, &schema, &self.names)?;
        let (optimizer, parameters) = (optimizer.clone(), schema.clone());
        let states = move || parts::states(&optimizer, &parameters);
        self.commit(variables, states, scheduler.to_record(), &schema, position)
    }

    /// Writes one checkpoint, perhaps in the background. One of the same step, saved at the end of a step that turned out
    /// to be the last of an epoch, is replaced. Nothing is written once a later step is saved: Burn hands over an epoch
    /// on threads of its own, while the training goes on.
    pub(crate) fn commit(
        &self,
        variables: Vec<Variable<'static>>,
        optimizer: impl FnOnce() -> Result<States> + Send + 'static,
        scheduler: LrSchedulerRecord,
        schema: &Schema,
        position: Position,
    ) -> Result<Option<Saved>> {
        let rates = scheduler::variables(scheduler)?;
        let mut saving = self.saving();
        let last_saved = self.state().last_saved;
        if last_saved > Some(position.global_step) {
            return Ok(None);
        }
        let again = last_saved == Some(position.global_step);
        // Clones, and never this itself: what is written in the background must not outlive who waits for it.
        let (names, slots, schema) = (self.names.clone(), self.optimizer.clone(), schema.clone());
        let write = move |saver: &mut Saver| -> Result<Saved> {
            let mut variables = variables;
            variables.extend(optimizer::variables(optimizer()?, &schema, &names, &slots)?);
            variables.extend(rates);
            let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            variables.push(Variable::scalar(EPOCH, signed(position.epoch as u64)));
            variables.push(Variable::scalar(EPOCH_STEPS, signed(position.epoch_steps)));
            *saver = std::mem::replace(saver, Saver::new("")).overwrite(again);
            Ok(saver.save(variables, position.global_step)?)
        };
        let Some(background) = saving.background() else {
            let saved = write(&mut saving.saver)?;
            self.state().last_saved = Some(position.global_step);
            drop(saving);
            self.tell(&Event::Saved(&saved));
            return Ok(Some(saved));
        };
        let listener = self.listener.clone();
        let submitted = background.save_with(position.global_step, move |saver| {
            let saved = write(saver).map_err(into_core)?;
            if let Some(listener) = listener {
                listener(&Event::Saved(&saved));
            }
            Ok(saved)
        })?;
        let finished = background.finished()?.pop();
        if !matches!(submitted, Submitted::Skipped) {
            self.state().last_saved = Some(position.global_step);
        }
        Ok(finished)
    }

    pub(crate) fn wait(&self) -> Result<Option<Saved>> {
        match &mut self.saving().background {
            Some(background) => Ok(background.wait()?.pop()),
            None => Ok(None),
        }
    }
}

impl Saving {
    /// What saves in the background, if that is wanted. Of the saver in the foreground only what looks at the directory
    /// is left.
    fn background(&mut self) -> Option<&mut BackgroundSaver> {
        let when_busy = self.when_busy?;
        let background = self.background.get_or_insert_with(|| {
            let directory = Saver::new(self.saver.directory());
            BackgroundSaver::new(std::mem::replace(&mut self.saver, directory)).when_busy(when_busy)
        });
        Some(background)
    }
}

/// An error on its way through a saver.
fn into_core(error: Error) -> tfckpt::Error {
    match error {
        Error::Checkpoint(error) => error,
        error => tfckpt::Error::Source {
            name: "the state of the run".to_owned(),
            source: error.into(),
        },
    }
}

impl Position {
    fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let counter = |name: &str| -> Result<u64> {
            match checkpoint.contains(name) {
                true => Ok(scalars::read(checkpoint, checkpoint.variable(name)?)?
                    .and_then(|scalar| u64::try_from(scalar).ok())
                    .unwrap_or(0)),
                false => Ok(0),
            }
        };
        Ok(Position {
            global_step: checkpoint.global_step()?.unwrap_or(0),
            epoch: usize::try_from(counter(EPOCH)?).unwrap_or(usize::MAX),
            epoch_steps: counter(EPOCH_STEPS)?,
        })
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("names", &self.names)
            .field("position", &self.state().position)
            .finish_non_exhaustive()
    }
}
