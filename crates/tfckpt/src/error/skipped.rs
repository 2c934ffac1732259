//! What was passed over on the search for a checkpoint that is whole.

use std::fmt;
use std::path::PathBuf;

use super::{Error, ErrorKind};

/// A checkpoint that is not whole, or a state file that cannot be read, and was passed over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Skipped {
    /// The prefix of the checkpoint, or the path of the state file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: Error,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            // It begins with the path.
            Error::NoCheckpoint { reason, .. } => write!(f, "`{}`: {reason}", self.path.display()),
            error => write!(f, "`{}`: {error}", self.path.display()),
        }?;
        match &self.error {
            Error::Io { source, .. } => write!(f, ": {source}"),
            _ => Ok(()),
        }
    }
}

/// The first few.
pub(super) struct List<'a>(pub(super) &'a [Skipped]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (number, skipped) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{skipped}", if number > 0 { "; " } else { "" })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Whose fault it is that none is whole. Something that is damaged outweighs what is gone.
pub(super) fn kind(skipped: &[Skipped]) -> ErrorKind {
    let kinds = || skipped.iter().map(|skipped| skipped.error.kind());
    if kinds().any(|kind| kind == ErrorKind::Corrupt) {
        return ErrorKind::Corrupt;
    }
    kinds()
        .find(|kind| *kind != ErrorKind::NotFound)
        .unwrap_or(ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(name: &str) -> Skipped {
        let error = Error::NoCheckpoint {
            path: name.into(),
            reason: "its files are gone".to_owned(),
            candidates: Vec::new(),
        };
        Skipped {
            path: name.into(),
            error,
        }
    }

    #[test]
    fn the_first_few_are_told_and_the_others_counted() {
        let skipped: Vec<_> = ["a", "b", "c", "d", "e"].map(gone).into();
        let told = "`a`: its files are gone; `b`: its files are gone; `c`: its files are gone; and 2 more";
        assert_eq!(List(&skipped).to_string(), told);
        assert_eq!(kind(&skipped), ErrorKind::NotFound);
    }
}
