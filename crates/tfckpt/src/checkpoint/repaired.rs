//! What a repair found and did.

use std::fmt;
use std::path::PathBuf;

use super::policy::{Goal, Reason, rounded};
use crate::error::{Error, Skipped};

/// What [`repair`](crate::repair) found and did, or in a dry run would do. `Display` tells it, a line for each thing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repaired {
    /// The directory.
    pub directory: PathBuf,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What became of the state file.
    pub state: StateFile,
    /// Why the state file could not be read.
    pub state_error: Option<Error>,
    /// What the state file listed although it is not whole, or not in the directory, by the paths that stood there.
    pub dropped: Vec<Skipped>,
    /// Whole checkpoints that the history keeps for reasons of their own, oldest first. They stay, and the state file lists
    /// no more of them than before, except for the newest checkpoint.
    pub kept: Vec<Kept>,
    /// Checkpoints that are not whole, and data files without an index.
    pub broken: Vec<Broken>,
    /// Files of dead writers, which were removed.
    pub leftovers: Vec<String>,
}

/// What became of the state file. Checkpoints are named within the directory, the newest last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateFile {
    /// It was right.
    Right {
        /// The checkpoints that it lists.
        listed: Vec<PathBuf>,
    },
    /// It was made or corrected.
    Written {
        /// The checkpoints that it lists.
        listed: Vec<PathBuf>,
    },
    /// No checkpoint is whole, and it was left as it is.
    NothingToList,
    /// There is none, and no checkpoint.
    Absent,
}

/// A whole checkpoint that the history keeps, and not as one of the latest.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Kept {
    /// Its name within the directory.
    pub name: String,
    /// Why: it is pinned, was set aside, or has the smallest or largest value of a metric. Whether small or large ones are
    /// good is not known.
    pub reasons: Vec<Reason>,
}

/// A checkpoint that is not whole, or data files without an index.
#[derive(Debug)]
#[non_exhaustive]
pub struct Broken {
    /// The prefix.
    pub prefix: PathBuf,
    /// The names of its files.
    pub files: Vec<String>,
    /// The bytes of all of them.
    pub bytes: u64,
    /// What is wrong; [`Error::NoCheckpoint`] if there is no index.
    pub error: Error,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a broken checkpoint.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fate {
    /// Left where it is, because nobody asked to delete it.
    Left,
    /// Left, because one of its files changed in the last minute: it may be on its way.
    New,
    /// Left, because one of its files is a symbolic link.
    Linked,
    /// Left, because it is pinned.
    Pinned,
    /// Left, because it may be whole for another reader, or be no checkpoint at all.
    NotSure,
    /// Deleted, or in a dry run to be deleted.
    Deleted,
    /// Not deleted, though it should have been.
    Failed(Error),
}

impl Repaired {
    /// Whether all was well already: the state file right, nothing broken, nothing left by dead writers.
    pub fn is_sound(&self) -> bool {
        let right = matches!(self.state, StateFile::Right { .. } | StateFile::Absent);
        right && self.broken.is_empty() && self.leftovers.is_empty()
    }

    /// Whether, after the repair, a checkpoint can be restored, or there never was one.
    pub fn has_checkpoint(&self) -> bool {
        matches!(self.state, StateFile::Right { .. } | StateFile::Written { .. })
    }

    /// Those that are still there.
    pub fn still_broken(&self) -> impl Iterator<Item = &Broken> {
        self.broken
            .iter()
            .filter(|broken| !matches!(broken.fate, Fate::Deleted))
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.display();
        let listed = |listed: &[PathBuf]| {
            let newest = listed
                .last()
                .map(|newest| newest.display().to_string())
                .unwrap_or_default();
            format!("{}, the newest `{newest}`", count(listed.len(), "checkpoint"))
        };
        match &self.state {
            StateFile::Right { listed: names } => write!(f, "{directory}: the state file is right: {}", listed(names)),
            StateFile::Written { listed: names } => {
                let written = if self.dry_run {
                    "would be written"
                } else {
                    "was written"
                };
                write!(f, "{directory}: the state file {written}: {}", listed(names))
            }
            StateFile::NothingToList => write!(
                f,
                "{directory}: no checkpoint is whole, and the state file was left as it is: restore one from a copy, or \
                 delete the state file to start again from nothing"
            ),
            StateFile::Absent => write!(f, "{directory}: there is no checkpoint"),
        }?;
        if let Some(error) = &self.state_error {
            write!(f, "\nnot readable: {}", with_cause(error))?;
        }
        for skipped in &self.dropped {
            write!(f, "\nlisted before: {skipped}")?;
        }
        for kept in &self.kept {
            let reasons: Vec<String> = kept.in_words().collect();
            write!(f, "\nkept: `{}`: {}", kept.name, reasons.join("; "))?;
        }
        for name in &self.leftovers {
            write!(f, "\nleft by a dead writer, removed: `{name}`")?;
        }
        self.broken
            .iter()
            .try_for_each(|broken| write!(f, "\n{}", broken.told(self.dry_run)))
    }
}

impl Kept {
    /// The reasons in words: `smallest val_loss (0.31)`, `pinned`.
    pub fn in_words(&self) -> impl Iterator<Item = String> {
        self.reasons.iter().map(|reason| match reason {
            Reason::Best {
                metric, goal, value, ..
            } => {
                let extreme = if *goal == Goal::Min { "smallest" } else { "largest" };
                format!("{extreme} {metric} ({})", rounded(*value))
            }
            reason => reason.to_string(),
        })
    }
}

impl Broken {
    /// What it is, and what to do with it.
    fn told(&self, dry_run: bool) -> String {
        let (files, bytes) = (count(self.files.len(), "file"), self.bytes);
        let what = match &self.error {
            Error::NoCheckpoint { reason, .. } => reason.clone(),
            error => with_cause(error),
        };
        let fate = match &self.fate {
            Fate::Left => "left there: restore it from a copy, or have it deleted (`delete_broken`)".to_owned(),
            Fate::New => {
                "left there: it changed in the last minute, and may be on its way; look again in a minute".to_owned()
            }
            Fate::Linked => "left there: one of its files is a symbolic link".to_owned(),
            Fate::Pinned => "left there: it is pinned; restore it from a copy".to_owned(),
            Fate::NotSure => "left there: it may be something else; look at it yourself".to_owned(),
            Fate::Deleted if dry_run => "would be deleted".to_owned(),
            Fate::Deleted => "deleted".to_owned(),
            Fate::Failed(error) => format!("not deleted: {}", with_cause(error)),
        };
        format!(
            "broken: `{}` ({files}, {bytes} bytes): {what}; {fate}",
            self.prefix.display()
        )
    }
}

fn with_cause(error: &Error) -> String {
    match error {
        Error::Io { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
