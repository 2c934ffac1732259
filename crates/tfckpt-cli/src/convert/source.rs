//! A safetensors file, of which only the header is in memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};

use crate::failure::{Exit, Failure};

/// A safetensors file, open for reading.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    path: PathBuf,
    /// Where the first tensor starts, in bytes.
    data_start: u64,
    metadata: Metadata,
}

/// The limit that the safetensors crate sets to headers, in bytes. Its readers refuse longer ones.
pub(super) const MAX_HEADER: u64 = 100_000_000;

/// Bytes before the header: its length.
pub(super) const LENGTH: u64 = 8;

/// Bytes that are read in one go.
const CHUNK: usize = 1 << 20;

impl Source {
    /// Reads and checks the header.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| Failure::io("open", path, error))?;
        let io = |error| Failure::io("read", path, error);
        let file_len = file.metadata().map_err(io)?.len();
        let corrupt = |reason: &str| {
            let text = format!("`{}` is no readable safetensors file: {reason}", path.display());
            Failure::new(Exit::Corrupt, text)
        };

        let mut length = [0; LENGTH as usize];
        let Some(rest) = file_len.checked_sub(LENGTH) else {
            return Err(corrupt(&format!("it has {file_len} bytes, the shortest have 10")));
        };
        (&file).read_exact(&mut length).map_err(io)?;
        let header_len = u64::from_le_bytes(length);
        if header_len > MAX_HEADER || header_len > rest {
            return Err(corrupt(&format!(
                "a header of {header_len} bytes is announced, {rest} follow"
            )));
        }
        let mut header = vec![0; usize::try_from(header_len).unwrap_or(0)];
        (&file).read_exact(&mut header).map_err(io)?;

        // What `SafeTensors::read_metadata` does, but it wants the whole file in memory. Deserializing checks that
        // the tensors lie end to end and have the sizes that dtype and shape require.
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| {
            let text = format!("`{}` is no readable safetensors file: bad header", path.display());
            Failure::caused(Exit::Corrupt, text, error)
        })?;
        let (data_start, needed) = (LENGTH + header_len, metadata.data_len() as u64);
        if data_start.checked_add(needed) != Some(file_len) {
            let there = file_len - data_start;
            return Err(corrupt(&format!(
                "the header describes {needed} bytes, {there} are there"
            )));
        }
        Ok(Source {
            file,
            path: path.to_owned(),
            data_start,
            metadata,
        })
    }

    /// The tensors, sorted by name.
    pub(crate) fn tensors(&self) -> Vec<(String, &TensorInfo)> {
        let mut tensors: Vec<_> = self.metadata.tensors().into_iter().collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    }

    /// The tensor of this name.
    pub(super) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    /// The keys of `__metadata__`, sorted.
    pub(super) fn metadata_keys(&self) -> Vec<&str> {
        let keys = self.metadata.metadata().iter().flat_map(|map| map.keys());
        let mut keys: Vec<_> = keys.map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    /// Passes the bytes of a tensor to the sink, in pieces.
    pub(super) fn stream(&self, info: &TensorInfo, sink: &mut tfckpt::Sink<'_>) -> Result<(), tfckpt::BoxError> {
        let (start, end) = info.data_offsets;
        let mut left = end.saturating_sub(start);
        let mut buffer = vec![0; left.min(CHUNK)];
        let named = |error: io::Error| format!("cannot read `{}`: {error}", self.path.display());
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.data_start + start as u64))
            .map_err(named)?;
        while left > 0 {
            let piece = buffer.get_mut(..left.min(CHUNK)).unwrap_or_default();
            file.read_exact(piece).map_err(named)?;
            sink(piece)?;
            left -= piece.len();
        }
        Ok(())
    }
}
