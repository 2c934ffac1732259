//! Data files on their way: written under temporary names, published together.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::shard_name;
use crate::bytes::Crc;
use crate::error::{Error, Result};
use crate::io::{Durability, NewFile, Storage};

/// Small variables are gathered into writes of this size; larger pieces go to the file directly.
pub(super) const BUFFER: usize = 1 << 20;

/// Bytes that are hashed and then written while they are in the CPU's cache.
const CHUNK: usize = 256 * 1024;

/// The data files of a bundle that is being written. Dropped, they leave nothing behind.
#[derive(Debug)]
pub(super) struct DataFiles {
    storage: Arc<dyn Storage>,
    prefix: String,
    full: Vec<Box<dyn NewFile>>,
    current: BufWriter<Box<dyn NewFile>>,
    /// Bytes in the current file.
    offset: u64,
    /// Bytes in all files.
    total: u64,
}

impl DataFiles {
    /// Starts the first file.
    pub(super) fn create(storage: Arc<dyn Storage>, prefix: &str) -> Result<Self> {
        let current = new_file(&storage, prefix, 0)?;
        Ok(DataFiles {
            storage,
            prefix: prefix.to_owned(),
            full: Vec::new(),
            current,
            offset: 0,
            total: 0,
        })
    }

    /// Where the next byte goes: the number of the file, and the place in it.
    pub(super) fn position(&self) -> (i32, u64) {
        (i32::try_from(self.full.len()).unwrap_or(i32::MAX), self.offset)
    }

    /// Starts another file if `len` more bytes would make this one larger than `limit`. Every file gets one variable
    /// at least.
    pub(super) fn make_room(&mut self, len: u64, limit: u64) -> Result<()> {
        if self.offset == 0 || self.offset.saturating_add(len) <= limit {
            return Ok(());
        }
        let shard = u32::try_from(self.full.len() + 1).unwrap_or(u32::MAX);
        let next = new_file(&self.storage, &self.prefix, shard)?;
        let path = self.path();
        let full = std::mem::replace(&mut self.current, next);
        let full = full.into_inner().map_err(|error| error.into_error());
        self.full.push(full.map_err(|error| Error::io("write", path, error))?);
        self.offset = 0;
        Ok(())
    }

    /// Appends bytes, and extends `crc` with them.
    pub(super) fn write_hashed(&mut self, bytes: &[u8], crc: &mut Crc) -> Result<()> {
        bytes.chunks(CHUNK).try_for_each(|chunk| {
            crc.extend(chunk);
            self.write(chunk)
        })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.current.write_all(bytes);
        written.map_err(|error| Error::io("write", self.path(), error))?;
        self.offset += bytes.len() as u64;
        self.total += bytes.len() as u64;
        Ok(())
    }

    /// Gives all files their names. The number of files, and the bytes in all of them.
    pub(super) fn publish(self, durability: Durability) -> Result<(u32, u64)> {
        let path = self.path();
        let last = self.current.into_inner().map_err(|error| error.into_error());
        let mut files = self.full;
        files.push(last.map_err(|error| Error::io("write", path, error))?);
        let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
        for (shard, mut file) in (0..count).zip(files) {
            let name = shard_name(&self.prefix, shard, count);
            let published = file.set_name(&name).and_then(|()| file.publish(durability));
            published.map_err(|error| Error::io("write", self.storage.path(&name), error))?;
        }
        Ok((count, self.total))
    }

    fn path(&self) -> PathBuf {
        let shard = u32::try_from(self.full.len()).unwrap_or(u32::MAX);
        self.storage
            .path(&shard_name(&self.prefix, shard, shard.saturating_add(1)))
    }
}

fn new_file(storage: &Arc<dyn Storage>, prefix: &str, shard: u32) -> Result<BufWriter<Box<dyn NewFile>>> {
    // The number of files is not known yet; that of the first is right for most.
    let name = shard_name(prefix, shard, shard.saturating_add(1));
    let file = storage
        .create(&name)
        .map_err(|error| Error::io("create", storage.path(&name), error))?;
    Ok(BufWriter::with_capacity(BUFFER, file))
}
