//! The newest checkpoint that is whole, in whatever state its directory is.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::Checkpoint;
use super::check::Check;
use super::listing::{Found, Listing, split_step};
use super::open::{checkpoint_exists, open_prefix};
use super::state::{CheckpointState, STATE_FILE, check_state_file, was_relative};
use crate::error::{Error, Result, Skipped};
use crate::io::check_name;
use crate::limits::Limits;

/// The newest checkpoint that is whole, and what was passed over on the way to it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Valid {
    /// The checkpoint, open.
    pub checkpoint: Checkpoint,
    /// Newer ones that are not whole, and the state file if it cannot be read, in the order in which they were tried.
    pub skipped: Vec<Skipped>,
}

/// The newest checkpoint of `directory` of which every byte is right; `None` if nothing was ever saved there.
///
/// Tried are, one after the other until one is whole: the newest of the state file; its others, newest first; then
/// those that lie in the directory and are not listed, because their save was not acknowledged, they are kept for other
/// reasons, or the state file is gone or damaged: by the number in their names, then by time. So it works in a directory
/// that was moved, copied or renamed. An absolute path in the state file means the checkpoint of that name in
/// `directory`, if there is one; a relative one what it says, if that is there.
///
/// Checkpoints of other base names are those of another run, and are not taken instead: the run is that of the newest in
/// the state file, or without one that of the newest checkpoint by time; see [`ValidSearch::basename`].
///
/// TensorFlow's `latest_checkpoint`, which [`latest_checkpoint`](crate::latest_checkpoint) answers as, does not look
/// into the files, does not fall back, and takes a damaged state file for an absent one.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let run = dir.path();
/// # for step in [100, 200] {
/// #     tfckpt::Saver::new(run).save([tfckpt::Variable::scalar("v", 1f32)], step)?;
/// # }
/// # std::fs::write(run.join("model.ckpt-200.data-00000-of-00001"), "")?;
/// let valid = tfckpt::latest_valid(run)?.ok_or("nothing was ever saved")?;
/// for skipped in &valid.skipped {
///     eprintln!("{skipped}"); // `run/model.ckpt-200`: … has 0 bytes, …: the file is truncated
/// }
/// assert_eq!(valid.checkpoint.prefix(), run.join("model.ckpt-100"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::NoValidCheckpoint`] if there are checkpoints, or a state file, and none is whole: starting again from
/// nothing is then the caller's decision, not an accident. [`Error::Io`] if the directory cannot be listed.
pub fn latest_valid(directory: impl Into<PathBuf>) -> Result<Option<Valid>> {
    ValidSearch::new(directory).latest_valid()
}

/// The options of [`latest_valid`].
#[derive(Debug, Clone)]
pub struct ValidSearch {
    directory: PathBuf,
    check: Check,
    basename: Option<String>,
    state_file: String,
    limits: Limits,
}

impl ValidSearch {
    /// Seeks in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        ValidSearch {
            directory: directory.into(),
            check: Check::default(),
            basename: None,
            state_file: STATE_FILE.to_owned(),
            limits: Limits::default(),
        }
    }

    /// How closely checkpoints are looked at. Default: [`Check::Bytes`].
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// The run whose checkpoints are meant, `model.ckpt` of `model.ckpt-100`: no others are taken, whatever the state
    /// file says. Default: that of the newest checkpoint.
    #[must_use]
    pub fn basename(mut self, basename: impl Into<String>) -> Self {
        self.basename = Some(basename.into());
        self
    }

    /// The name of the state file, that of [`Saver::latest_filename`](crate::Saver::latest_filename). Default:
    /// `checkpoint`.
    #[must_use]
    pub fn latest_filename(mut self, name: impl Into<String>) -> Self {
        self.state_file = name.into();
        self
    }

    /// The limits under which checkpoints are read.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// As [`latest_valid`].
    ///
    /// # Errors
    /// As [`latest_valid`], and [`Error::InvalidArgument`] for a name of the state file that cannot be.
    pub fn latest_valid(&self) -> Result<Option<Valid>> {
        let mut attempts = Attempts::default();
        check_state_file(&self.state_file)?;
        let state = CheckpointState::of(&self.directory, &self.state_file).unwrap_or_else(|error| {
            attempts.skip(self.directory.join(&self.state_file), error);
            None
        });
        let listed = state.as_ref().map(newest_first).unwrap_or_default();
        let run = self
            .basename
            .clone()
            .or_else(|| run_of_entries(&self.directory, &listed));
        for (number, path) in listed.iter().enumerate() {
            // What the state file calls the newest is taken wherever it is. Two savers may share a state file.
            let said = number == 0 && self.basename.is_none();
            if !said && basename_of(path) != run.as_deref() {
                continue;
            }
            if let Some(checkpoint) = attempts.open(here(&self.directory, path), self) {
                return Ok(Some(attempts.found(checkpoint)));
            }
        }
        // Only now: a directory of thousands of checkpoints need not be looked through for the newest.
        for found in self.unlisted(run)? {
            if let Some(checkpoint) = attempts.open(self.directory.join(&found.name), self) {
                return Ok(Some(attempts.found(checkpoint)));
            }
        }
        match attempts.skipped.is_empty() {
            true => Ok(None),
            false => Err(Error::NoValidCheckpoint {
                directory: self.directory.clone(),
                skipped: attempts.skipped,
            }),
        }
    }

    /// What lies in the directory under the base name of the run, newest first.
    fn unlisted(&self, run: Option<String>) -> Result<Vec<Found>> {
        let mut found = Listing::of(&self.directory)?.checkpoints;
        let run = run.or_else(|| newest_run(&found));
        found.retain(|found| Some(found.basename()) == run.as_deref());
        found.sort_by(|a, b| b.by_age(a));
        Ok(found)
    }
}

