//! All checkpoints of a directory, each read.

use std::path::{Path, PathBuf};

use crate::checkpoint::check::Check;
use crate::checkpoint::listing::{Found, Listing};
use crate::checkpoint::valid::open_whole;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;

/// All checkpoints of the directory, read.
pub(super) struct LookedAt {
    pub(super) directory: PathBuf,
    pub(super) whole: Vec<Found>,
    pub(super) broken: Vec<(Found, Error)>,
}

impl LookedAt {
    pub(super) fn new(directory: &Path, check: Check) -> Result<Self> {
        let listing = Listing::of(directory)?;
        let (mut whole, mut broken) = (Vec::new(), Vec::new());
        for found in listing.checkpoints {
            match open_whole(&directory.join(&found.name), check, &Limits::default()) {
                Ok(_) => whole.push(found),
                Err(error) => broken.push((found, error)),
            }
        }
        let orphans = listing.orphans.into_iter().map(|found| {
            let error = Error::NoCheckpoint {
                path: directory.join(&found.name),
                reason: "data files without an index".to_owned(),
                candidates: Vec::new(),
            };
            (found, error)
        });
        broken.extend(orphans);
        Ok(LookedAt {
            directory: directory.to_owned(),
            whole,
            broken,
        })
    }

    /// Those with an index.
    pub(super) fn all(&self) -> Vec<Found> {
        let broken = self
            .broken
            .iter()
            .filter(|(_, error)| error.kind() != ErrorKind::NotFound);
        self.whole
            .iter()
            .chain(broken.map(|(found, _)| found))
            .cloned()
            .collect()
    }

    pub(super) fn basenames(&self) -> Vec<String> {
        self.all().iter().map(|found| found.basename().to_owned()).collect()
    }

    pub(super) fn why_not(&self, name: Option<&str>) -> &'static str {
        match name {
            None => "it is not in this directory",
            Some(name) if self.broken.iter().any(|(found, _)| found.name == name) => "it is not whole",
            Some(_) => "its files are gone",
        }
    }
}
