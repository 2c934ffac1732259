//! Reading a table that stays on disk, a block at a time: the V1 format keeps the data itself in tables.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use super::reader::{decode_block, for_each_block, for_each_entry, index_handle};
use super::{FOOTER_LEN, Handle};
use crate::error::TableError;
use crate::io::ReadAt;

/// A table on disk. In memory are only its file and the places of its blocks.
#[derive(Debug)]
pub(crate) struct FileTable {
    file: Arc<dyn ReadAt>,
    len: u64,
    /// Each with a key that none of the block's is greater than.
    blocks: Vec<(Box<[u8]>, Handle)>,
}

/// Why a table could not be read.
#[derive(Debug)]
pub(crate) enum FileTableError {
    Table(TableError),
    Io(io::Error),
}

type Result<T> = std::result::Result<T, FileTableError>;

impl From<TableError> for FileTableError {
    fn from(error: TableError) -> Self {
        FileTableError::Table(error)
    }
}

impl From<io::Error> for FileTableError {
    fn from(error: io::Error) -> Self {
        FileTableError::Io(error)
    }
}

impl FileTable {
    /// Reads the footer and the index block.
    pub(crate) fn open(file: Arc<dyn ReadAt>) -> Result<Self> {
        let len = file.size()?;
        let mut footer = [0; FOOTER_LEN];
        let start = len.checked_sub(FOOTER_LEN as u64).ok_or(TableError::TooShort { len })?;
        file.read_exact_at(&mut footer, start)?;
        let index = index_handle(&footer, len)?;
        let mut table = FileTable {
            file,
            len,
            blocks: Vec::new(),
        };
        let contents = table.block(index)?;
        let mut blocks = Vec::new();
        for_each_block(&contents, index.offset, |key, handle| blocks.push((key.into(), handle)))?;
        table.blocks = blocks;
        Ok(table)
    }

    /// The first key and value; `None` if the table is empty.
    pub(crate) fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let Some((_, handle)) = self.blocks.first() else {
            return Ok(None);
        };
        let mut first = None;
        for_each_entry(&self.block(*handle)?, handle.offset, |key, value| {
            first.get_or_insert_with(|| (key.to_vec(), value.to_vec()));
            Ok(())
        })?;
        Ok(first)
    }

    /// The value of a key; `None` without one. Reads one block.
    pub(crate) fn get(&self, wanted: &[u8]) -> Result<Option<Vec<u8>>> {
        let at = self.blocks.partition_point(|(last, _)| last.as_ref() < wanted);
        let Some((_, handle)) = self.blocks.get(at) else {
            return Ok(None);
        };
        let mut found = None;
        for_each_entry(&self.block(*handle)?, handle.offset, |key, value| {
            if found.is_none() && key.cmp(wanted) == Ordering::Equal {
                found = Some(value.to_vec());
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The length of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    fn block(&self, handle: Handle) -> Result<Vec<u8>> {
        let mut stored = vec![0; handle.checked_len(self.len)?];
        self.file.read_exact_at(&mut stored, handle.offset)?;
        match decode_block(&stored, handle)? {
            Cow::Owned(contents) => Ok(contents),
            Cow::Borrowed(contents) => {
                let len = contents.len();
                stored.truncate(len);
                Ok(stored)
            }
        }
    }
}
