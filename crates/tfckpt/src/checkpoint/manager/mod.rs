//! Saving numbered checkpoints, as `tf.train.CheckpointManager` does.

mod options;
mod retention;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::retention::ManagerRetention;
use super::Checkpoint;
use super::clock::{Clock, SystemClock};
use super::commit::Committer;
use super::directory::{Directory, replaced_name};
use super::replace::{self, Listed, MayReplace};
use super::retention::{numbered, step_of};
use super::saver::Saved;
use crate::bundle::{Bundle, Written};
use crate::error::{Error, Result};
use crate::io::Storage;
use crate::limits::Limits;
use crate::tensor::Variable;

/// Saves numbered checkpoints into a directory and keeps the last few, as `tf.train.CheckpointManager` does.
///
/// Checkpoints are numbered by a counter, `ckpt-1`, `ckpt-2`, which is the one that `tf.train.Checkpoint` keeps as
/// `save_counter`. The state file says when each was saved, so that
/// [`keep_checkpoint_every_n_hours`](Self::keep_checkpoint_every_n_hours) survives restarts. Each save is a commit, as
/// that of a [`Saver`](crate::Saver), which numbers by steps.
///
/// Where TensorFlow's would lose something, this one differs:
/// - without a state file the checkpoint of the highest number is the newest, and is restored; TensorFlow initializes;
/// - the counter goes on after that of the newest checkpoint, also if nothing was restored from it: TensorFlow would begin
///   with 1 again and overwrite;
/// - a committed checkpoint is not overwritten unless asked, and then stays until the new one is there;
/// - nothing outside the directory is ever removed, nor what has another name, whatever the state file says;
/// - one writer at a time, see [`exclusive`](Self::exclusive).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let run = dir.path().join("run");
/// use tfckpt::{CheckpointManager, Variable};
///
/// let mut kernel = vec![0.0f32; 4];
/// let mut step = 0;
/// let mut manager = CheckpointManager::new(&run, 3).checkpoint_interval(100);
/// manager.restore_or_initialize(|checkpoint| {
///     // Without one nothing was saved yet, and the kernel is zero.
///     if let Some(checkpoint) = checkpoint {
///         kernel = checkpoint.read("dense/kernel")?;
///         step = checkpoint.global_step()?.unwrap_or(0);
///     }
///     Ok::<_, tfckpt::Error>(())
/// })?;
/// while step < 250 {
///     step += 10;
///     kernel.fill(step as f32);
///     manager.save([Variable::new("dense/kernel", [2, 2], &kernel)], step)?; // does so every 100 steps
/// }
/// assert_eq!(manager.checkpoints()?, [run.join("ckpt-1"), run.join("ckpt-2"), run.join("ckpt-3")]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CheckpointManager {
    directory: Directory,
    committer: Committer,
    max_to_keep: Option<usize>,
    keep_checkpoint_every_n_hours: Option<f64>,
    checkpoint_interval: Option<i64>,
    last_checkpoint_step: Option<i64>,
    overwrite: bool,
    clock: Arc<dyn Clock>,
    /// When the state file was looked at, or would have been: when this manager was made, in seconds since 1970.
    made: f64,
    /// The number of saves; `None` until it is looked for.
    save_counter: Option<i64>,
    /// `None` until the state file was read.
    retention: Option<ManagerRetention>,
}

/// One save of a [`CheckpointManager`]: at a step, which alone will do in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct SaveAt {
    global_step: i64,
    checkpoint_number: Option<i64>,
    check_interval: bool,
}

impl SaveAt {
    /// A save at this step, which is TensorFlow's `step_counter`.
    pub fn step(global_step: i64) -> Self {
        SaveAt {
            global_step,
            checkpoint_number: None,
            check_interval: true,
        }
    }

    /// The number in the checkpoint's name. Default: that of the counter, which goes up by one in any case.
    pub fn checkpoint_number(mut self, number: impl Into<Option<i64>>) -> Self {
        self.checkpoint_number = number.into();
        self
    }

    /// Whether the step must be an interval after that of the last save. Default: true. If not, this saves unless the
    /// last save was at this very step: what is wanted at the end of a training.
    pub fn check_interval(mut self, check: bool) -> Self {
        self.check_interval = check;
        self
    }
}

impl From<i64> for SaveAt {
    fn from(global_step: i64) -> Self {
        Self::step(global_step)
    }
}

impl CheckpointManager {
    /// Saves into `directory`, which the first save makes if it is not there, and keeps so many checkpoints: at least one;
    /// `None` keeps all. A lower number than that of an earlier run takes effect with the next save.
    pub fn new(directory: impl Into<PathBuf>, max_to_keep: impl Into<Option<usize>>) -> Self {
        Self::of(Directory::local(directory.into(), NAME), max_to_keep.into())
    }

