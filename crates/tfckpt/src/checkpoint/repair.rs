//! Putting a directory of checkpoints right.

mod known;
mod looked_at;
mod new_state;
mod old_state;

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use self::known::Known;
use self::looked_at::LookedAt;
use self::new_state::Run;
use self::old_state::OldState;
use super::check::Check;
use super::directory::Directory;
use super::listing::seconds;
use super::repaired::{Broken, Fate, Repaired, StateFile};
use super::state::{CheckpointState, STATE_FILE, check_state_file};
use super::valid::{newest_run, run_of_entries};
use crate::error::{Error, ErrorKind, Result};
use crate::io::{Durability, LocalDir, Lock, Storage, write_file};

/// Puts the directory of a run right, after a crash, a full disk, or a copy that broke off:
/// - The state file lists checkpoints that are whole and in `directory` alone, the newest last, by relative paths.
///   Timestamps of the ones that were listed before stay. What was committed after the newest of them, and never
///   acknowledged, is added. Older ones that were not listed are not: they may have been kept on purpose, and savers
///   remove what is listed. Without a state file that can be read, all that are whole are listed, but for those that the
///   history keeps for reasons of their own: that are pinned, were set aside, or are the best by a metric. Only the
///   newest, in the order of their saves, is listed even so.
/// - The history is not changed, so that no pin, no metric and no best value is lost; the report says what it keeps.
/// - What dead writers left is removed. (TensorFlow's `.tempstate` files are not: nobody can tell whether their writer
///   lives.)
/// - Checkpoints that are not whole, and data files without an index, are reported, and left where they are.
///
/// If none is whole, the state file is left as it is. Other runs' checkpoints, under other base names, are looked at, and
/// never become the newest, nor are they added; which run is meant is decided as by
/// [`latest_valid`](crate::latest_valid). No path in the state file and no symbolic link leads this out of the directory.
/// Our savers are kept out meanwhile; others, which take no lock, must not save into it.
///
/// TensorFlow has nothing like it.
///
/// # Errors
/// [`Error::NoCheckpoint`] if there is no such directory; [`Error::Locked`] if a training saves into it; [`Error::Io`] if it cannot be listed or the state file not be
/// written. What is wrong with checkpoints is no error, but in the report.
pub fn repair(directory: impl Into<PathBuf>) -> Result<Repaired> {
    Repair::new(directory).run()
}

/// The options of [`repair`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let run = dir.path();
/// # tfckpt::Saver::new(run).save([tfckpt::Variable::scalar("v", 1f32)], 100)?;
/// let report = tfckpt::Repair::new(run).dry_run(true).run()?;
/// println!("{report}");
/// assert!(report.is_sound());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Repair {
    directory: PathBuf,
    dry_run: bool,
    delete_broken: bool,
    check: Check,
    basename: Option<String>,
    state_file: String,
}

/// A checkpoint younger than this may be one that is still being written, by a program that takes no lock, as TensorFlow
/// and what copies files. In seconds.
const SETTLED: f64 = 60.0;

