//! A training run in a directory: saved as it goes, and resumed.

use std::path::PathBuf;

use candle_core::{DType, Var};
use candle_nn::VarMap;
use tfckpt::map::{LoadReport, NameMap};
use tfckpt::objects::ObjectLayout;
use tfckpt::{BackgroundSaver, Checkpoint, Saved, Saver, Submitted, WhenBusy};

use crate::assign;
use crate::entries::{self, Entry};
use crate::error::{Error, Result};
use crate::layers::Layers;
use crate::optim::{CheckpointedOptimizer, Counter, OptimizerState, Slot};
use crate::variables::Variables;
use crate::ways::Way;

/// A training run that can be stopped at any moment, by whatever means, and goes on from its last checkpoint as if it
/// had not been stopped.
///
/// Variables, slots and counters of the optimizer, and `global_step` are one checkpoint. Everything else that a
/// training loop depends on follows from `global_step`: which batch is next, the learning rate of a schedule. What
/// does not follow is kept with [`track`](Self::track).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, Optimizer, VarMap};
/// use tfckpt_candle::{Adam, ParamsAdam, Run};
///
/// let varmap = VarMap::new();
/// let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
/// let model = candle_nn::linear(4, 1, vb.pp("fc"))?;
/// let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;
///
/// # let run = dir.path();
/// let mut run = Run::new(run, &varmap, &optimizer).layers(&layers).max_to_keep(5).every_steps(100);
/// let start = run.restore_or_initialize()?; // 0, or the step of the latest checkpoint
/// for _ in start..300 {
///     let x = Tensor::ones((8, 4), DType::F32, &Device::Cpu)?;
///     optimizer.backward_step(&model.forward(&x)?.sqr()?.mean_all()?)?;
///     if let Some(saved) = run.after_step()? {
///         println!("saved {}", saved.prefix.display());
///     }
/// }
/// run.save()?; // nothing to do: step 300 is saved
/// # assert_eq!(tfckpt::Checkpoint::open(run.directory())?.global_step()?, Some(300));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Run {
    saver: Saver,
    background: Option<Background>,
    variables: Variables,
    optimizers: Vec<OptimizerState>,
    tracked: Vec<(String, Var)>,
    objects: Option<ObjectLayout>,
    every_steps: u64,
    global_step: i64,
    /// The step that the newest checkpoint of the directory holds, as far as we know.
    committed: Option<i64>,
}

impl Run {
    /// A run in `directory`, which the first save makes. Nothing is read yet.
    pub fn new(directory: impl Into<PathBuf>, varmap: &VarMap, optimizer: &impl CheckpointedOptimizer) -> Self {
        Run {
            saver: Saver::new(directory),
            background: None,
            variables: Variables::new(varmap),
            optimizers: vec![optimizer.state()],
            tracked: Vec::new(),
            objects: None,
            every_steps: 0,
            global_step: 0,
            committed: None,
        }
    }

    /// The kinds of the layers, as [`recording`](crate::recording) took them down; see [`Variables::layers`].
    #[must_use]
    pub fn layers(mut self, layers: &Layers) -> Self {
        self.variables = self.variables.layers(layers);
        self
    }

    /// Names and layouts in the checkpoints. Default: [`NameMap::keras`].
    #[must_use]
    pub fn names(mut self, names: NameMap) -> Self {
        self.variables = self.variables.names(names);
        self
    }

    /// Whether a checkpoint is verified before anything is changed; see [`Variables::verify_first`]. Default: true.
    #[must_use]
    pub fn verify_first(mut self, verify: bool) -> Self {
        self.variables = self.variables.verify_first(verify);
        self
    }

    /// How many checkpoints to keep; 0 keeps all. Default: 5.
    #[must_use]
    pub fn max_to_keep(mut self, count: usize) -> Self {
        self.saver = self.saver.max_to_keep(count);
        self
    }

    /// Saves after every so many steps; 0 leaves all saving to [`save`](Self::save). Default: 0.
    #[must_use]
    pub fn every_steps(mut self, steps: u64) -> Self {
        self.every_steps = steps;
        self
    }

    /// Writes object-based checkpoints, which `tf.train.Checkpoint(model=…, optimizer=…)` of TensorFlow 2 restores into
    /// Python objects that are laid out so. What is [tracked](Self::track) stays outside of them. Default: name-based
    /// ones, for `tf.compat.v1.train.Saver`. Either kind is restored from, whatever is written.
    #[must_use]
    pub fn objects(mut self, layout: ObjectLayout) -> Self {
        self.objects = Some(layout);
        self
    }

