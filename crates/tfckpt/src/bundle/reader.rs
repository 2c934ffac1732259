//! Reading a checkpoint: the list of its variables at once, their bytes when they are asked for.

mod lookup;
mod slices;
mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use self::lookup::Names;
pub(super) use self::values::native;
use super::source::{Fault, Source};
use super::{VariableInfo, bands, index_name, v1, v2};
use crate::error::{EntryFault, Error, Result};
use crate::io::{Done, Progress, Storage, Watched, Work};
use crate::limits::Limits;

/// A checkpoint's files, open for reading. Only the index is in memory; it can be shared between threads.
#[derive(Debug)]
pub struct Bundle {
    storage: Arc<dyn Storage>,
    prefix: String,
    limits: Limits,
    index_path: PathBuf,
    format: Format,
    num_shards: u32,
    endianness: Endianness,
    /// Sorted by key.
    variables: Vec<VariableInfo>,
    /// Entries that cannot be true, sorted by key.
    faults: Vec<Fault>,
    source: Box<dyn Source>,
    pub(super) bands: bands::Pool,
    names: Option<Arc<dyn Names>>,
    progress: Option<Arc<dyn Progress>>,
}

/// The format of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tables that hold the data themselves: TensorFlow before 0.12, and `write_version=V1`.
    V1,
    /// A tensor bundle: an index file, and data files of raw bytes.
    V2,
}

/// The byte order of the elements in data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endianness {
    /// What every machine of today writes.
    Little,
    /// Written by a big-endian machine. Reading swaps, so that callers always get little-endian bytes.
    Big,
}

impl Bundle {
    /// Reads and checks the index of `prefix` in `storage`. No data file is opened. If there is no `PREFIX.index`,
    /// `prefix` may be a file of the V1 format, or the pattern of several: `model.ckpt-3-?????-of-00002`.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] without such files, [`Error::CorruptIndex`] if they are damaged,
    /// [`Error::Unsupported`] if they need a newer reader, [`Error::LimitExceeded`].
    pub fn open(storage: Arc<dyn Storage>, prefix: &str, limits: &Limits) -> Result<Self> {
        let io = |error| Error::io("look for", storage.path(prefix), error);
        let opened = if storage.exists(&index_name(prefix)).map_err(io)? {
            v2::open(storage.clone(), prefix, limits)?
        } else if storage.exists(prefix).map_err(io)? {
            v1::open(&storage, &[prefix.to_owned()], limits)?
        } else {
            let mut names = storage.list().unwrap_or_default();
            names.retain(|name| prefix.contains('?') && v1::matches(prefix, name));
            names.sort();
            match names.is_empty() {
                // The error says what was looked for.
                true => v2::open(storage.clone(), prefix, limits)?,
                false => v1::open(&storage, &names, limits)?,
            }
        };
        Ok(Bundle {
            storage,
            prefix: prefix.to_owned(),
            limits: limits.clone(),
            index_path: opened.index_path,
            format: opened.format,
            num_shards: opened.num_files,
            endianness: opened.endianness,
            variables: opened.variables,
            faults: opened.faults,
            source: opened.source,
            bands: bands::Pool::default(),
            names: None,
            progress: None,
        })
    }

    /// Opens a bundle as [`open`](Self::open) does, and tells how much of its data files is read. Whoever reads many
    /// variables says when that begins and ends: plans do.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_watched(
        storage: Arc<dyn Storage>,
        prefix: &str,
        limits: &Limits,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let watched = Arc::new(Watched::new(storage, progress.clone()));
        Ok(Bundle {
            progress: Some(progress),
            ..Self::open(watched, prefix, limits)?
        })
    }

    /// Tells of work on these variables, if anybody wants to know.
    pub(crate) fn watch<T, E>(
        &self,
        work: Work,
        variables: &[&VariableInfo],
        reading: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(progress) = &self.progress else {
            return reading();
        };
        let started = Instant::now();
        let bytes = variables.iter().map(|info| info.size()).fold(0, u64::saturating_add);
        progress.begin(work, bytes);
        let read = reading()?;
        progress.end(&Done {
            work,
            prefix: self.prefix(),
            bytes,
            elapsed: started.elapsed(),
        });
        Ok(read)
    }

    /// The same bundle, whose variables can be asked for by these names, too.
    pub(crate) fn with_names(mut self, names: Option<Arc<dyn Names>>) -> Self {
        self.names = names;
        self
    }

    /// The prefix, with its directory.
    pub fn prefix(&self) -> PathBuf {
        self.storage.path(&self.prefix)
    }

    /// The path of the index file; in the V1 format, of the first file.
    pub fn index_path(&self) -> PathBuf {
        self.index_path.clone()
    }

    /// The path of a data file.
    pub fn shard_path(&self, shard: u32) -> PathBuf {
        self.source.path(shard)
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The number of data files.
    pub fn num_shards(&self) -> u32 {
        self.num_shards
    }

    /// The byte order of the elements in the data files.
    pub fn endianness(&self) -> Endianness {
        self.endianness
    }

    /// All variables, sorted by the bytes of their names.
    pub fn variables(&self) -> impl ExactSizeIterator<Item = &VariableInfo> {
        self.variables.iter()
    }

    /// The entries of the index that cannot be true: name, and what is wrong. An intact checkpoint has none.
    pub fn faults(&self) -> impl ExactSizeIterator<Item = (&[u8], &EntryFault)> {
        self.faults.iter().map(|(key, fault)| (key.as_ref(), fault))
    }

    /// The most threads that read at once: [`Limits::threads`].
    pub fn threads(&self) -> usize {
        self.limits.threads()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn source(&self) -> &dyn Source {
        self.source.as_ref()
    }
}
