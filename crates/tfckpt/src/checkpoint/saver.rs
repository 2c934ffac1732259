//! Saving checkpoint after checkpoint into one directory.

mod options;
mod rules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Checkpoint;
use super::clock::{Clock, SystemClock};
use super::commit::Committer;
use super::directory::{Directory, replaced_name};
use super::keeper::{Committed, Keeper};
use super::replace::{self, Listed, MayReplace};
use super::retention::{HourlyKeeper, numbered, surplus};
use super::state::CheckpointState;
use crate::bundle::{Bundle, Written};
use crate::error::{Error, Result};
use crate::io::Storage;
use crate::limits::Limits;
use crate::meta::{MetaGraphWriter, VariableKind};
use crate::tensor::Variable;

/// Saves checkpoints into a directory and keeps the last few, as `tf.compat.v1.train.Saver` does.
///
/// Each save is a commit: data files, graph, index, state file, then the removal of what is too old. Killed at any moment,
/// it leaves the checkpoint before as the latest, whole; the next save sweeps what the killed one left behind. After a
/// save that failed everything is as it was. The list of kept checkpoints is read back from the state file, so that
/// it survives restarts.
///
/// Where TensorFlow's would lose something, this one differs:
/// - paths in the state file are relative unless asked otherwise, so that the directory can be moved;
/// - a committed checkpoint is never overwritten unless asked, and then stays until the new one is there;
/// - one saver at a time writes to a directory, see [`exclusive`](Self::exclusive);
/// - a lower `max_to_keep` takes effect at once, and not by one checkpoint with each save.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let run = dir.path().join("run");
/// use tfckpt::{Saver, Variable};
///
/// let mut saver = Saver::new(&run).max_to_keep(2);
/// for step in [100, 200, 300] {
///     let kernel = [step as f32; 4];
///     saver.save([Variable::new("dense/kernel", [2, 2], &kernel)], step)?;
/// }
/// assert_eq!(tfckpt::latest_checkpoint(&run)?, Some(run.join("model.ckpt-300")));
/// let checkpoint = tfckpt::Checkpoint::open(&run)?;
/// assert_eq!(checkpoint.global_step()?, Some(300));
/// assert_eq!(checkpoint.read::<f32>("dense/kernel")?, [300.0; 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Saver {
    directory: Directory,
    committer: Committer,
    max_to_keep: Option<usize>,
    hourly: HourlyKeeper,
    clock: Arc<dyn Clock>,
    overwrite: bool,
    pad_step_number: bool,
    write_state: bool,
    variable_kind: VariableKind,
    write_meta_graph: bool,
    /// Rules beyond TensorFlow's, and the history that they look at.
    keeper: Keeper,
    /// The kept checkpoints, oldest first; `None` until the state file was read.
    tracked: Option<Vec<Tracked>>,
}

/// A checkpoint that will be removed when it is too old.
#[derive(Debug, Clone, PartialEq)]
struct Tracked {
    prefix: PathBuf,
    /// When it was saved, in seconds since 1970.
    time: f64,
}

/// A checkpoint on its way.
struct New<'a> {
    name: &'a str,
    global_step: i64,
    metrics: BTreeMap<String, f64>,
    /// Whether there is more to look at than the list of the latest.
    has_rules: bool,
}

/// What goes with one save.
#[derive(Debug, Default)]
struct Doomed {
    prefixes: Vec<PathBuf>,
    /// Why the history could not be written.
    history_error: Option<Error>,
}

/// What one save did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Saved {
    /// The prefix of the new checkpoint.
    pub prefix: PathBuf,
    /// Its step.
    pub global_step: i64,
    /// Bytes of its data files.
    pub data_bytes: u64,
    /// How long the save took, the removal of old checkpoints included.
    pub elapsed: Duration,
    /// How long the training was held up by it: as long as it took, or in the background as long as the copy took.
    pub blocked: Duration,
    /// The prefixes of the checkpoints that were too old and are gone.
    pub removed: Vec<PathBuf>,
    /// Why old checkpoints could not be removed, or the history not be written. The save itself succeeded.
    pub removal_errors: Vec<Error>,
}

