//! Saving checkpoint after checkpoint into one directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Checkpoint;
use super::clock::{Clock, SystemClock};
use super::commit::Committer;
use super::directory::{Directory, replaced_name};
use super::retention::{HourlyKeeper, numbered, step_of, surplus};
use super::state::CheckpointState;
use crate::bundle::{Bundle, Written};
use crate::error::{Error, Result};
use crate::io::{Durability, Storage};
use crate::limits::Limits;
use crate::meta::{MetaGraphWriter, VariableKind};
use crate::objects::ObjectLayout;
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
    /// Why old checkpoints could not be removed. The save itself succeeded.
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
            tracked: None,
        }
    }

    /// The name in front of `-STEP`. Default: `model.ckpt`.
    #[must_use]
    pub fn basename(mut self, basename: impl Into<String>) -> Self {
        self.directory.basename = basename.into();
        self
    }

    /// How many checkpoints to keep; 0 or `None` keeps all, and then the state file lists only the newest, as
    /// TensorFlow's does. Default: 5. A lower number than that of an earlier run takes effect with the next save.
    #[must_use]
    pub fn max_to_keep(mut self, count: impl Into<Option<usize>>) -> Self {
        self.max_to_keep = count.into().filter(|&count| count > 0);
        self
    }

    /// Besides the last few, keeps a checkpoint for ever from every so many hours of training, as
    /// `tf.compat.v1.train.Saver` does: one that is too old stays if it was saved later than the end of the current
    /// period, and the next period begins; the first one begins when this saver is made. Such a checkpoint is no longer
    /// in the state file. Default: 10,000, which is never.
    #[must_use]
    pub fn keep_checkpoint_every_n_hours(mut self, hours: f64) -> Self {
        self.hourly = HourlyKeeper::new(hours, self.clock.now());
        self
    }

    /// Whether the step in a name has at least eight digits, `model.ckpt-00000100`. Default: false.
    #[must_use]
    pub fn pad_step_number(mut self, pad: bool) -> Self {
        self.pad_step_number = pad;
        self
    }

    /// The name of the state file. Two savers with state files of their own can share a directory, if their base names
    /// differ. Default: `checkpoint`.
    #[must_use]
    pub fn latest_filename(mut self, name: impl Into<String>) -> Self {
        self.directory.state_file = name.into();
        self
    }

    /// Whether saves are entered into the state file. One that is not is never removed, nor found as the latest.
    /// Default: true.
    #[must_use]
    pub fn write_state(mut self, write: bool) -> Self {
        self.write_state = write;
        self
    }

    /// What a save waits for. Default: [`Durability::Synced`]; TensorFlow's is [`Durability::Buffered`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.directory.durability = durability;
        self.committer.durability = durability;
        self
    }

    /// Whether the state file holds paths relative to the directory. Default: true; TensorFlow's is false. In a
    /// directory that was given by a relative path they are relative in any case, as TensorFlow's.
    #[must_use]
    pub fn save_relative_paths(mut self, relative: bool) -> Self {
        self.directory.relative_paths = relative;
        self
    }

    /// Whether a committed checkpoint of the same step is replaced. Default: false. It stays the latest, under the name
    /// `MODEL-STEP.replaced`, until the new one is there, whatever happens in between.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Whether the directory is locked against a second writer, from the first save until this saver is dropped. The
    /// lock is the operating system's: it goes with the process, however that ends. Storages without locks are written
    /// to all the same. Default: true.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.directory.exclusive = exclusive;
        self
    }

    /// Whether each save is read back, from the device where the system can be asked for that, and compared with its
    /// checksums before it is acknowledged. Default: false. Takes about as long as reading the checkpoint.
    #[must_use]
    pub fn verify_after_save(mut self, verify: bool) -> Self {
        self.committer.verify = verify;
        self
    }

    /// The most bytes of one data file; see [`BundleWriter::with_max_shard_bytes`](crate::BundleWriter::with_max_shard_bytes).
    /// Default: no limit, and one file.
    #[must_use]
    pub fn max_shard_bytes(mut self, bytes: u64) -> Self {
        self.committer.max_shard_bytes = bytes;
        self
    }

    /// The most threads that write. Default: one for each core. Fewer leave cores to a training that goes on meanwhile.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.committer.threads = threads;
        self
    }

    /// Whether each save writes `PREFIX.meta`, the graph with which TensorFlow's `import_meta_graph` restores the
    /// checkpoint without any other code. Default: true.
    #[must_use]
    pub fn write_meta_graph(mut self, write: bool) -> Self {
        self.write_meta_graph = write;
        self
    }

    /// The kind of the variables in that graph. Default: [`VariableKind::Resource`].
    #[must_use]
    pub fn variable_kind(mut self, kind: VariableKind) -> Self {
        self.variable_kind = kind;
        self
    }

    /// Writes object-based checkpoints, which `tf.train.Checkpoint` restores into objects that are laid out so. The
    /// save counter is the step, as in the name. As TensorFlow, writes no `.meta` beside them. Default: none, and
    /// checkpoints are name-based.
    #[must_use]
    pub fn objects(mut self, layout: impl Into<Option<ObjectLayout>>) -> Self {
        self.committer.objects = layout.into();
        self
    }

    /// What tells the time. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self.hourly = HourlyKeeper::new(self.hourly.hours(), self.clock.now());
        self
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
    /// [`Error::NoSpace`]; [`Error::NotStored`]; [`Error::StateFile`]; as [`ObjectLayout::apply`]; otherwise as
    /// [`BundleWriter::add`](crate::BundleWriter::add) and [`BundleWriter::finish`](crate::BundleWriter::finish). After an
    /// error all earlier checkpoints are as they were.
    pub fn save<'a>(&mut self, variables: impl IntoIterator<Item = Variable<'a>>, global_step: i64) -> Result<Saved> {
        let started = Instant::now();
        let variables = self.committer.arrange(variables, global_step, global_step)?;
        self.committer.meta_graph = self.write_meta_graph.then_some(MetaGraphWriter {
            kind: self.variable_kind,
            max_to_keep: self.max_to_keep.unwrap_or(0),
            keep_checkpoint_every_n_hours: self.hourly.hours() as f32,
        });
        self.directory.enter()?;
        let mut tracked = self.tracked()?;
        let name = numbered(&self.directory.basename, global_step, self.pad_step_number);
        let prefix = self.directory.prefix(&name);
        // Whatever fails from here on, the state file knows best what is tracked.
        self.tracked = None;
        self.make_room(&mut tracked, &name, global_step)?;
        let committed = self.commit(&mut tracked, &name, variables);
        let (written, doomed) = match committed {
            Ok(committed) => committed,
            Err(error) => {
                self.put_back(&mut tracked, &name);
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
        self.remove(doomed, &mut saved);
        saved.elapsed = started.elapsed();
        saved.blocked = saved.elapsed;
        Ok(saved)
    }

    /// Writes the checkpoint and makes it the latest. Gives what is too old then.
    fn commit(
        &mut self,
        tracked: &mut Vec<Tracked>,
        name: &str,
        variables: Vec<Variable<'_>>,
    ) -> Result<(Written, Vec<PathBuf>)> {
        let written = self.committer.write(&self.directory.storage, name, variables)?;
        if !self.write_state {
            return Ok((written, Vec::new()));
        }
        let prefix = self.directory.prefix(name);
        let mut hourly = self.hourly;
        let doomed = self.too_old(tracked, &prefix, &mut hourly);
        if let Err(error) = self.write_tracked(tracked) {
            // Unless the state file names it all the same: then it is the latest, and its files are needed.
            let state = self.directory.state();
            if state.is_ok_and(|state| state.is_none_or(|state| state.model_checkpoint_path != prefix)) {
                let _ = self.directory.remove(name);
            }
            return Err(error);
        }
        self.hourly = hourly;
        Ok((written, doomed))
    }

    /// Adds the new checkpoint to those that are tracked, and takes out those that are too old.
    fn too_old(&self, tracked: &mut Vec<Tracked>, prefix: &Path, hourly: &mut HourlyKeeper) -> Vec<PathBuf> {
        let replaced = replaced_prefix(prefix);
        let mut doomed: Vec<PathBuf> = Vec::new();
        tracked.retain(|checkpoint| {
            let replaced = checkpoint.prefix == replaced;
            doomed.extend(replaced.then(|| checkpoint.prefix.clone()));
            !replaced && checkpoint.prefix != prefix
        });
        tracked.push(Tracked {
            prefix: prefix.to_owned(),
            time: self.clock.now(),
        });
        for checkpoint in tracked.drain(..surplus(tracked.len(), self.max_to_keep)) {
            if !hourly.keeps(checkpoint.time) {
                doomed.push(checkpoint.prefix);
            }
        }
        if self.max_to_keep.is_none() {
            tracked.drain(..tracked.len() - 1);
        }
        doomed
    }

    /// Removes checkpoints that the state file does not name any more.
    fn remove(&self, doomed: Vec<PathBuf>, saved: &mut Saved) {
        for prefix in doomed {
            // A path from elsewhere, or of another base name, is forgotten and never touched.
            let Some(name) = self.directory.own_name(&prefix) else {
                continue;
            };
            match self.directory.remove(&name) {
                // That it had this name for a moment is nobody's business.
                Ok(()) if prefix == replaced_prefix(&saved.prefix) => {}
                Ok(()) => saved.removed.push(prefix),
                Err(error) => saved.removal_errors.push(error),
            }
        }
    }

    /// The newest checkpoint of the directory, open; `None` if nothing was ever saved there. This is how a run
    /// decides between going on and starting. Without a state file it is the one of the highest step under the base name:
    /// a run whose state file was lost goes on, where TensorFlow's starts again.
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
        let bundle = Bundle::open(self.directory.storage.clone(), name, &Limits::default());
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

    /// Sees to it that nothing committed is overwritten without leave, and that no reader finds new data under an
    /// old index.
    fn make_room(&self, tracked: &mut [Tracked], name: &str, step: i64) -> Result<()> {
        if !self.directory.has(name)? {
            return Ok(());
        }
        let prefix = self.directory.prefix(name);
        let step_in =
            |checkpoint: &Tracked| step_of(&self.directory.own_name(&checkpoint.prefix)?, &self.directory.basename);
        let newest = tracked.iter().filter_map(step_in).max();
        // Whole, but newer than all that the state file lists: its save was killed before it was acknowledged.
        if self.write_state && newest.is_some_and(|newest| step > newest) {
            return self.directory.remove(name);
        }
        if !self.overwrite {
            return Err(Error::AlreadyExists { prefix });
        }
        self.rename(tracked, name, &replaced_name(name))
    }

    /// After a save that failed: what was to be replaced has its name again. If not even that can be done, the state
    /// file names it as it is called now, and nothing is lost.
    fn put_back(&self, tracked: &mut [Tracked], name: &str) {
        let replaced = replaced_name(name);
        if self.directory.has(&replaced).unwrap_or(false) {
            let _ = self.rename(tracked, &replaced, name);
        }
    }

    /// Renames a checkpoint, in the state file, too.
    fn rename(&self, tracked: &mut [Tracked], name: &str, to: &str) -> Result<()> {
        if let Err(error) = self.directory.rename(name, to) {
            // What was made of it; the checkpoint itself is as it was.
            let _ = self.directory.remove(to);
            return Err(error);
        }
        let (from, to) = (self.directory.prefix(name), self.directory.prefix(to));
        let mut renamed = false;
        for checkpoint in tracked.iter_mut().filter(|checkpoint| checkpoint.prefix == from) {
            checkpoint.prefix.clone_from(&to);
            renamed = true;
        }
        if renamed {
            self.write_tracked(tracked)?;
        }
        self.directory.remove(name)
    }

    fn write_tracked(&self, tracked: &[Tracked]) -> Result<()> {
        let paths = tracked.iter().map(|checkpoint| checkpoint.prefix.clone());
        self.directory.write_state(CheckpointState::new(paths.collect()))
    }
}

/// What a checkpoint is called while another takes its place.
fn replaced_prefix(prefix: &Path) -> PathBuf {
    let name = prefix.file_name().map(|name| name.to_string_lossy().into_owned());
    prefix.with_file_name(replaced_name(&name.unwrap_or_default()))
}
