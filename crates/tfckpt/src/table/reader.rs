//! Reading a table: the whole index file is in memory, every block's checksum is verified.

use std::borrow::Cow;

use super::block::Entries;
use super::{FOOTER_LEN, Handle, MAGIC};
use crate::bytes::{Crc, Cursor, MaskedCrc};
use crate::error::TableError;

/// A table whose footer and index block are sound.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    file: &'a [u8],
    blocks: Vec<Handle>,
}

/// Snappy cannot shrink data by more than this: a copy of 64 bytes takes 3.
const SNAPPY_MAX_RATIO: usize = 22;

/// How much longer than the file all keys together may be. A writer that restarts every 16 entries, as all known
/// ones do, stays below 16.
const KEY_MAX_RATIO: u64 = 32;

impl<'a> Table<'a> {
    /// Parses the footer and the index block.
    pub(crate) fn open(file: &'a [u8]) -> Result<Self, TableError> {
        let len = file.len() as u64;
        let (_, footer) = file
            .split_last_chunk::<FOOTER_LEN>()
            .ok_or(TableError::TooShort { len })?;
        let index = index_handle(footer, len)?;
        let contents = block(file, index)?;
        let mut blocks = Vec::new();
        for_each_block(&contents, index.offset, |_, handle| blocks.push(handle))?;
        Ok(Table { file, blocks })
    }

    /// Calls `visit` with every key and value, in order. Fails where keys are not strictly ascending, so that no
    /// key comes twice.
    pub(crate) fn for_each(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let limit = (self.file.len() as u64)
            .saturating_mul(KEY_MAX_RATIO)
            .saturating_add(1 << 16);
        let mut key_bytes = 0u64;
        let mut previous: Option<Vec<u8>> = None;
        for &handle in &self.blocks {
            let contents = block(self.file, handle)?;
            for_each_entry(&contents, handle.offset, |key, value| {
                key_bytes += key.len() as u64;
                if key_bytes > limit {
                    return Err(TableError::KeyBomb { limit });
                }
                match &mut previous {
                    Some(previous) if key <= previous.as_slice() => {
                        return Err(TableError::KeyOrder {
                            offset: handle.offset,
                            previous: previous.clone(),
                            key: key.to_vec(),
                        });
                    }
                    Some(previous) => {
                        previous.clear();
                        previous.extend_from_slice(key);
                    }
                    None => previous = Some(key.to_vec()),
                }
                visit(key, value)
            })?;
        }
        Ok(())
    }
}

/// The place of the index block, from the last bytes of a file of `len` bytes.
pub(super) fn index_handle(footer: &[u8; FOOTER_LEN], len: u64) -> Result<Handle, TableError> {
    let (handles, magic) = footer.split_last_chunk::<8>().ok_or(TableError::TooShort { len })?;
    let found = u64::from_le_bytes(*magic);
    if found != MAGIC {
        return Err(TableError::BadMagic { found });
    }
    let offset = len - FOOTER_LEN as u64;
    let mut cursor = Cursor::new(handles);
    Handle::decode(&mut cursor)
        .and_then(|_metaindex| Handle::decode(&mut cursor))
        .ok_or(TableError::BadHandle { offset })
}

/// Calls `visit` with the blocks that the index block lists: a key that none of the block's is greater than, and
/// where it lies.
pub(super) fn for_each_block(
    contents: &[u8],
    offset: u64,
    mut visit: impl FnMut(&[u8], Handle),
) -> Result<(), TableError> {
    for_each_entry(contents, offset, |key, value| {
        let handle = Handle::decode(&mut Cursor::new(value)).ok_or(TableError::BadHandle { offset })?;
        visit(key, handle);
        Ok(())
    })
}

pub(super) fn for_each_entry(
    contents: &[u8],
    offset: u64,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), TableError>,
) -> Result<(), TableError> {
    let malformed = |reason| TableError::BadBlock { offset, reason };
    let mut entries = Entries::new(contents).map_err(malformed)?;
    while let Some((key, value)) = entries.next().map_err(malformed)? {
        visit(key, value)?;
    }
    Ok(())
}

/// The decoded contents of a block, after its checksum.
fn block(file: &[u8], handle: Handle) -> Result<Cow<'_, [u8]>, TableError> {
    let len = handle.checked_len(file.len() as u64)?;
    let start = usize::try_from(handle.offset).unwrap_or(usize::MAX);
    let stored = file.get(start..).and_then(|rest| rest.get(..len));
    decode_block(stored.unwrap_or_default(), handle)
}

/// The decoded contents of a block that is stored, with its trailer, in these bytes.
pub(super) fn decode_block(stored: &[u8], handle: Handle) -> Result<Cow<'_, [u8]>, TableError> {
    let Handle { offset, size } = handle;
    let bad = |reason| TableError::BadBlock { offset, reason };
    let (typed, crc) = stored.split_last_chunk::<4>().ok_or(bad("no trailer"))?;
    let (&kind, contents) = typed.split_last().ok_or(bad("no trailer"))?;

    let (stored_crc, computed) = (MaskedCrc(u32::from_le_bytes(*crc)).unmasked(), Crc::of(typed));
    if !stored_crc.agrees_with(computed) {
        let (stored, computed) = (stored_crc.value(), computed.value());
        return Err(TableError::BlockChecksum {
            offset,
            size,
            stored,
            computed,
        });
    }
    match kind {
        0 => Ok(Cow::Borrowed(contents)),
        1 => decompress(contents)
            .map(Cow::Owned)
            .map_err(|reason| TableError::BadCompression { offset, reason }),
        found => Err(TableError::BadBlockType { offset, found }),
    }
}

#[cfg(feature = "snap")]
fn decompress(contents: &[u8]) -> Result<Vec<u8>, String> {
    let len = snap::raw::decompress_len(contents).map_err(|e| e.to_string())?;
    if len > contents.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(format!(
            "{len} bytes out of {} are more than snappy can hold",
            contents.len()
        ));
    }
    snap::raw::Decoder::new()
        .decompress_vec(contents)
        .map_err(|e| e.to_string())
}

#[cfg(not(feature = "snap"))]
fn decompress(_: &[u8]) -> Result<Vec<u8>, String> {
    let _ = SNAPPY_MAX_RATIO;
    Err("it is compressed with snappy, and this build has not the feature `snap`".to_owned())
}
