//! Reading a bundle: the index at once, the bytes of variables when they are asked for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::header::{Header, over_limit, read_index};
use super::payload::{PayloadFault, Strings, check_variants, is_framed, parse_strings};
use super::{VariableInfo, index_name, shard_name};
use crate::bytes::{Crc, endian};
use crate::dtype::DType;
use crate::error::{EntryFault, Error, Result, TableError};
use crate::io::{ReadAt, Storage};
use crate::limits::Limits;
use crate::suggest::nearest;
use crate::table::Table;
use crate::tensor::Element;

/// A tensor bundle, open for reading. Only its index is in memory; it can be shared between threads.
#[derive(Debug)]
pub struct Bundle {
    storage: Arc<dyn Storage>,
    prefix: String,
    limits: Limits,
    num_shards: u32,
    endianness: Endianness,
    /// Sorted by key.
    variables: Vec<VariableInfo>,
    /// Entries that cannot be true, sorted by key.
    faults: Vec<(Box<[u8]>, EntryFault)>,
    shards: Mutex<HashMap<u32, Arc<dyn ReadAt>>>,
    names: Option<Arc<dyn Names>>,
}

/// Names of variables other than their keys, known to a higher layer.
pub(crate) trait Names: std::fmt::Debug + Send + Sync {
    /// The key of the variable that `name`, which is no key itself, means.
    fn key_of(&self, bundle: &Bundle, name: &str) -> Result<Option<String>>;

    /// What people call the variable with this key.
    fn name_of(&self, bundle: &Bundle, key: &str) -> Option<String>;
}

/// The byte order of the elements in data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endianness {
    /// What every machine of today writes.
    Little,
    /// Written by a big-endian machine. Reading swaps, so that callers always get little-endian bytes.
    Big,
}

/// Bytes that are read and hashed in one go: they stay in the CPU's cache in between.
const CHUNK: usize = 256 * 1024;

