//! How closely a checkpoint is looked at before it is called whole.

use super::Checkpoint;
use crate::error::{Error, Result};

/// How closely a checkpoint is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Check {
    /// Every byte of index and data files against its checksum. Reads all of it. The default.
    #[default]
    Bytes,
    /// The index, every byte of it, and whether the data files are there and long enough. Reads no data, so that it
    /// takes no longer for a large checkpoint, and does not see a byte in them that is wrong.
    Lengths,
}

impl Checkpoint {
    /// Whether the checkpoint is whole.
    ///
    /// # Errors
    /// What is wrong with it; of several things the first: [`Error::CorruptEntry`], [`Error::ShardMissing`],
    /// [`Error::ShardTruncated`], [`Error::Checksum`], [`Error::CorruptPayload`]. [`Error::LimitExceeded`],
    /// [`Error::Unsupported`] and [`Error::Io`] say nothing of whether it is.
    pub fn check(&self, check: Check) -> Result<()> {
        if let Some((key, fault)) = self.faults().next() {
            return Err(Error::CorruptEntry {
                path: self.index_path(),
                name: String::from_utf8_lossy(key).into_owned(),
                fault: fault.clone(),
            });
        }
        // Missing and truncated files are told at once, however much there is to read.
        self.variables()
            .try_for_each(|info| self.checked_size(info).map(drop))?;
        match check {
            Check::Lengths => Ok(()),
            Check::Bytes => self.verify_all(&self.variables().collect::<Vec<_>>()),
        }
    }
}
