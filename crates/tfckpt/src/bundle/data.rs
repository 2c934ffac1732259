//! Data files on their way: written under temporary names, published together.

use std::path::PathBuf;
use std::sync::Arc;

use super::shard_name;
use crate::error::{Error, Result};
use crate::io::{Durability, NewFile, Storage};

/// Room is made ahead for this many bytes at least: for fewer, a system call more would cost more than it gives.
const WORTH_ALLOCATING: u64 = 1 << 20;

/// The data files of a bundle that is being written. Dropped, they leave nothing behind.
#[derive(Debug)]
pub(super) struct DataFiles {
    storage: Arc<dyn Storage>,
    prefix: String,
    durability: Durability,
    files: Vec<DataFile>,
}

#[derive(Debug)]
struct DataFile {
    file: Box<dyn NewFile>,
    /// Bytes that have a place in it.
    len: u64,
    /// Bytes that there is room for.
    allocated: u64,
}

/// Where the bytes of a variable lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) shard: usize,
    pub(super) offset: u64,
}

impl Place {
    /// The place of the byte `at` bytes behind this one.
    pub(super) fn after(self, at: usize) -> Self {
        Place {
            shard: self.shard,
            offset: self.offset + at as u64,
        }
    }
}

impl DataFiles {
    /// Starts the first file.
    pub(super) fn create(storage: Arc<dyn Storage>, prefix: &str, durability: Durability) -> Result<Self> {
        let mut files = DataFiles {
            storage,
            prefix: prefix.to_owned(),
            durability,
            files: Vec::new(),
        };
        files.start()?;
        Ok(files)
    }

    pub(super) fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// A place for `len` bytes behind all others: in another file if this one would become larger than `limit`. Every
    /// file gets one variable at least.
    pub(super) fn reserve(&mut self, len: u64, limit: u64) -> Result<Place> {
        let full = |file: &DataFile| file.len > 0 && file.len.saturating_add(len) > limit;
        if self.files.last().is_none_or(full) {
            self.start()?;
        }
        let shard = self.files.len() - 1;
        let Some(last) = self.files.last_mut() else {
            return Err(Error::invalid("a bundle without data files"));
        };
        let offset = last.len;
        // The format counts with signs.
        let end = offset.checked_add(len).filter(|&end| i64::try_from(end).is_ok());
        last.len = end.ok_or_else(|| Error::invalid("a checkpoint of more than 2^63 bytes"))?;
        Ok(Place { shard, offset })
    }

    /// Makes room for all that was reserved.
    pub(super) fn allocate(&mut self) -> Result<()> {
        let paths: Vec<PathBuf> = (0..self.files.len()).map(|shard| self.path(shard)).collect();
        for (file, path) in self.files.iter_mut().zip(paths) {
            if file.len - file.allocated >= WORTH_ALLOCATING {
                let allocated = file.file.allocate(file.len);
                allocated.map_err(|error| Error::io("make room for", path, error))?;
                file.allocated = file.len;
            }
        }
        Ok(())
    }

    /// Writes to a place that was reserved. Threads may do so at once.
    pub(super) fn write(&self, bytes: &[u8], place: Place) -> Result<()> {
        let written = match self.files.get(place.shard) {
            Some(file) => file.file.write_all_at(bytes, place.offset),
            None => Ok(()),
        };
        written.map_err(|error| Error::io("write", self.path(place.shard), error))
    }

    /// Lets the device begin with bytes that were written, if it will be waited for.
    pub(super) fn written(&self, place: Place, len: u64) {
        if let (Durability::Synced, Some(file)) = (self.durability, self.files.get(place.shard)) {
            file.file.start_sync(place.offset, len);
        }
    }

    /// Gives all files their names. The number of files, and the bytes in all of them.
    pub(super) fn publish(self) -> Result<(u32, u64)> {
        let count = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let mut total = 0;
        for (shard, DataFile { mut file, len, .. }) in (0..count).zip(self.files) {
            let name = shard_name(&self.prefix, shard, count);
            let published = file.set_name(&name).and_then(|()| file.publish(self.durability));
            published.map_err(|error| Error::io("write", self.storage.path(&name), error))?;
            total += len;
        }
        Ok((count, total))
    }

    fn start(&mut self) -> Result<()> {
        let name = self.name(self.files.len());
        let file = self.storage.create(&name);
        self.files.push(DataFile {
            file: file.map_err(|error| Error::io("create", self.storage.path(&name), error))?,
            len: 0,
            allocated: 0,
        });
        Ok(())
    }

    /// The name that a file will get if no more follow: how many there will be is known at the end.
    fn name(&self, shard: usize) -> String {
        let shard = u32::try_from(shard).unwrap_or(u32::MAX);
        shard_name(&self.prefix, shard, shard.saturating_add(1))
    }

    fn path(&self, shard: usize) -> PathBuf {
        self.storage.path(&self.name(shard))
    }
}