/// TensorFlow's default: a checkpoint is kept forever after more than a year.
pub(super) const KEEP_EVERY_N_HOURS: f32 = 10_000.0;

impl Saver {
    /// Saves into `directory`, which the first save makes if it is not there.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::with_directory(Directory::local(directory.into(), "model.ckpt"))
    }

    /// Saves into any [`Storage`].
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self::with_directory(Directory::of(storage, "model.ckpt"))
    }

    fn with_directory(directory: Directory) -> Self {
        let clock = Arc::new(SystemClock);
        Saver {
            directory,
            committer: Committer::default(),
            max_to_keep: Some(5),
            hourly: HourlyKeeper::new(KEEP_EVERY_N_HOURS.into(), clock.now()),
            clock,
            overwrite: false,
            pad_step_number: false,
            write_state: true,
            variable_kind: VariableKind::default(),
            write_meta_graph: true,
            keeper: Keeper::default(),
            tracked: None,
        }
    }

    /// Where it saves.
    pub fn directory(&self) -> &Path {
        &self.directory.root
    }

    /// The kept checkpoints, oldest first; see [`max_to_keep`](Self::max_to_keep).
    ///
    /// # Errors
    /// [`Error::StateFile`].
    pub fn last_checkpoints(&self) -> Result<Vec<PathBuf>> {
        let tracked = self.tracked()?;
        Ok(tracked.into_iter().map(|checkpoint| checkpoint.prefix).collect())
    }

    /// Takes these checkpoints, oldest first, for those that were saved last, each with the time of its saving in
    /// seconds since 1970, in place of what the state file says. Nothing is removed before the next save.
    pub fn set_last_checkpoints_with_time(&mut self, checkpoints: impl IntoIterator<Item = (PathBuf, f64)>) {
        let tracked = checkpoints.into_iter().map(|(prefix, time)| Tracked { prefix, time });
        self.tracked = Some(tracked.collect());
    }

    /// As [`set_last_checkpoints_with_time`](Self::set_last_checkpoints_with_time) with the times of their index files;
    /// those that are not there are left out. TensorFlow needs this call after a restart; this saver reads the state
    /// file itself.
    pub fn recover_last_checkpoints(&mut self, checkpoints: impl IntoIterator<Item = PathBuf>) {
        let tracked = self.with_times(checkpoints.into_iter());
        self.tracked = Some(tracked);
    }

    /// Makes the directory ready for saves: makes it, takes the lock, sweeps what dead writers left. The first save does
    /// so in any case; a run that calls this at its start fails at once and not at its first save.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process saves there, [`Error::InvalidArgument`] for a name that cannot be, and
    /// [`Error::Io`].
    pub fn prepare(&mut self) -> Result<()> {
        self.directory.enter()
    }

    /// Saves `variables` and `global_step` as checkpoint `BASENAME-STEP`. Variables lie in the order of their names; all
    /// cores write, as [`BundleWriter::add_all`](crate::BundleWriter::add_all), and no more than one deferred variable for
    /// each is in memory at a time.
    ///
    /// # Errors
    /// [`Error::DuplicateName`], also for a variable called `global_step`; [`Error::AlreadyExists`]; [`Error::Locked`];
    /// [`Error::NoSpace`]; [`Error::NotStored`]; [`Error::StateFile`]; as [`ObjectLayout::apply`](crate::objects::ObjectLayout::apply); otherwise as
    /// [`BundleWriter::add`](crate::BundleWriter::add) and [`BundleWriter::finish`](crate::BundleWriter::finish). After an
    /// error all earlier checkpoints are as they were.
    pub fn save<'a>(&mut self, variables: impl IntoIterator<Item = Variable<'a>>, global_step: i64) -> Result<Saved> {
        self.save_as(variables, global_step, BTreeMap::new())
    }

    fn save_as<'a>(
        &mut self,
        variables: impl IntoIterator<Item = Variable<'a>>,
        global_step: i64,
        metrics: BTreeMap<String, f64>,
    ) -> Result<Saved> {
        let started = Instant::now();
        let variables = self.committer.arrange(variables, global_step, global_step)?;
        self.committer.meta_graph = self.write_meta_graph.then(|| self.meta_graph());
        self.directory.enter()?;
        let mut tracked = self.tracked()?;
        let name = numbered(&self.directory.basename, global_step, self.pad_step_number);
        let prefix = self.directory.prefix(&name);
        let has_rules = self.keeper.is_active(&self.directory, !metrics.is_empty());
        if has_rules {
            self.keeper.begin(&self.directory, &prefixes(&tracked));
        }
        // Whatever fails from here on, the state file knows best what is tracked.
        self.tracked = None;
        let may_replace = MayReplace {
            acknowledged: self.overwrite,
            // One that is not entered into the state file has no place among those that are.
            number: self.write_state.then_some(global_step),
        };
        replace::make_room(&self.directory, &mut tracked, &name, may_replace)?;
        let before = tracked.clone();
        let new = New {
            name: &name,
            global_step,
            metrics,
            has_rules,
        };
        let (written, doomed) = match self.commit(&mut tracked, new, variables) {
            Ok(committed) => committed,
            Err(error) => {
                replace::undo(&self.directory, before, &name);
                let listed = self.tracked().unwrap_or_default();
                self.keeper.look_again(&self.directory, &prefixes(&listed));
                return Err(error);
            }
        };
        self.tracked = Some(tracked);
        let mut saved = Saved {
            prefix,
            global_step,
            data_bytes: written.data_bytes,
            elapsed: Duration::ZERO,
            blocked: Duration::ZERO,
            removed: Vec::new(),
            removal_errors: Vec::new(),
        };
        saved.removal_errors.extend(doomed.history_error);
        let keeper = &mut self.keeper;
        replace::remove(&self.directory, &name, doomed.prefixes, &mut saved, |name| {
            keeper.removed(name)
        });
        saved.elapsed = started.elapsed();
        saved.blocked = saved.elapsed;
        Ok(saved)
    }

    /// What writes the graphs beside checkpoints, with the options that TensorFlow's saver would have.
    fn meta_graph(&self) -> MetaGraphWriter {
        #[expect(clippy::cast_possible_truncation, reason = "the graph has it as a float32")]
        let hours = self.hourly.hours() as f32;
        MetaGraphWriter {
            kind: self.variable_kind,
            max_to_keep: self.max_to_keep.unwrap_or(0),
            keep_checkpoint_every_n_hours: hours,
        }
    }

    /// Writes the checkpoint and makes it the latest. Gives what is too old then.
    fn commit(
        &mut self,
        tracked: &mut Vec<Tracked>,
        new: New<'_>,
        variables: Vec<Variable<'_>>,
    ) -> Result<(Written, Doomed)> {
        let written = self.committer.write(&self.directory.storage, new.name, variables)?;
        if !self.write_state {
            let [prefix, replaced] = [new.name, &replaced_name(new.name)].map(|name| self.directory.prefix(name));
            // What was listed stays so.
            if tracked.rename(&replaced, &prefix) {
                self.directory.write_state(tracked.state())?;
            }
            return Ok((written, Doomed::default()));
        }
        let mut hourly = self.hourly;
        let doomed = self.too_old(tracked, new, &mut hourly);
        self.directory.write_state(tracked.state())?;
        self.hourly = hourly;
        Ok((written, doomed))
    }

    /// Adds the new checkpoint to those that are tracked, and takes out those that are too old.
    fn too_old(&mut self, tracked: &mut Vec<Tracked>, new: New<'_>, hourly: &mut HourlyKeeper) -> Doomed {
        let (prefix, time) = (self.directory.prefix(new.name), self.clock.now());
        let replaced = self.directory.prefix(&replaced_name(new.name));
        let mut doomed = Doomed::default();
        tracked.retain(|checkpoint| checkpoint.prefix != replaced && checkpoint.prefix != prefix);
        tracked.push(Tracked {
            prefix: prefix.clone(),
            time,
        });
        let mut preserved = Vec::new();
        for checkpoint in tracked.drain(..surplus(tracked.len(), self.max_to_keep)) {
            match (hourly.keeps(checkpoint.time), new.has_rules) {
                (true, _) => preserved.push(checkpoint.prefix),
                (false, false) => doomed.prefixes.push(checkpoint.prefix),
                // The rules decide.
                (false, true) => {}
            }
        }
        if self.max_to_keep.is_none() {
            tracked.drain(..tracked.len() - 1);
        }
        if new.has_rules {
            let committed = Committed {
                prefix,
                global_step: new.global_step,
                time,
                metrics: new.metrics,
            };
            let (dropped, error) = self
                .keeper
                .enter(&self.directory, committed, &preserved, self.max_to_keep);
            tracked.retain(|checkpoint| !dropped.contains(&checkpoint.prefix));
            doomed.prefixes.extend(dropped);
            doomed.history_error = error;
        }
        doomed
    }

    /// The newest checkpoint of the directory, open; `None` if nothing was ever saved there. This is how a run
    /// decides between going on and starting. Without a state file it is the one of the highest step under the base name:
    /// a run whose state file was lost goes on, where TensorFlow's starts again. In a copy of a directory with absolute
    /// paths it is the copy's, as for [`Checkpoint::open`].
    ///
    /// # Errors
    /// [`Error::StateFile`], or [`Error::NoCheckpoint`] if the state file names files that are gone: starting again
    /// from nothing is then the caller's decision, not an accident.
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        let Some(state) = self.directory.state()? else {
            let newest = self.directory.newest()?;
            return newest.map(|name| self.open(&name)).transpose();
        };
        match self.directory.find(state.model_checkpoint_path.clone()) {
            Some(prefix) => match self.directory.name_of(&prefix) {
                Some(name) => self.open(name).map(Some),
                None => Checkpoint::open(prefix).map(Some),
            },
            // The error says what is near.
            None => Checkpoint::open(&self.directory.root).map(Some),
        }
    }

    fn open(&self, name: &str) -> Result<Checkpoint> {
        let (storage, limits) = (self.directory.storage.clone(), Limits::default());
        let bundle = match &self.committer.progress {
            Some(progress) => Bundle::open_watched(storage, name, &limits, progress.clone()),
            None => Bundle::open(storage, name, &limits),
        };
        Ok(bundle?.into())
    }

    /// The kept checkpoints: our own list, or that of the run before.
    fn tracked(&self) -> Result<Vec<Tracked>> {
        if let Some(tracked) = &self.tracked {
            return Ok(tracked.clone());
        }
        let Some(state) = self.directory.state()? else {
            return Ok(Vec::new());
        };
        let mut paths = state.all_model_checkpoint_paths;
        if paths.last() != Some(&state.model_checkpoint_path) {
            paths.push(state.model_checkpoint_path);
        }
        Ok(self.with_times(paths.into_iter()))
    }

    /// Those of these checkpoints that are there.
    fn with_times(&self, prefixes: impl Iterator<Item = PathBuf>) -> Vec<Tracked> {
        let found = prefixes.filter_map(|prefix| self.directory.find(prefix));
        let tracked = found.map(|prefix| Tracked {
            // One from elsewhere, or of a storage without times, is none to be kept for ever.
            time: self.directory.time_of(&prefix).unwrap_or(f64::NEG_INFINITY),
            prefix,
        });
        tracked.collect()
    }
}

impl Listed for Vec<Tracked> {
    fn prefixes(&self) -> Vec<PathBuf> {
        prefixes(self)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let mut named = false;
        for checkpoint in self.iter_mut().filter(|checkpoint| checkpoint.prefix == from) {
            checkpoint.prefix = to.to_owned();
            named = true;
        }
        named
    }

    fn state(&self) -> CheckpointState {
        CheckpointState::new(prefixes(self))
    }
}

fn prefixes(tracked: &[Tracked]) -> Vec<PathBuf> {
    tracked.iter().map(|checkpoint| checkpoint.prefix.clone()).collect()
}