/// What was tried.
#[derive(Default)]
struct Attempts {
    prefixes: HashSet<PathBuf>,
    skipped: Vec<Skipped>,
}

impl Attempts {
    fn open(&mut self, prefix: PathBuf, search: &ValidSearch) -> Option<Checkpoint> {
        if !self.prefixes.insert(canonical(&prefix)) {
            return None;
        }
        match open_whole(&prefix, search.check, &search.limits) {
            Ok(checkpoint) => Some(checkpoint),
            Err(error) => {
                self.skip(prefix, error);
                None
            }
        }
    }

    fn skip(&mut self, path: PathBuf, error: Error) {
        self.skipped.push(Skipped { path, error });
    }

    fn found(self, checkpoint: Checkpoint) -> Valid {
        Valid {
            checkpoint,
            skipped: self.skipped,
        }
    }
}

/// The prefix in the one way in which it can be written, so that it can be compared.
pub(super) fn canonical(prefix: &Path) -> PathBuf {
    let parent = prefix.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new(".")).canonicalize();
    match (parent, prefix.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => prefix.to_owned(),
    }
}

/// Opens the checkpoint of this very prefix, if it is whole.
pub(super) fn open_whole(prefix: &Path, check: Check, limits: &Limits) -> Result<Checkpoint> {
    if !checkpoint_exists(prefix) {
        return Err(Error::NoCheckpoint {
            path: prefix.to_owned(),
            reason: "its files are gone".to_owned(),
            candidates: Vec::new(),
        });
    }
    let checkpoint = open_prefix(prefix, limits)?;
    checkpoint.check(check)?;
    Ok(checkpoint)
}

/// The prefix that an entry of the state file of `directory`, joined with it, means: the checkpoint of that name in
/// `directory` if the entry is absolute, because the directory may be a copy; or else what it says, and only if that is
/// not there the one of that name.
pub(super) fn here(directory: &Path, entry: &Path) -> PathBuf {
    let Some(name) = entry.file_name() else {
        return entry.to_owned();
    };
    let moved = directory.join(name);
    let said = || checkpoint_exists(entry);
    match moved != entry && !(was_relative(entry, directory) && said()) && checkpoint_exists(&moved) {
        true => moved,
        false => entry.to_owned(),
    }
}

/// The entries of a state file, newest first, each once.
fn newest_first(state: &CheckpointState) -> Vec<PathBuf> {
    let mut paths = vec![state.model_checkpoint_path.clone()];
    let others = state.all_model_checkpoint_paths.iter().rev();
    paths.extend(others.filter(|&path| *path != state.model_checkpoint_path).cloned());
    paths
}

/// The run of a state file with these entries, newest first: the base name of the first that means a place in the
/// directory, whether or not it is still there.
pub(super) fn run_of_entries(directory: &Path, entries: &[PathBuf]) -> Option<String> {
    let mut entries = entries.iter().map(|entry| here(directory, entry));
    let inside = entries.find(|entry| name_in(directory, entry).is_some())?;
    basename_of(&inside).map(str::to_owned)
}

/// The run of the newest by time.
pub(super) fn newest_run(found: &[Found]) -> Option<String> {
    let newest = found.iter().max_by(|a, b| a.time.total_cmp(&b.time).then(a.by_age(b)));
    newest.map(|newest| newest.basename().to_owned())
}

/// The name of a checkpoint within the directory, if that is where it lies.
pub(super) fn name_in<'p>(directory: &Path, prefix: &'p Path) -> Option<&'p str> {
    let name = prefix.file_name()?.to_str()?;
    let inside = check_name(name).is_ok() && canonical(prefix) == canonical(&directory.join(name));
    inside.then_some(name)
}

fn basename_of(prefix: &Path) -> Option<&str> {
    Some(split_step(prefix.file_name()?.to_str()?).0)
}
