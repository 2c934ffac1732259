//! One look at a directory: is there a checkpoint that was not there before?

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Checkpoint;
use super::check::Check;
use super::open::{open_prefix, with_suffix};
use super::state::CheckpointState;
use super::valid::{canonical, here, open_whole};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// What was seen of a directory so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The checkpoints that were given, each with the contents of its index, which has the checksums of all variables: a
    /// checkpoint that was written again is another one, and a copy of it is not.
    given: HashMap<PathBuf, Contents>,
    /// The one that was looked at last and is not to be given, because it was before or is not whole.
    last: Option<(PathBuf, Stamp)>,
    /// Why there is no new one, if there should be.
    pub(super) problem: Option<Error>,
}

/// A hash of the index; `None` for one that is taken for the same whatever is in it.
type Contents = Option<u64>;

/// Files that have not changed, without reading them.
type Stamp = Vec<Option<(u64, SystemTime)>>;

impl Seen {
    /// Takes the checkpoint of this prefix for one that was given, whatever is in it.
    pub(super) fn add(&mut self, prefix: &Path) {
        self.given.insert(canonical(prefix), None);
    }

    /// The newest checkpoint of the state file, if it is whole and was not given before.
    ///
    /// # Errors
    /// What waiting does not change: the directory is none, or may not be read, or the state file cannot have this name.
    pub(super) fn look(&mut self, directory: &Path, state_file: &str, check: Check) -> Result<Option<Checkpoint>> {
        let state = match CheckpointState::of(directory, state_file) {
            Err(error) if is_lasting(&error) => return Err(error),
            // It is being written, by somebody who does not write a new one and rename it.
            Err(error) => return Ok(self.not_now(error)),
            Ok(None) => {
                self.problem = None;
                return Ok(None);
            }
            Ok(Some(state)) => state,
        };
        let prefix = here(directory, &state.model_checkpoint_path);
        let before = self.last.take();
        if let Some((last, stamp)) = before
            && last == prefix
            && stamp == self::stamp(&prefix, stamp.len())
        {
            self.last = Some((last, stamp));
            return Ok(None);
        }
        self.problem = None;
        let (key, contents) = (canonical(&prefix), contents(&prefix));
        let known = self.given.get(&key);
        if known.is_some_and(|known| known.is_none() || *known == contents) {
            self.last = Some((prefix.clone(), stamp(&prefix, 1)));
            return Ok(None);
        }
        match open_whole(&prefix, check, &Limits::default()) {
            Ok(checkpoint) => {
                self.given.insert(key, contents);
                Ok(Some(checkpoint))
            }
            Err(error) if is_lasting(&error) => Err(error),
            Err(error) => {
                // What is missing may come at any time; what is there and wrong is not read again and again.
                if check == Check::Bytes
                    && let Ok(checkpoint) = open_prefix(&prefix, &Limits::default())
                    && checkpoint.check(Check::Lengths).is_ok()
                {
                    let files = 1 + checkpoint.num_shards() as usize;
                    self.last = Some((prefix.clone(), stamp(&prefix, files)));
                }
                Ok(self.not_now(error))
            }
        }
    }

    fn not_now(&mut self, error: Error) -> Option<Checkpoint> {
        self.problem = Some(error);
        None
    }
}

/// Whether waiting does not help.
fn is_lasting(error: &Error) -> bool {
    let lasting = [
        ErrorKind::PermissionDenied,
        ErrorKind::NotADirectory,
        ErrorKind::IsADirectory,
    ];
    match error {
        Error::Io { source, .. } => lasting.contains(&source.kind()),
        // The name of the state file cannot be one.
        error => matches!(error, Error::InvalidArgument { .. }),
    }
}

fn contents(prefix: &Path) -> Contents {
    // The V1 format has no index, and its files are as large as what is in them.
    let index = fs::read(with_suffix(prefix, ".index")).ok()?;
    let mut hasher = DefaultHasher::new();
    index.hash(&mut hasher);
    Some(hasher.finish())
}

/// Length and time of the index and of data files, so many files together.
fn stamp(prefix: &Path, files: usize) -> Stamp {
    let of = |path: PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    let num_shards = files.saturating_sub(1);
    let shards = (0..num_shards).map(|shard| with_suffix(prefix, &format!(".data-{shard:05}-of-{num_shards:05}")));
    std::iter::once(with_suffix(prefix, ".index"))
        .chain(shards)
        .map(of)
        .collect()
}
