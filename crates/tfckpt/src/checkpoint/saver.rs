//! Saving checkpoint after checkpoint into one directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::retention::{remove_checkpoint, step_of, surplus};
use super::state::{CheckpointState, STATE_FILE, checkpoint_state};
use super::{Checkpoint, GLOBAL_STEP};
use crate::bundle::{BundleWriter, index_name};
use crate::error::{Error, Result};
use crate::io::{Durability, LocalDir, Storage, write_file};
use crate::limits::Limits;
use crate::meta::{GraphSpec, MetaGraphWriter, VariableKind, meta_name};
use crate::objects::ObjectLayout;
use crate::tensor::Variable;

/// Saves checkpoints into a directory and keeps the last few, as `tf.compat.v1.train.Saver` does.
///
/// Each save is a commit: data files, graph, index, state file, then the removal of what is too old. Killed at any moment,
/// it leaves the checkpoint before as the latest, whole. The list of kept checkpoints is read back from the state
/// file, so that it survives restarts.
///
/// Two differences from TensorFlow, both for safety: paths in the state file are relative unless asked otherwise, so
/// that the directory can be moved; and a committed checkpoint is never overwritten unless asked.
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
    directory: PathBuf,
    basename: String,
    max_to_keep: Option<usize>,
    durability: Durability,
    relative_paths: bool,
    overwrite: bool,
    max_shard_bytes: u64,
    threads: usize,
    write_meta_graph: bool,
    variable_kind: VariableKind,
    objects: Option<ObjectLayout>,
    /// Names of the kept checkpoints, oldest first; `None` until the state file was read.
    tracked: Option<Vec<PathBuf>>,
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
    /// The prefixes of the checkpoints that were too old and are gone.
    pub removed: Vec<PathBuf>,
    /// Why old checkpoints could not be removed. The save itself succeeded.
    pub removal_errors: Vec<Error>,
}

/// TensorFlow's default: a checkpoint is kept forever after more than a year.
const KEEP_EVERY_N_HOURS: f32 = 10_000.0;

