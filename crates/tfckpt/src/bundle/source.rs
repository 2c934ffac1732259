//! Where the bytes of variables and of their slices come from.

use std::path::PathBuf;

use super::payload::Strings;
use super::{Endianness, Format, VariableInfo};
use crate::bytes::Crc;
use crate::error::{EntryFault, Error, Result};
use crate::io::Blank;

/// The files that hold the bytes. All methods take what is stored as one: a whole variable, or one slice.
pub(super) trait Source: std::fmt::Debug + Send + Sync {
    /// The length of the file that holds the bytes, which it does as far as can be told without reading them.
    fn file_len(&self, info: &VariableInfo) -> Result<u64>;

    /// Fills `destination`, which has the right length, with little-endian elements, checked; on so many threads, if it
    /// is long.
    fn read_into(&self, info: &VariableInfo, destination: Blank<'_>, threads: usize) -> Result<()>;

    /// Passes little-endian elements to `sink`, a piece at a time and never part of one. What they are is known to be
    /// right only when the call returns.
    fn for_each_chunk(&self, info: &VariableInfo, sink: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Checks the bytes of fixed-size elements without keeping them; on so many threads, if they are many.
    fn verify(&self, info: &VariableInfo, threads: usize) -> Result<()>;

    /// The bytes as they are stored, if they are stored as they are.
    fn raw(&self) -> Option<&dyn Raw> {
        None
    }

    /// The elements of strings, checked.
    fn strings(&self, info: &VariableInfo) -> Result<Strings>;

    /// The payload of a variant, checked.
    fn payload(&self, info: &VariableInfo) -> Result<Vec<u8>>;

    /// The path of a file, by its number.
    fn path(&self, file: u32) -> PathBuf;
}

/// Files in which the elements of a variable lie one behind the other. Whoever reads from it checks what was read.
pub(super) trait Raw: std::fmt::Debug + Send + Sync {
    /// Fills `buffer` with what lies at `offset` of the file that holds the variable. An error is told as the variable's.
    fn read_at(&self, info: &VariableInfo, buffer: &mut [u8], offset: u64) -> Result<()>;

    /// Compares the checksum of all bytes of a variable, as they are stored, with that in the index.
    fn check(&self, info: &VariableInfo, computed: Crc) -> Result<()>;

    /// Brings bytes as they are stored into little-endian order.
    fn to_little(&self, info: &VariableInfo, bytes: &mut [u8]);
}

/// A checkpoint whose index was read.
#[derive(Debug)]
pub(super) struct Opened {
    /// The file that lists the variables, for messages.
    pub(super) index_path: PathBuf,
    pub(super) format: Format,
    pub(super) num_files: u32,
    pub(super) endianness: Endianness,
    /// Sorted by key.
    pub(super) variables: Vec<VariableInfo>,
    /// Entries that cannot be true, sorted by key.
    pub(super) faults: Vec<Fault>,
    pub(super) source: Box<dyn Source>,
}

/// A key, and what is wrong with its entry.
pub(super) type Fault = (Box<[u8]>, EntryFault);

/// The same allocation limit for all sources: a variable of this many bytes.
pub(super) fn check_size(path: PathBuf, size: u64, limit: u64) -> Result<usize> {
    let limit = limit.min(isize::MAX as u64);
    match usize::try_from(size) {
        Ok(len) if size <= limit => Ok(len),
        _ => Err(Error::LimitExceeded {
            path,
            what: "the size of a variable",
            value: size,
            limit,
        }),
    }
}
