//! One block: entries with prefix-compressed keys, then restart points.

use crate::bytes::{Cursor, put_fixed32, put_varint};

/// A key and its value.
pub(super) type Entry<'k, 'a> = (&'k [u8], &'a [u8]);

/// Walks the entries of a decoded block in order.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    cursor: Cursor<'a>,
    key: Vec<u8>,
}

impl<'a> Entries<'a> {
    /// Checks the restart array and starts before the first entry.
    pub(super) fn new(contents: &'a [u8]) -> Result<Self, &'static str> {
        let (rest, count) = contents
            .split_last_chunk::<4>()
            .ok_or("shorter than its restart count")?;
        let restarts = (u32::from_le_bytes(*count) as usize)
            .checked_mul(4)
            .ok_or("impossible restart count")?;
        let end = rest
            .len()
            .checked_sub(restarts)
            .ok_or("more restart points than bytes")?;
        let entries = rest.get(..end).unwrap_or_default();
        Ok(Entries {
            cursor: Cursor::new(entries),
            key: Vec::new(),
        })
    }

    /// The next key and value. The key is good until the next call.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'_, 'a>>, &'static str> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let (suffix, value) = self.entry().ok_or("an entry reaches past the end of its block")?;
        self.key.extend_from_slice(suffix);
        Ok(Some((&self.key, value)))
    }

    /// Parses an entry and cuts the previous key down to the shared prefix.
    fn entry(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let shared = self.cursor.varint_usize()?;
        let unshared = self.cursor.varint_usize()?;
        let value_len = self.cursor.varint_usize()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        Some((self.cursor.take(unshared)?, self.cursor.take(value_len)?))
    }
}

/// Builds a block.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    buffer: Vec<u8>,
    restarts: Vec<u32>,
    /// Entries since the last restart point.
    counter: usize,
    restart_interval: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub(super) fn new(restart_interval: usize) -> Self {
        BlockBuilder {
            buffer: Vec::new(),
            restarts: vec![0],
            counter: 0,
            restart_interval,
            last_key: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The size that [`finish`](Self::finish) would give.
    pub(super) fn size(&self) -> usize {
        self.buffer.len() + 4 * self.restarts.len() + 4
    }

    /// Adds an entry, whose key must be greater than the one before.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut shared = 0;
        if self.counter < self.restart_interval {
            shared = self.last_key.iter().zip(key).take_while(|(a, b)| a == b).count();
        } else {
            // A block flushes at 256 KiB, or right after one larger entry: the offset of an entry always fits.
            self.restarts.push(u32::try_from(self.buffer.len()).unwrap_or(u32::MAX));
            self.counter = 0;
        }
        let suffix = key.get(shared..).unwrap_or_default();
        put_varint(&mut self.buffer, shared as u64);
        put_varint(&mut self.buffer, suffix.len() as u64);
        put_varint(&mut self.buffer, value.len() as u64);
        self.buffer.extend_from_slice(suffix);
        self.buffer.extend_from_slice(value);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.counter += 1;
    }

    /// The contents of the block; the builder is empty again.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let fresh = BlockBuilder::new(self.restart_interval);
        let block = std::mem::replace(self, fresh);
        let mut contents = block.buffer;
        block
            .restarts
            .iter()
            .for_each(|&restart| put_fixed32(&mut contents, restart));
        // One restart in 16 entries of at least 4 bytes: their number fits wherever the block itself fits.
        put_fixed32(&mut contents, u32::try_from(block.restarts.len()).unwrap_or(u32::MAX));
        contents
    }
}