impl Repair {
    /// Repairs `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Repair {
            directory: directory.into(),
            dry_run: false,
            delete_broken: false,
            check: Check::default(),
            basename: None,
            state_file: STATE_FILE.to_owned(),
        }
    }

    /// Whether nothing is changed, and the report says what would be, but for what dead writers left. Default: false.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Whether checkpoints of the V2 format that are damaged, and data files of a run of this directory that have no
    /// index, are deleted. Never deleted are those that could not be read for other reasons, as a limit, those with a
    /// file that is a symbolic link, those of which a file changed in the last minute, and pinned ones. Default: false.
    #[must_use]
    pub fn delete_broken(mut self, delete: bool) -> Self {
        self.delete_broken = delete;
        self
    }

    /// How closely checkpoints are looked at. Default: [`Check::Bytes`], which reads all that is in the directory.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// The run whose checkpoints the state file is to list, and no others. Default: that of the newest checkpoint, as
    /// [`ValidSearch::basename`](crate::ValidSearch::basename), and those of others that it lists stay.
    #[must_use]
    pub fn basename(mut self, basename: impl Into<String>) -> Self {
        self.basename = Some(basename.into());
        self
    }

    /// The name of the state file, that of [`Saver::latest_filename`](crate::Saver::latest_filename), whose savers are
    /// kept out. Default: `checkpoint`.
    #[must_use]
    pub fn latest_filename(mut self, name: impl Into<String>) -> Self {
        self.state_file = name.into();
        self
    }

    /// Does it.
    ///
    /// # Errors
    /// As [`repair`], and [`Error::InvalidArgument`] for a name of the state file that cannot be.
    pub fn run(&self) -> Result<Repaired> {
        check_state_file(&self.state_file)?;
        if !self.directory.is_dir() && !self.directory.as_os_str().is_empty() {
            return Err(Error::NoCheckpoint {
                path: self.directory.clone(),
                reason: "there is no such directory".to_owned(),
                candidates: Vec::new(),
            });
        }
        let storage = LocalDir::new(&self.directory);
        let _lock = match self.dry_run {
            true => None,
            false => self.lock()?,
        };
        let leftovers = match self.dry_run {
            true => Vec::new(),
            // What cannot be cleaned up is in nobody's way.
            false => storage.remove_leftovers().unwrap_or_default(),
        };
        let old = OldState::read(&self.directory, &self.state_file);
        let looked_at = LookedAt::new(&self.directory, self.check)?;
        let entries = old.entries();
        let entries: Vec<PathBuf> = entries
            .iter()
            .rev()
            .map(|(path, _)| self.directory.join(path))
            .collect();
        let basename = self.basename.clone();
        let basename = basename.or_else(|| run_of_entries(&self.directory, &entries));
        let basename = basename.or_else(|| newest_run(&looked_at.all()));
        let run = Run {
            basename: basename.unwrap_or_default(),
            alone: self.basename.is_some(),
        };
        let known = Known::of(&storage, &self.state_file, &run.basename, &looked_at);
        let (new, dropped) = looked_at.new_state(&old, &run, &known);
        let state = self.write_state(&storage, old.state, new)?;
        let broken = self.broken(&storage, looked_at, &known);
        Ok(Repaired {
            directory: self.directory.clone(),
            dry_run: self.dry_run,
            state,
            state_error: old.fault,
            dropped,
            kept: known.kept(),
            broken,
            leftovers,
        })
    }

    /// Keeps out those who save with the same state file.
    fn lock(&self) -> Result<Option<Box<dyn Lock>>> {
        let mut directory = Directory::local(self.directory.clone(), "");
        directory.state_file.clone_from(&self.state_file);
        directory.take_lock()
    }

    fn write_state(
        &self,
        storage: &LocalDir,
        old: Option<CheckpointState>,
        new: Option<CheckpointState>,
    ) -> Result<StateFile> {
        let Some(new) = new else {
            let there = fs::symlink_metadata(storage.path(&self.state_file)).is_ok();
            return Ok(if there {
                StateFile::NothingToList
            } else {
                StateFile::Absent
            });
        };
        let listed = new.all_model_checkpoint_paths.clone();
        if old.is_some_and(|old| old == new) {
            return Ok(StateFile::Right { listed });
        }
        if !self.dry_run {
            let fails = |error| Error::io("write", storage.path(&self.state_file), error);
            let text = new.to_text()?;
            write_file(storage, &self.state_file, text.as_bytes(), Durability::Synced).map_err(fails)?;
            storage.sync().map_err(fails)?;
        }
        Ok(StateFile::Written { listed })
    }

    /// What is to be told of those that are not whole. The state file names none of them any more.
    fn broken(&self, storage: &LocalDir, looked_at: LookedAt, known: &Known) -> Vec<Broken> {
        let runs: Vec<String> = looked_at.basenames();
        let now = seconds(SystemTime::now());
        let broken = looked_at.broken.into_iter().map(|(found, error)| {
            let damaged = error.kind() == ErrorKind::Corrupt && !found.v1;
            // Data files of something else may be named so.
            let orphaned = error.kind() == ErrorKind::NotFound && runs.iter().any(|run| run == found.basename());
            let fate = match () {
                () if !damaged && !orphaned => Fate::NotSure,
                () if found.linked => Fate::Linked,
                () if known.is_pinned(&found.name) => Fate::Pinned,
                () if now - found.changed < SETTLED => Fate::New,
                () if !self.delete_broken => Fate::Left,
                () if self.dry_run => Fate::Deleted,
                () => delete(storage, &found.files),
            };
            Broken {
                prefix: self.directory.join(&found.name),
                files: found.files,
                bytes: found.bytes,
                error,
                fate,
            }
        });
        broken.collect()
    }
}

/// Deletes the files, in this order.
fn delete(storage: &LocalDir, files: &[String]) -> Fate {
    for name in files {
        if let Err(error) = storage.remove(name) {
            return Fate::Failed(Error::io("remove", storage.path(name), error));
        }
    }
    Fate::Deleted
}