    /// As [`new`](Self::new), in any [`Storage`].
    pub fn on(storage: Arc<dyn Storage>, max_to_keep: impl Into<Option<usize>>) -> Self {
        Self::of(Directory::of(storage, NAME), max_to_keep.into())
    }

    fn of(directory: Directory, max_to_keep: Option<usize>) -> Self {
        CheckpointManager {
            directory,
            committer: Committer {
                // As TensorFlow, whose manager writes none.
                meta_graph: None,
                ..Committer::default()
            },
            max_to_keep,
            keep_checkpoint_every_n_hours: None,
            checkpoint_interval: None,
            last_checkpoint_step: None,
            overwrite: false,
            clock: Arc::new(SystemClock),
            made: SystemClock.now(),
            save_counter: None,
            retention: None,
        }
    }

    /// Where it saves.
    pub fn directory(&self) -> &Path {
        &self.directory.root
    }

    /// The prefixes of the checkpoints that may be removed one day, oldest first; not those that are kept for ever. As
    /// TensorFlow, does not look whether they are there.
    ///
    /// # Errors
    /// [`Error::StateFile`]; [`Error::InvalidArgument`] for options that cannot be.
    pub fn checkpoints(&mut self) -> Result<Vec<PathBuf>> {
        let retention = self.retention()?;
        Ok(retention.tracked.iter().map(|(prefix, _)| prefix.clone()).collect())
    }

    /// The prefix of the newest checkpoint, as the state file names it; `None` if nothing was ever saved.
    ///
    /// # Errors
    /// As [`checkpoints`](Self::checkpoints).
    pub fn latest_checkpoint(&mut self) -> Result<Option<PathBuf>> {
        Ok(self.retention()?.latest.clone())
    }

    /// Calls `restore` with the newest checkpoint, open, and gives back its prefix. If nothing was ever saved calls it
    /// with `None`, for what TensorFlow's `init_fn` does: loading a network trained elsewhere, or nothing. The interval
    /// then counts from the restored step.
    ///
    /// # Errors
    /// As [`checkpoints`](Self::checkpoints); [`Error::NoCheckpoint`] if the newest one is gone, so that starting again
    /// from nothing is the caller's decision; as [`Checkpoint::open`]; those of `restore`.
    #[doc(alias = "init_fn")]
    pub fn restore_or_initialize<E: From<Error>>(
        &mut self,
        restore: impl FnOnce(Option<&Checkpoint>) -> Result<(), E>,
    ) -> Result<Option<PathBuf>, E> {
        let Some(prefix) = self.latest_checkpoint()? else {
            return restore(None).map(|()| None);
        };
        let checkpoint = self.open(&prefix)?;
        restore(Some(&checkpoint))?;
        if self.checkpoint_interval.is_some() {
            self.last_checkpoint_step = checkpoint.global_step()?.or(self.last_checkpoint_step);
        }
        Ok(Some(prefix))
    }