    /// Saves while the training goes on: a save costs the training one copy of the state, at the speed of memory. See
    /// [`BackgroundSaver`]. [`save`](Self::save) and [`after_step`](Self::after_step) then give the save that was
    /// finished since, [`wait`](Self::wait) waits for the last. Default: a save returns when it is done.
    #[must_use]
    pub fn in_background(mut self, when_busy: WhenBusy) -> Self {
        self.background = Some(Background {
            when_busy,
            memory_budget: u64::MAX,
            saver: None,
        });
        self
    }

    /// The most bytes that copies of the state may take, [in the background](Self::in_background); see
    /// [`BackgroundSaver::memory_budget`]. Default: no limit.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        if let Some(background) = &mut self.background {
            background.memory_budget = bytes;
        }
        self
    }

    /// Changes what else the saver can do: `.saver(|saver| saver.basename("gan"))`.
    #[must_use]
    pub fn saver(mut self, change: impl FnOnce(Saver) -> Saver) -> Self {
        self.saver = change(self.saver);
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

    /// Where the run is.
    pub fn directory(&self) -> &std::path::Path {
        self.saver.directory()
    }

    /// The number of steps taken, those before a restore included.
    pub fn global_step(&self) -> i64 {
        self.global_step
    }

    /// Goes on from the latest checkpoint of the directory, or from the values that the model was built with if
    /// nothing was ever saved there. Returns `global_step`.
    ///
    /// # Errors
    /// As [`restore`](Self::restore), and [`tfckpt::Error::StateFile`] or [`tfckpt::Error::NoCheckpoint`] if the
    /// directory says that there is a checkpoint, which cannot be read: a run never starts again by accident.
    /// Without a checkpoint, what would keep the first save from succeeding: [`Error::UnknownLayers`] and the like.
    pub fn restore_or_initialize(&mut self) -> Result<i64> {
        match self.saver.latest()? {
            Some(checkpoint) => {
                self.restore(&checkpoint)?;
                self.committed = Some(self.global_step);
            }
            None => drop(entries::to_variables(&self.entries()?)?),
        }
        Ok(self.global_step)
    }

    /// Begins with values of the checkpoint at `path`, as `map` says: an [`AssignmentMap`](tfckpt::map::AssignmentMap) or a
    /// [`WarmStart`](tfckpt::map::WarmStart). As in a warm start of TensorFlow's Estimator this happens only at the beginning
    /// of a run: once it has a checkpoint of its own, or has made a step, `path` is not even opened, and the answer is
    /// `None`. `global_step` stays 0. Slots, counters and what is [tracked](Self::track) are filled only if the map says
    /// so by `optimizer_state`.
    ///
    /// # Errors
    /// As [`Variables::init_from_checkpoint`], and [`tfckpt::Error::StateFile`] or [`tfckpt::Error::NoCheckpoint`] if the
    /// directory's own checkpoint cannot be read.
    pub fn init_from(
        &mut self,
        path: impl AsRef<std::path::Path>,
        map: &impl tfckpt::map::Assign,
    ) -> Result<Option<LoadReport>> {
        let has_begun = self.global_step > 0 || self.saver.latest()?.is_some();
        assign::init_run(has_begun, &self.variables, self.entries()?, path.as_ref(), map)
    }

    /// Goes on from this checkpoint, which may lie elsewhere and be TensorFlow's. All or nothing, as
    /// [`Variables::restore`], for variables, slots and counters together.
    ///
    /// # Errors
    /// As [`Variables::restore`], and [`Error::NoGlobalStep`], [`Error::UnknownVariable`].
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<LoadReport> {
        let step = checkpoint.global_step()?.ok_or_else(|| Error::NoGlobalStep {
            prefix: checkpoint.prefix(),
        })?;
        // TensorFlow's optimizers keep no count of their own steps.
        let (counters, mut entries) = (self.step_counters(), self.entries()?);
        let absent: Vec<&Counter> = counters
            .iter()
            .filter(|counter| !checkpoint.contains(&counter.name))
            .copied()
            .collect();
        entries.retain(|entry| !absent.iter().any(|counter| counter.name == entry.path));
        let report = entries::restore(&entries, checkpoint, self.variables.verify_first)?;
        for counter in absent {
            counter
                .value
                .set(&candle_core::Tensor::new(step, counter.value.device())?)?;
        }
        self.global_step = step;
        self.committed = None;
        Ok(report)
    }

    /// Counts a step of the optimizer, and saves if it is time.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn after_step(&mut self) -> Result<Option<Saved>> {
        self.global_step += 1;
        match self.global_step.unsigned_abs().checked_rem(self.every_steps) {
            Some(0) => self.save(),
            _ => Ok(None),
        }
    }

    /// Saves now; `None` if this very step is saved already, or in the background and not finished yet.
    ///
    /// # Errors
    /// [`Error::UnknownLayers`], [`Error::UnknownVariable`], [`Error::UnsupportedDtype`], and those of
    /// [`Saver::save`]. All earlier checkpoints are then as they were.
    pub fn save(&mut self) -> Result<Option<Saved>> {
        if self.committed == Some(self.global_step) {
            return Ok(None);
        }
        let variables = entries::to_variables(&self.entries()?)?;
        if let Some(layout) = self.objects.take() {
            let outside = self.tracked.iter().map(|(name, _)| name);
            let layout = outside.fold(layout, |layout, name| layout.outside(name));
            let saver = std::mem::replace(&mut self.saver, Saver::new(""));
            self.saver = saver.objects(layout);
        }
        let Some(background) = &mut self.background else {
            let saved = self.saver.save(variables, self.global_step)?;
            self.committed = Some(self.global_step);
            return Ok(Some(saved));
        };
        let background = background.start(&mut self.saver);
        match background.save(variables, self.global_step)? {
            Submitted::Skipped => {}
            Submitted::InForeground(saved) => {
                self.committed = Some(self.global_step);
                return Ok(Some(saved));
            }
            _ => self.committed = Some(self.global_step),
        }
        Ok(background.finished()?.pop())
    }

    /// Waits for the save that goes on in the background, and gives the newest that was finished since one was last
    /// given. Dropping the run waits, too, but cannot tell of an error.
    ///
    /// # Errors
    /// That of a save in the background.
    pub fn wait(&mut self) -> Result<Option<Saved>> {
        match self
            .background
            .as_mut()
            .and_then(|background| background.saver.as_mut())
        {
            Some(saver) => Ok(saver.wait()?.pop()),
            None => Ok(None),
        }
    }

    /// Everything that makes up a checkpoint, but for `global_step`.
    fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = self.variables.entries()?;
        let mut slots = Vec::new();
        for slot in self.optimizers.iter().flat_map(|optimizer| &optimizer.slots) {
            slots.push(slot_entry(slot, &entries)?);
        }
        entries.extend(slots);
        for counter in self.optimizers.iter().flat_map(|optimizer| &optimizer.counters) {
            entries.push(Entry::plain(&counter.name, &counter.value));
        }
        entries.extend(self.tracked.iter().map(|(name, value)| Entry::plain(name, value)));
        Ok(entries)
    }

    fn step_counters(&self) -> Vec<&Counter> {
        let counters = self.optimizers.iter().flat_map(|optimizer| &optimizer.counters);
        counters
            .filter(|counter| counter.counts_steps && counter.value.dtype() == DType::I64)
            .collect()
    }
}