impl Bundle {
    /// Reads and checks the index of `prefix` in `storage`. No data file is opened.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] without an index file, [`Error::CorruptIndex`] if it is damaged,
    /// [`Error::Unsupported`] if it needs a newer reader, [`Error::LimitExceeded`].
    pub fn open(storage: Arc<dyn Storage>, prefix: &str, limits: &Limits) -> Result<Self> {
        let name = index_name(prefix);
        let path = storage.path(&name);
        let file = read_index(storage.as_ref(), &name, prefix, limits)?;
        let corrupt = |fault| Error::CorruptIndex {
            path: path.clone(),
            fault,
        };

        let mut header = None;
        let mut variables: Vec<VariableInfo> = Vec::new();
        let mut faults = Vec::new();
        let mut exceeded = None;
        let result = Table::open(&file).and_then(|table| {
            table.for_each(|key, value| {
                let Some(num_shards) = header.as_ref().map(|header: &Header| header.num_shards) else {
                    header = Some(Header::parse(key, value)?);
                    return Ok(());
                };
                exceeded = exceeded.or(over_limit(key, variables.len() + faults.len(), limits));
                if exceeded.is_none() {
                    match VariableInfo::parse(key, value, num_shards) {
                        Ok(info) => variables.push(info),
                        Err(fault) => faults.push((key.into(), fault)),
                    }
                }
                Ok(())
            })
        });
        result.map_err(corrupt)?;
        let limit = |(what, value, limit)| Error::LimitExceeded {
            path: path.clone(),
            what,
            value,
            limit,
        };
        if let Some(exceeded) = exceeded {
            return Err(limit(exceeded));
        }
        let header = header.ok_or(corrupt(TableError::NoHeader {
            reason: "the table is empty",
        }))?;
        if let Some(what) = header.unreadable {
            return Err(Error::Unsupported { path, what });
        }
        if header.num_shards > limits.shards() {
            return Err(limit((
                "the number of data files",
                header.num_shards.into(),
                limits.shards().into(),
            )));
        }
        // Slices of partitioned variables are entries of their own, under keys that start with a zero byte.
        if variables.iter().any(|info| info.slices() > 0) {
            variables.retain(|info| info.key().first() != Some(&0));
        }
        Ok(Bundle {
            storage,
            prefix: prefix.to_owned(),
            limits: limits.clone(),
            num_shards: header.num_shards,
            endianness: header.endianness,
            variables,
            faults,
            shards: Mutex::default(),
            names: None,
        })
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

    /// The path of the index file.
    pub fn index_path(&self) -> PathBuf {
        self.storage.path(&index_name(&self.prefix))
    }

    /// The path of a data file.
    pub fn shard_path(&self, shard: u32) -> PathBuf {
        self.storage.path(&shard_name(&self.prefix, shard, self.num_shards))
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
        if info.dtype() != T::DTYPE {
            return Err(self.dtype_mismatch(info, T::DTYPE));
        }
        let elements = self.checked_size(info)? / size_of::<T>();
        let mut values = vec![T::zeroed(); elements];
        let bytes = bytemuck::cast_slice_mut(&mut values);
        self.read_into(info, bytes)?;
        endian::to_little(bytes, T::DTYPE);
        Ok(values)
    }

    /// The bytes of a variable: little-endian elements, row-major. For `string` and `variant` the payload as it is
    /// stored, lengths and checksums included.
    ///
    /// # Errors
    /// As [`variable`](Self::variable) and [`read_into`](Self::read_into).
    pub fn read_bytes(&self, name: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let info = self.variable(name)?;
        let mut bytes = vec![0; self.checked_size(info)?];
        self.read_into(info, &mut bytes)?;
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
        let mut payload = vec![0; self.checked_size(info)?];
        self.read_payload(info, &mut payload)?;
        let layout = self.parse_strings(info, &payload)?;
        Ok(layout.into_strings(payload))
    }

    /// Fills `destination` with the bytes of a variable, as [`read_bytes`](Self::read_bytes) gives them: one copy,
    /// straight from the file, hashed on the way.
    ///
    /// # Errors
    /// [`Error::WrongLength`] if the destination has another length, [`Error::ShardMissing`],
    /// [`Error::ShardTruncated`], [`Error::Checksum`], [`Error::CorruptPayload`], [`Error::LimitExceeded`],
    /// [`Error::Unsupported`] for a partitioned variable. After an error the destination holds anything.
    pub fn read_into(&self, info: &VariableInfo, destination: &mut [u8]) -> Result<()> {
        if destination.len() as u64 != info.size() {
            return Err(Error::WrongLength {
                name: info.name().into_owned(),
                dtype: info.dtype(),
                shape: info.shape().clone(),
                expected: info.size(),
                got: destination.len() as u64,
            });
        }
        if is_framed(info.dtype()) {
            self.read_payload(info, destination)?;
            return self.check_payload(info, destination);
        }
        let shard = self.shard_for(info)?;
        let mut crc = Crc::default();
        let mut offset = info.offset();
        for chunk in destination.chunks_mut(CHUNK) {
            self.read_at(info, shard.as_ref(), chunk, offset)?;
            crc.extend(chunk);
            offset += chunk.len() as u64;
        }
        self.compare(info, crc)?;
        if self.endianness == Endianness::Big {
            endian::swap(destination, info.dtype());
        }
        Ok(())
    }

    /// Checks the bytes of a variable without keeping them. Needs 256 KiB for variables of any size, and the whole
    /// payload for strings.
    ///
    /// # Errors
    /// As [`read_into`](Self::read_into).
    pub fn verify(&self, info: &VariableInfo) -> Result<()> {
        let len = self.checked_size(info)?;
        if is_framed(info.dtype()) {
            let mut payload = vec![0; len];
            self.read_payload(info, &mut payload)?;
            return self.check_payload(info, &payload);
        }
        let shard = self.shard_for(info)?;
        let mut buffer = vec![0; len.min(CHUNK)];
        let mut crc = Crc::default();
        let (mut offset, end) = (info.offset(), info.offset() + info.size());
        while offset < end {
            let n = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
            let chunk = buffer.get_mut(..n).unwrap_or_default();
            self.read_at(info, shard.as_ref(), chunk, offset)?;
            crc.extend(chunk);
            offset += n as u64;
        }
        self.compare(info, crc)
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
        match self.faults.iter().find(|(faulty, _)| faulty.as_ref() == key) {
            None => Ok(()),
            Some((_, fault)) => Err(Error::CorruptEntry {
                path: self.index_path(),
                name: String::from_utf8_lossy(key).into_owned(),
                fault: fault.clone(),
            }),
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

    /// The size of a variable in bytes, after its data file was seen to hold that much: safe to allocate.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], and those of opening the data file: [`Error::ShardMissing`],
    /// [`Error::ShardTruncated`].
    pub fn checked_size(&self, info: &VariableInfo) -> Result<usize> {
        if info.size() > self.limits.tensor_bytes() {
            return Err(Error::LimitExceeded {
                path: self.index_path(),
                what: "the size of a variable",
                value: info.size(),
                limit: self.limits.tensor_bytes(),
            });
        }
        self.shard_for(info)?;
        usize::try_from(info.size()).map_err(|_| Error::LimitExceeded {
            path: self.index_path(),
            what: "the size of a variable",
            value: info.size(),
            limit: usize::MAX as u64,
        })
    }

    /// The data file of a variable, which is long enough to hold it.
    fn shard_for(&self, info: &VariableInfo) -> Result<Arc<dyn ReadAt>> {
        if info.slices() > 0 {
            let what = format!(
                "variable `{}` is partitioned into {} slices, which cannot be read yet",
                info.name(),
                info.slices()
            );
            return Err(Error::Unsupported {
                path: self.index_path(),
                what,
            });
        }
        let shard = self.shard(info)?;
        let file_len = shard
            .size()
            .map_err(|error| Error::io("read", self.shard_path(info.shard()), error))?;
        // TensorFlow does not look at the offset of a variable without bytes; neither do we.
        if info.size() > 0 && info.offset() + info.size() > file_len {
            return Err(self.truncated(info, file_len));
        }
        Ok(shard)
    }

    fn shard(&self, info: &VariableInfo) -> Result<Arc<dyn ReadAt>> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = shards.get(&info.shard()) {
            return Ok(shard.clone());
        }
        let name = shard_name(&self.prefix, info.shard(), self.num_shards);
        let shard = self.storage.open(&name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::ShardMissing {
                path: self.storage.path(&name),
                name: info.name().into_owned(),
            },
            _ => Error::io("open", self.storage.path(&name), error),
        })?;
        shards.insert(info.shard(), shard.clone());
        Ok(shard)
    }

    fn read_at(&self, info: &VariableInfo, shard: &dyn ReadAt, chunk: &mut [u8], offset: u64) -> Result<()> {
        shard.read_exact_at(chunk, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.truncated(info, shard.size().unwrap_or(0)),
            _ => Error::io("read", self.shard_path(info.shard()), error),
        })
    }

