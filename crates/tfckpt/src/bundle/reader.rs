//! Reading a checkpoint: the list of its variables at once, their bytes when they are asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use super::join::{self, JoinError};
use super::payload::{Strings, encode_strings, is_framed};
use super::region::Region;
use super::source::{Fault, Raw, Source, check_size};
use super::{VariableInfo, bands, index_name, v1, v2};
use crate::bytes::{Crc, endian};
use crate::dtype::DType;
use crate::error::{EntryFault, Error, Result};
use crate::io::{Blank, Done, Progress, Storage, Watched, Work, filled, zeroed};
use crate::limits::Limits;
use crate::slice::Slice;
use crate::suggest::nearest;
use crate::tensor::Element;

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

/// Names of variables other than their keys, known to a higher layer.
pub(crate) trait Names: std::fmt::Debug + Send + Sync {
    /// The key of the variable that `name`, which is no key itself, means.
    fn key_of(&self, bundle: &Bundle, name: &str) -> Result<Option<String>>;

    /// What people call the variable with this key.
    fn name_of(&self, bundle: &Bundle, key: &str) -> Option<String>;
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

    /// Whether a variable of this name is there. Looks at the index, and for a name that is no key at the object
    /// graph, if there is one.
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.lookup(name.as_ref()).is_ok_and(|found| found.is_some())
    }

    /// Whether the index has this key.
    pub(crate) fn has_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.position(key.as_ref()).is_some()
    }

    /// The variable of this name: its key, or for a [`Checkpoint`](crate::Checkpoint) that is object-based any name
    /// by which `ObjectGraph::find` finds it.
    ///
    /// # Errors
    /// [`Error::VariableNotFound`], with the nearest names; [`Error::AmbiguousName`]; [`Error::CorruptEntry`];
    /// [`Error::ObjectGraph`].
    pub fn variable(&self, name: impl AsRef<[u8]>) -> Result<&VariableInfo> {
        let key = name.as_ref();
        if let Some(info) = self.lookup(key)? {
            return Ok(info);
        }
        let name = String::from_utf8_lossy(key).into_owned();
        let names: Vec<String> = self.variables.iter().map(|info| self.display_name(info)).collect();
        Err(Error::VariableNotFound {
            prefix: self.prefix(),
            candidates: nearest(&name, names.iter().map(String::as_str), 3),
            name,
        })
    }

    /// What people call a variable: for a [`Checkpoint`](crate::Checkpoint) that is object-based its full name or
    /// object path, as `ObjectVariable::name`; otherwise its key.
    pub fn display_name(&self, info: &VariableInfo) -> String {
        let names = self.names.as_ref();
        let key = std::str::from_utf8(info.key()).ok();
        names
            .zip(key)
            .and_then(|(names, key)| names.name_of(self, key))
            .unwrap_or_else(|| info.name().into_owned())
    }

    /// The elements of a variable, row-major. One allocation, filled in place.
    ///
    /// # Errors
    /// As [`variable`](Self::variable) and [`read_into`](Self::read_into), and [`Error::DtypeMismatch`]: nothing is
    /// cast.
    pub fn read<T: Element>(&self, name: impl AsRef<[u8]>) -> Result<Vec<T>> {
        let info = self.variable(name)?;
        self.check_dtype::<T>(info)?;
        self.read_new(info, None, self.limits.threads()).map(native)
    }

    /// The elements of a part of a variable, row-major: what `RestoreV2` gives for a `shape_and_slice`. Of a
    /// partitioned variable only the slices that it touches are read, these wholly; of any other the whole variable,
    /// because its checksum covers the whole, in pieces of 256 KiB.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::InvalidArgument`] if the slice does not lie within the variable.
    pub fn read_slice<T: Element>(&self, name: impl AsRef<[u8]>, slice: &Slice) -> Result<Vec<T>> {
        let info = self.variable(name)?;
        let region = self.region(info, slice)?;
        self.read_elements(info, self.checked_region(info, &region)?, |bytes| {
            self.read_region(info, &region, bytes, self.limits.threads())
        })
    }

    /// The bytes of a variable: little-endian elements, row-major. For `string` and `variant` the payload as the V2
    /// format stores it, lengths and checksums included.
    ///
    /// # Errors
    /// As [`variable`](Self::variable) and [`read_into`](Self::read_into).
    pub fn read_bytes(&self, name: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let info = self.variable(name)?;
        match info.dtype() {
            // As a little-endian writer would store it as one.
            DType::String if !info.pieces().is_empty() || self.endianness == Endianness::Big => {
                let strings = self.read_strings(info.key())?;
                let elements: Vec<_> = strings.iter().map(Into::into).collect();
                Ok(encode_strings(&elements).0)
            }
            dtype if is_framed(dtype) => {
                self.checked_size(info)?;
                self.source.payload(info)
            }
            _ => self.read_new(info, None, self.limits.threads()),
        }
    }

    /// The bytes of a part of a variable, as [`read_slice`](Self::read_slice) reads it.
    ///
    /// # Errors
    /// As [`read_slice`](Self::read_slice).
    pub fn read_slice_bytes(&self, name: impl AsRef<[u8]>, slice: &Slice) -> Result<Vec<u8>> {
        let info = self.variable(name)?;
        let region = self.region(info, slice)?;
        let mut bytes = zeroed(self.checked_region(info, &region)?);
        self.read_region(info, &region, &mut bytes, self.limits.threads())?;
        Ok(bytes)
    }

    /// The elements of a `string` variable.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::CorruptPayload`].
    pub fn read_strings(&self, name: impl AsRef<[u8]>) -> Result<Strings> {
        let info = self.variable(name)?;
        if info.dtype() != DType::String {
            return Err(self.dtype_mismatch(info, DType::String));
        }
        self.checked_size(info)?;
        if info.pieces().is_empty() {
            return self.source.strings(info);
        }
        let region = self.region(info, &Slice::full(info.shape().rank()))?;
        let pieces = join::touched(info.pieces(), info, &region);
        // Each string takes a byte of the file at least.
        let count = info.shape().element_count().unwrap_or(u64::MAX);
        join::check_size(self.source.as_ref(), &pieces, count.saturating_mul(join::MAX_RATIO))
            .and_then(|()| join::strings(self.source.as_ref(), &pieces, &region))
            .map_err(|error| self.join_error(info, error))
    }

    /// Fills `destination` with the bytes of a variable, as [`read_bytes`](Self::read_bytes) gives them: one copy,
    /// straight from the file, hashed on the way, on all cores from 4 MiB on. Slices of whole rows are read straight to
    /// their places, too.
    ///
    /// # Errors
    /// [`Error::WrongLength`] if the destination has another length than [`VariableInfo::size`],
    /// [`Error::ShardMissing`], [`Error::ShardTruncated`], [`Error::Checksum`], [`Error::CorruptPayload`],
    /// [`Error::CorruptEntry`] for slices that do not make up the variable. After an error the destination holds
    /// anything.
    pub fn read_into(&self, info: &VariableInfo, destination: &mut [u8]) -> Result<()> {
        self.read_into_by(info, destination, self.limits.threads())
    }

    pub(super) fn read_into_by(&self, info: &VariableInfo, destination: &mut [u8], threads: usize) -> Result<()> {
        self.check_len(info, destination.len())?;
        if is_framed(info.dtype()) {
            let payload = self.read_bytes(info.key())?;
            if payload.len() == destination.len() {
                destination.copy_from_slice(&payload);
                return Ok(());
            }
            return Err(Error::invalid(format!(
                "the strings of `{}` are stored in slices or in the V1 format: read them with `read_strings`",
                info.name()
            )));
        }
        if info.pieces().is_empty() {
            let read = AtomicUsize::new(0);
            return self.source.read_into(info, Blank::over(destination, &read), threads);
        }
        let region = self.region(info, &Slice::full(info.shape().rank()))?;
        self.read_region(info, &region, destination, threads)
    }

    /// The bytes of a variable of fixed-size elements in a new vector of elements of any type; little-endian. What was
    /// read of them already is in `window`.
    pub(super) fn read_new<T: Element>(
        &self,
        info: &VariableInfo,
        window: Option<(&dyn Raw, &[u8])>,
        threads: usize,
    ) -> Result<Vec<T>> {
        self.fill_new(info, window, |blank| match window {
            Some((raw, bytes)) => {
                raw.check(info, Crc::of(bytes))?;
                raw.to_little(info, blank.copy_from(bytes));
                Ok(())
            }
            None if info.pieces().is_empty() => self.source.read_into(info, blank, threads),
            None => self.read_into_by(info, blank.initialised(), threads),
        })
    }

    /// A new vector for the bytes of a variable, all of which `fill` has to put there.
    pub(super) fn fill_new<T: Element>(
        &self,
        info: &VariableInfo,
        window: Option<(&dyn Raw, &[u8])>,
        fill: impl FnOnce(Blank<'_>) -> Result<()>,
    ) -> Result<Vec<T>> {
        filled(self.new_len::<T>(info, window)?, fill)?
            .ok_or_else(|| Error::invalid(format!("variable `{}` was not read to its end", info.name())))
    }

    /// How many elements hold the bytes of a variable.
    pub(super) fn new_len<T: Element>(&self, info: &VariableInfo, window: Option<(&dyn Raw, &[u8])>) -> Result<usize> {
        let size = match window {
            Some((_, bytes)) => bytes.len(),
            None => self.checked_size(info)?,
        };
        if size % size_of::<T>() != 0 || is_framed(info.dtype()) {
            let (name, dtype) = (info.name(), info.dtype());
            return Err(Error::invalid(format!(
                "variable `{name}` is {dtype}, which does not fit into {}",
                T::DTYPE
            )));
        }
        Ok(size / size_of::<T>())
    }

    /// Checks the bytes of a variable without keeping them, a large one on all cores. Needs 256 KiB for each of them,
    /// the whole payload for strings, and the whole variable for a partitioned one.
    ///
    /// # Errors
    /// As [`read_into`](Self::read_into).
    pub fn verify(&self, info: &VariableInfo) -> Result<()> {
        self.verify_by(info, self.limits.threads())
    }

    pub(super) fn verify_by(&self, info: &VariableInfo, threads: usize) -> Result<()> {
        self.checked_size(info)?;
        match (info.pieces().is_empty(), is_framed(info.dtype())) {
            (true, true) => self.source.payload(info).map(drop),
            (true, false) => self.source.verify(info, threads),
            (false, true) => self.read_strings(info.key()).map(drop),
            (false, false) => self.read_bytes(info.key()).map(drop),
        }
    }

    pub(super) fn check_len(&self, info: &VariableInfo, len: usize) -> Result<()> {
        if len as u64 == info.size() {
            return Ok(());
        }
        Err(Error::WrongLength {
            name: info.name().into_owned(),
            dtype: info.dtype(),
            shape: info.shape().clone(),
            expected: info.size(),
            got: len as u64,
        })
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

    /// The size of a variable in bytes, after its data files were seen to hold that much: safe to allocate.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], and those of opening the data file: [`Error::ShardMissing`],
    /// [`Error::ShardTruncated`].
    pub fn checked_size(&self, info: &VariableInfo) -> Result<usize> {
        let size = check_size(self.index_path(), info.size(), self.limits.tensor_bytes())?;
        if info.pieces().is_empty() {
            self.source.file_len(info)?;
            return Ok(size);
        }
        let region = self.region(info, &Slice::full(info.shape().rank()))?;
        self.checked_region(info, &region)
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.variables.binary_search_by(|info| info.key().cmp(key)).ok()
    }

    /// As [`variable`](Self::variable), without looking for near names.
    pub(crate) fn lookup(&self, name: &[u8]) -> Result<Option<&VariableInfo>> {
        let found = |key: &[u8]| self.position(key).and_then(|at| self.variables.get(at));
        if let Some(info) = found(name) {
            return Ok(Some(info));
        }
        self.check_fault(name)?;
        let (Some(names), Ok(text)) = (&self.names, std::str::from_utf8(name)) else {
            return Ok(None);
        };
        let Some(key) = names.key_of(self, text)? else {
            return Ok(None);
        };
        self.check_fault(key.as_bytes())?;
        Ok(found(key.as_bytes()))
    }

    /// Fails for a variable whose entry is invalid.
    fn check_fault(&self, key: &[u8]) -> Result<()> {
        let at = self.faults.binary_search_by(|(faulty, _)| faulty.as_ref().cmp(key));
        match at.ok().and_then(|at| self.faults.get(at)) {
            None => Ok(()),
            Some((_, fault)) => Err(Error::CorruptEntry {
                path: self.index_path(),
                name: String::from_utf8_lossy(key).into_owned(),
                fault: fault.clone(),
            }),
        }
    }

    pub(super) fn check_dtype<T: Element>(&self, info: &VariableInfo) -> Result<()> {
        match info.dtype() == T::DTYPE {
            true => Ok(()),
            false => Err(self.dtype_mismatch(info, T::DTYPE)),
        }
    }

    fn dtype_mismatch(&self, info: &VariableInfo, requested: DType) -> Error {
        let (prefix, name) = (self.prefix(), info.name().into_owned());
        Error::DtypeMismatch {
            prefix,
            name,
            stored: info.dtype(),
            requested,
        }
    }

    fn read_elements<T: Element>(
        &self,
        info: &VariableInfo,
        size: usize,
        read: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<Vec<T>> {
        self.check_dtype::<T>(info)?;
        let mut values: Vec<T> = zeroed(size / size_of::<T>());
        read(bytemuck::cast_slice_mut(&mut values))?;
        Ok(native(values))
    }

    /// The box that a slice is.
    fn region(&self, info: &VariableInfo, slice: &Slice) -> Result<Region> {
        slice.ranges_in(info.shape()).ok_or_else(|| {
            Error::invalid(format!(
                "slice {slice} does not lie within variable `{}` of shape {}",
                info.name(),
                info.shape()
            ))
        })
    }

    /// The bytes of a region, after the data files were seen to hold as many.
    fn checked_region(&self, info: &VariableInfo, region: &Region) -> Result<usize> {
        let element_size = info.dtype().size().unwrap_or(0) as u64;
        // Within a shape that was checked, so that it does not overflow.
        let count = region.iter().map(|range| range.len() as u64).product::<u64>();
        let declared = count.saturating_mul(element_size);
        let size = check_size(self.index_path(), declared, self.limits.tensor_bytes())?;
        match info.pieces().is_empty() {
            true => drop(self.source.file_len(info)?),
            false => {
                let pieces = join::touched(info.pieces(), info, region);
                join::check_size(self.source.as_ref(), &pieces, declared)
                    .map_err(|error| self.join_error(info, error))?;
            }
        }
        Ok(size)
    }

    fn read_region(&self, info: &VariableInfo, region: &Region, destination: &mut [u8], threads: usize) -> Result<()> {
        let Some(element_size) = info.dtype().size() else {
            return Err(Error::invalid(format!(
                "variable `{}` is {}, of which no slice can be read as bytes",
                info.name(),
                info.dtype()
            )));
        };
        let whole;
        let pieces = match info.pieces() {
            // Stored whole: one piece, which is everything.
            [] => {
                whole = [info.clone().into_piece(&info.name(), Slice::full(info.shape().rank()))];
                join::touched(&whole, info, region)
            }
            pieces => join::touched(pieces, info, region),
        };
        join::read_into(
            self.source.as_ref(),
            &pieces,
            region,
            element_size,
            destination,
            threads,
        )
        .map_err(|error| self.join_error(info, error))
    }

    fn join_error(&self, info: &VariableInfo, error: JoinError) -> Error {
        match error {
            JoinError::Read(error) => error,
            JoinError::Fault(fault) => self.corrupt_entry(info, fault),
        }
    }

    fn corrupt_entry(&self, info: &VariableInfo, fault: EntryFault) -> Error {
        Error::CorruptEntry {
            path: self.index_path(),
            name: info.name().into_owned(),
            fault,
        }
    }
}

/// Elements of this machine, of little-endian ones.
pub(super) fn native<T: Element>(mut values: Vec<T>) -> Vec<T> {
    endian::to_little(bytemuck::cast_slice_mut(&mut values), T::DTYPE);
    values
}