/// Saving in the background.
#[derive(Debug)]
struct Background {
    when_busy: WhenBusy,
    memory_budget: u64,
    /// From the first save on.
    saver: Option<BackgroundSaver>,
}

impl Background {
    /// The saver in the background. Of the one in the foreground only what looks at the directory is left.
    fn start(&mut self, saver: &mut Saver) -> &mut BackgroundSaver {
        self.saver.get_or_insert_with(|| {
            let directory = Saver::new(saver.directory());
            BackgroundSaver::new(std::mem::replace(saver, directory))
                .when_busy(self.when_busy)
                .memory_budget(self.memory_budget)
        })
    }
}

/// A slot is called after its variable and laid out like it.
fn slot_entry(slot: &Slot, variables: &[Entry]) -> Result<Entry> {
    let at = variables.binary_search_by(|entry| entry.path.as_str().cmp(&slot.variable));
    let Some(variable) = at.ok().and_then(|at| variables.get(at)) else {
        let (slot, variable) = (slot.name.clone(), slot.variable.clone());
        return Err(Error::UnknownVariable { slot, variable });
    };
    let names = variable
        .way
        .names
        .iter()
        .map(|name| format!("{name}/{}", slot.name))
        .collect();
    Ok(Entry {
        path: format!("{} of {}", slot.name, slot.variable),
        way: Way {
            names,
            ..variable.way.clone()
        },
        var: slot.value.clone(),
        trained: false,
    })
}