    fn truncated(&self, info: &VariableInfo, file_len: u64) -> Error {
        Error::ShardTruncated {
            path: self.shard_path(info.shard()),
            name: info.name().into_owned(),
            offset: info.offset(),
            size: info.size(),
            file_len,
        }
    }

    fn compare(&self, info: &VariableInfo, computed: Crc) -> Result<()> {
        if computed.value() == info.crc32c() {
            return Ok(());
        }
        Err(Error::Checksum {
            path: self.shard_path(info.shard()),
            name: info.name().into_owned(),
            offset: info.offset(),
            size: info.size(),
            stored: info.crc32c(),
            computed: computed.value(),
        })
    }

    fn read_payload(&self, info: &VariableInfo, payload: &mut [u8]) -> Result<()> {
        let shard = self.shard_for(info)?;
        self.read_at(info, shard.as_ref(), payload, info.offset())
    }

    fn check_payload(&self, info: &VariableInfo, payload: &[u8]) -> Result<()> {
        if info.dtype() == DType::String {
            return self.parse_strings(info, payload).map(drop);
        }
        if self.endianness == Endianness::Big {
            let what = "variants of a big-endian machine, which TensorFlow cannot read either".to_owned();
            return Err(Error::Unsupported {
                path: self.index_path(),
                what,
            });
        }
        let count = info.shape().element_count().unwrap_or(u64::MAX);
        let crc = check_variants(payload, count).map_err(|fault| self.corrupt_payload(info, fault))?;
        self.compare(info, crc)
    }

    fn parse_strings(&self, info: &VariableInfo, payload: &[u8]) -> Result<super::payload::StringsLayout> {
        let count = info.shape().element_count().unwrap_or(u64::MAX);
        let big = self.endianness == Endianness::Big;
        let layout = parse_strings(payload, count, big).map_err(|fault| self.corrupt_payload(info, fault))?;
        self.compare(info, layout.crc)?;
        Ok(layout)
    }

    fn corrupt_payload(&self, info: &VariableInfo, fault: PayloadFault) -> Error {
        Error::CorruptPayload {
            path: self.shard_path(info.shard()),
            name: info.name().into_owned(),
            dtype: info.dtype(),
            offset: info.offset() + fault.at as u64,
            reason: fault.reason,
        }
    }
}