impl Saver {
    /// Saves into `directory`, which the first save makes if it is not there.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Saver {
            directory: directory.into(),
            basename: "model.ckpt".to_owned(),
            max_to_keep: Some(5),
            durability: Durability::default(),
            relative_paths: true,
            overwrite: false,
            max_shard_bytes: u64::MAX,
            threads: Limits::default().threads(),
            write_meta_graph: true,
            variable_kind: VariableKind::default(),
            objects: None,
            tracked: None,
        }
    }

    /// The name in front of `-STEP`. Default: `model.ckpt`.
    #[must_use]
    pub fn basename(mut self, basename: impl Into<String>) -> Self {
        self.basename = basename.into();
        self
    }

    /// How many checkpoints to keep; 0 or `None` keeps all, and then the state file lists only the newest, as
    /// TensorFlow's does. Default: 5. A lower number than that of an earlier run takes effect with the next save.
    #[must_use]
    pub fn max_to_keep(mut self, count: impl Into<Option<usize>>) -> Self {
        self.max_to_keep = count.into().filter(|&count| count > 0);
        self
    }

    /// What a save waits for. Default: [`Durability::Synced`]; TensorFlow's is [`Durability::Buffered`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether the state file holds paths relative to the directory. Default: true; TensorFlow's is false.
    #[must_use]
    pub fn save_relative_paths(mut self, relative: bool) -> Self {
        self.relative_paths = relative;
        self
    }

    /// Whether a committed checkpoint of the same step is replaced. Default: false. It is first removed as if it
    /// were too old, so that a kill in between leaves the one before as the latest.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// The most bytes of one data file; see [`BundleWriter::with_max_shard_bytes`]. Default: no limit, and one file.
    #[must_use]
    pub fn max_shard_bytes(mut self, bytes: u64) -> Self {
        self.max_shard_bytes = bytes;
        self
    }

    /// The most threads that write. Default: one for each core. Fewer leave cores to a training that goes on meanwhile.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
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
        self.objects = layout.into();
        self
    }

    /// Where it saves.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Saves `variables` and `global_step` as checkpoint `BASENAME-STEP`. Variables lie in the order of their names; all
    /// cores write, as [`BundleWriter::add_all`], and no more than one deferred variable for each is in memory at a time.
    ///
    /// # Errors
    /// [`Error::DuplicateName`], also for a variable called `global_step`; [`Error::AlreadyExists`];
    /// [`Error::StateFile`]; as [`ObjectLayout::apply`]; otherwise as [`BundleWriter::add`] and [`BundleWriter::finish`]. After an error all
    /// earlier checkpoints are as they were.
    pub fn save<'a>(&mut self, variables: impl IntoIterator<Item = Variable<'a>>, global_step: i64) -> Result<Saved> {
        self.check_basename()?;
        let mut variables: Vec<Variable<'a>> = variables.into_iter().collect();
        variables.push(Variable::scalar(GLOBAL_STEP, global_step));
        if let Some(layout) = &self.objects {
            variables = layout.clone().save_counter(global_step).apply(variables)?;
        }
        variables.sort_by(|a, b| a.key().cmp(b.key()));
        // Before a byte is written. Slices of one variable share its name.
        let twice = |[a, b]: &&[Variable<'_>; 2]| a.key() == b.key() && (a.part().is_none() || b.part().is_none());
        if let Some([twice, _]) = variables.array_windows().find(twice) {
            return Err(Error::DuplicateName {
                name: twice.name().into_owned(),
            });
        }

        let name = format!("{}-{global_step}", self.basename);
        let create = |error| Error::io("create", &self.directory, error);
        let storage = Arc::new(LocalDir::create(&self.directory).map_err(create)?);
        let mut tracked = self.tracked()?;
        self.make_room(storage.as_ref(), &mut tracked, &name, global_step)?;

        let mut writer = BundleWriter::create(storage.clone(), &name)?
            .with_durability(self.durability)
            .with_max_shard_bytes(self.max_shard_bytes)
            .with_threads(self.threads);
        let graph = (self.write_meta_graph && self.objects.is_none()).then(|| self.graph(&variables));
        writer.add_all(variables)?;
        // The index comes last: with it, everything is there.
        if let Some(graph) = graph {
            self.write_file(storage.as_ref(), &meta_name(&name), &graph)?;
        }
        let written = writer.finish()?;

        tracked.push(self.directory.join(&name));
        let doomed: Vec<PathBuf> = tracked.drain(..surplus(tracked.len(), self.max_to_keep)).collect();
        if self.max_to_keep.is_none() {
            tracked.drain(..tracked.len() - 1);
        }
        self.write_state(storage.as_ref(), &tracked)?;
        self.tracked = Some(tracked);

        let mut saved = Saved {
            prefix: written.prefix,
            global_step,
            data_bytes: written.data_bytes,
            removed: Vec::new(),
            removal_errors: Vec::new(),
        };
        for prefix in doomed {
            // A path from elsewhere, or of another base name, is forgotten and never touched.
            let Some(name) = self.own_name(&prefix) else { continue };
            match remove_checkpoint(storage.as_ref(), &name) {
                Ok(()) => saved.removed.push(prefix),
                Err(error) => saved.removal_errors.push(error),
            }
        }
        Ok(saved)
    }

    /// The graph of a checkpoint of these variables.
    fn graph(&self, variables: &[Variable<'_>]) -> Vec<u8> {
        let specs = variables.iter().map(|variable| GraphSpec::of(variable, GLOBAL_STEP));
        let writer = MetaGraphWriter {
            kind: self.variable_kind,
            max_to_keep: self.max_to_keep.unwrap_or(0),
            keep_checkpoint_every_n_hours: KEEP_EVERY_N_HOURS,
        };
        writer.to_bytes(&specs.collect::<Vec<_>>())
    }

    /// The newest checkpoint of the directory, open; `None` if nothing was ever saved there. This is how a run
    /// decides between going on and starting.
    ///
    /// # Errors
    /// [`Error::StateFile`], or [`Error::NoCheckpoint`] if the state file names files that are gone: starting again
    /// from nothing is then the caller's decision, not an accident.
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        match checkpoint_state(&self.directory)? {
            Some(_) => Checkpoint::open(&self.directory).map(Some),
            None => Ok(None),
        }
    }

    fn check_basename(&self) -> Result<()> {
        let plain = !self.basename.is_empty() && !self.basename.contains(['/', '\\', '\0']);
        if !plain || self.basename == STATE_FILE {
            return Err(Error::invalid(format!(
                "`{}` cannot be the base name of checkpoints",
                self.basename
            )));
        }
        Ok(())
    }

    /// The kept checkpoints: our own list, or that of the run before.
    fn tracked(&mut self) -> Result<Vec<PathBuf>> {
        if let Some(tracked) = &self.tracked {
            return Ok(tracked.clone());
        }
        let Some(state) = checkpoint_state(&self.directory)? else {
            return Ok(Vec::new());
        };
        let mut paths = state.all_model_checkpoint_paths;
        if paths.last() != Some(&state.model_checkpoint_path) {
            paths.push(state.model_checkpoint_path);
        }
        // A directory that was moved brings absolute paths of its old place.
        let here = |path: PathBuf| match path.file_name().map(|name| self.directory.join(name)) {
            Some(moved) if !has_index(&path) && has_index(&moved) => moved,
            _ => path,
        };
        Ok(paths.into_iter().map(here).filter(|path| has_index(path)).collect())
    }

    /// Sees to it that nothing committed is overwritten without leave, and that no reader finds new data under an
    /// old index.
    fn make_room(&self, storage: &LocalDir, tracked: &mut Vec<PathBuf>, name: &str, step: i64) -> Result<()> {
        let prefix = self.directory.join(name);
        if !storage
            .exists(&index_name(name))
            .map_err(|error| Error::io("look for", &prefix, error))?
        {
            return Ok(());
        }
        let newest = tracked
            .iter()
            .filter_map(|path| step_of(&self.own_name(path)?, &self.basename))
            .max();
        // Whole, but newer than all that the state file lists: its save was killed before it was acknowledged.
        let unacknowledged = newest.is_none_or(|newest| step > newest);
        if !unacknowledged && !self.overwrite {
            return Err(Error::AlreadyExists { prefix });
        }
        let before = tracked.len();
        tracked.retain(|path| *path != prefix);
        if tracked.len() < before {
            match tracked.is_empty() {
                true => storage
                    .remove(STATE_FILE)
                    .map_err(|error| Error::io("remove", storage.path(STATE_FILE), error))?,
                false => self.write_state(storage, tracked)?,
            }
        }
        remove_checkpoint(storage, name)
    }

    /// The name of a checkpoint that this saver may remove: in its directory, with its base name and a step.
    fn own_name(&self, prefix: &Path) -> Option<String> {
        let name = prefix.file_name()?.to_str()?;
        (prefix == self.directory.join(name) && step_of(name, &self.basename).is_some()).then(|| name.to_owned())
    }

    /// Writes a file that appears whole.
    fn write_file(&self, storage: &LocalDir, name: &str, bytes: &[u8]) -> Result<()> {
        write_file(storage, name, bytes, self.durability).map_err(|error| Error::io("write", storage.path(name), error))
    }

    fn write_state(&self, storage: &LocalDir, tracked: &[PathBuf]) -> Result<()> {
        let fails = |action, error| Error::io(action, storage.path(STATE_FILE), error);
        let absolute = std::path::absolute(&self.directory).map_err(|error| fails("resolve", error))?;
        let stored = |path: &PathBuf| match path.strip_prefix(&self.directory) {
            Ok(name) if self.relative_paths => name.to_owned(),
            Ok(name) => absolute.join(name),
            Err(_) => path.clone(),
        };
        let text = CheckpointState::new(tracked.iter().map(stored).collect()).to_text()?;
        self.write_file(storage, STATE_FILE, text.as_bytes())?;
        match self.durability {
            Durability::Synced => storage.sync().map_err(|error| fails("sync", error)),
            Durability::Buffered => Ok(()),
        }
    }
}

fn has_index(prefix: &Path) -> bool {
    super::open::with_suffix(prefix, ".index").is_file()
}