    /// Saves `variables` and `global_step` as checkpoint `NAME-NUMBER`, unless the interval says that it is too early:
    /// then nothing is done, and `None` is given back. Takes a step, or a [`SaveAt`].
    ///
    /// # Errors
    /// As [`Saver::save`](crate::Saver::save), and [`Error::InvalidArgument`] for options that cannot be. After an error
    /// all earlier checkpoints are as they were.
    pub fn save<'a>(
        &mut self,
        variables: impl IntoIterator<Item = Variable<'a>>,
        at: impl Into<SaveAt>,
    ) -> Result<Option<Saved>> {
        let (started, at) = (Instant::now(), at.into());
        let mut retention = self.retention()?.clone();
        if self.is_too_early(at) {
            return Ok(None);
        }
        self.prepare()?;
        let counter = self.counter()?.saturating_add(1);
        let variables = self.committer.arrange(variables, at.global_step, counter)?;
        let number = at.checkpoint_number.unwrap_or(counter);
        let name = numbered(&self.directory.basename, number, false);

        // Whatever fails from here on, the state file knows best what is kept.
        self.retention = None;
        self.made = self.clock.now();
        let may_replace = MayReplace {
            acknowledged: self.overwrite,
            number: Some(number),
        };
        replace::make_room(&self.directory, &mut retention, &name, may_replace)?;
        let before = retention.clone();
        let written = match self.commit(&mut retention, &name, variables) {
            Ok(written) => written,
            Err(error) => {
                replace::undo(&self.directory, before, &name);
                return Err(error);
            }
        };
        let mut saved = Saved {
            prefix: written.prefix,
            global_step: at.global_step,
            data_bytes: written.data_bytes,
            elapsed: Duration::ZERO,
            blocked: Duration::ZERO,
            removed: Vec::new(),
            removal_errors: Vec::new(),
        };
        self.save_counter = Some(counter);
        self.last_checkpoint_step = Some(at.global_step);
        let doomed = retention.sweep();
        replace::remove(&self.directory, &name, doomed, &mut saved, |_| {});
        if let Err(error) = self.directory.write_state(retention.state()) {
            saved.removal_errors.push(error);
        }
        self.retention = Some(retention);
        saved.elapsed = started.elapsed();
        saved.blocked = saved.elapsed;
        Ok(Some(saved))
    }

    /// Writes the checkpoint and makes it the latest.
    fn commit(&self, retention: &mut ManagerRetention, name: &str, variables: Vec<Variable<'_>>) -> Result<Written> {
        let written = self.committer.write(&self.directory.storage, name, variables)?;
        let (prefix, replaced) = (self.directory.prefix(name), self.directory.prefix(&replaced_name(name)));
        retention.tracked.retain(|(tracked, _)| *tracked != replaced);
        retention.saved(prefix, self.clock.now());
        // The new one is named before an old one goes, and the old ones until they are gone: killed in between, the next
        // run knows what to remove.
        self.directory.write_state(retention.state())?;
        Ok(written)
    }

    /// Makes the directory ready for saves: makes it, takes the lock, sweeps what dead writers left. The first save does
    /// so in any case; a run that calls this at its start fails at once and not at its first save.
    ///
    /// # Errors
    /// As [`Saver::prepare`](crate::Saver::prepare), and [`Error::StateFile`].
    pub fn prepare(&mut self) -> Result<()> {
        self.retention()?;
        self.directory.enter()
    }

    fn is_too_early(&self, at: SaveAt) -> bool {
        let (Some(interval), Some(last)) = (self.checkpoint_interval, self.last_checkpoint_step) else {
            return false;
        };
        at.global_step == last || (at.check_interval && at.global_step < last.saturating_add(interval))
    }

    /// What is kept, from the state file at first.
    fn retention(&mut self) -> Result<&ManagerRetention> {
        if self.max_to_keep == Some(0) {
            return Err(Error::invalid(
                "a checkpoint manager keeps at least one checkpoint: give `max_to_keep` a number from 1, or `None` to keep all",
            ));
        }
        let recovered = match self.retention.take() {
            Some(retention) => retention,
            None => self.recover()?,
        };
        Ok(self.retention.insert(ManagerRetention {
            max_to_keep: self.max_to_keep,
            keep_checkpoint_every_n_hours: self.keep_checkpoint_every_n_hours,
            ..recovered
        }))
    }

    /// What the state file says of the run before.
    fn recover(&self) -> Result<ManagerRetention> {
        let Some(mut state) = self.directory.state()? else {
            let newest = self.directory.newest()?;
            return Ok(ManagerRetention {
                latest: newest.map(|name| self.directory.prefix(&name)),
                ..ManagerRetention::recover(None, self.made)
            });
        };
        // A directory that was moved may bring absolute paths of its old place.
        let here = |prefix: &mut PathBuf| {
            if let Some(found) = self.directory.find(prefix.clone()) {
                *prefix = found;
            }
        };
        here(&mut state.model_checkpoint_path);
        state.all_model_checkpoint_paths.iter_mut().for_each(here);
        Ok(ManagerRetention::recover(Some(state), self.made))
    }

    fn open(&self, prefix: &Path) -> Result<Checkpoint> {
        let (storage, limits) = (self.directory.storage.clone(), Limits::default());
        let found = self.directory.find(prefix.to_owned());
        let bundle = match (
            found.as_deref().and_then(|found| self.directory.name_of(found)),
            &self.committer.progress,
        ) {
            (Some(name), Some(progress)) => Bundle::open_watched(storage, name, &limits, progress.clone()),
            (Some(name), None) => Bundle::open(storage, name, &limits),
            // In another directory, or gone: the error says what is near.
            (None, _) => return Checkpoint::open(prefix),
        };
        Ok(bundle?.into())
    }

    /// The number of saves so far: that in the newest checkpoint, or that of its name.
    fn counter(&mut self) -> Result<i64> {
        if let Some(counter) = self.save_counter {
            return Ok(counter);
        }
        let Some(latest) = self.retention()?.latest.clone() else {
            return Ok(0);
        };
        let checkpoint = self.open(&latest);
        let stored = checkpoint.and_then(|checkpoint| checkpoint.read::<i64>(SAVE_COUNTER));
        let stored = stored.ok().and_then(|values| values.first().copied());
        let named = || step_of(latest.file_name()?.to_str()?, &self.directory.basename);
        Ok(stored.or_else(named).unwrap_or(0))
    }
}

/// TensorFlow's default.
const NAME: &str = "ckpt";

/// The key of the counter in an object-based checkpoint.
const SAVE_COUNTER: &str = "save_counter/.ATTRIBUTES/VARIABLE_VALUE";
