//! The sorted table that an index file is: LevelDB's format, as TensorFlow uses it.
//!
//! ```text
//! file         := data block+ , metaindex block , index block , footer (48 bytes)
//! stored block := contents , type (1 byte) , masked crc32c of contents and type (4 bytes)
//! contents     := entry* , restart offset (fixed32)* , number of restarts (fixed32)
//! entry        := varint shared , varint unshared , varint value length , key suffix , value
//! footer       := metaindex handle , index handle , padding to 40 bytes , magic (8 bytes)
//! ```
//!
//! Source: `tensorflow/core/lib/io/{format,block,block_builder,table_builder}.cc`.

mod block;
mod file;
mod reader;
mod writer;

pub(crate) use file::{FileTable, FileTableError};
pub(crate) use reader::Table;
pub(crate) use writer::TableWriter;

use crate::bytes::{Cursor, put_varint};
use crate::error::TableError;

const FOOTER_LEN: usize = 48;
/// Type byte and checksum behind each block.
const TRAILER_LEN: usize = 5;
/// The last eight bytes of a table.
pub(crate) const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// Where a block lies. `size` leaves out the trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Handle {
    offset: u64,
    size: u64,
}

impl Handle {
    fn decode(cursor: &mut Cursor<'_>) -> Option<Handle> {
        Some(Handle {
            offset: cursor.varint()?,
            size: cursor.varint()?,
        })
    }

    /// The bytes of the block with its trailer, which must lie within a file of `file_len` bytes.
    fn checked_len(self, file_len: u64) -> Result<usize, TableError> {
        let Handle { offset, size } = self;
        let len = size.checked_add(TRAILER_LEN as u64);
        let end = len.and_then(|len| offset.checked_add(len));
        let fits = end.is_some_and(|end| end <= file_len);
        len.filter(|_| fits)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(TableError::BlockOutOfRange { offset, size, file_len })
    }

    fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, self.size);
    }
}
