//! The V2 format: an index file, and data files of raw bytes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::entry::{Piece, VariableInfo};
use super::header::{Header, over_limit, read_index};
use super::parallel;
use super::payload::{PayloadFault, Strings, StringsLayout, check_variants, parse_strings};
use super::source::{Fault, Opened, Raw, Source};
use super::{CHUNK, Endianness, Format, index_name, shard_name};
use crate::bytes::{Crc, endian, slice_key};
use crate::dtype::DType;
use crate::error::{EntryFault, Error, Result, TableError};
use crate::io::{Blank, ReadAt, Storage};
use crate::limits::Limits;
use crate::slice::Slice;
use crate::table::Table;

/// Reads and checks the index of `prefix`. No data file is opened.
pub(super) fn open(storage: Arc<dyn Storage>, prefix: &str, limits: &Limits) -> Result<Opened> {
    let name = index_name(prefix);
    let path = storage.path(&name);
    let file = read_index(storage.as_ref(), &name, prefix, limits)?;
    let corrupt = |fault| Error::CorruptIndex {
        path: path.clone(),
        fault,
    };

    let mut header = None;
    let mut entries = Entries::default();
    let mut exceeded = None;
    let result = Table::open(&file).and_then(|table| {
        table.for_each(|key, value| {
            let Some(num_shards) = header.as_ref().map(|header: &Header| header.num_shards) else {
                header = Some(Header::parse(key, value)?);
                return Ok(());
            };
            exceeded = exceeded.or(over_limit(key, entries.len(), limits));
            if exceeded.is_none() {
                entries.add(key, value, num_shards);
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
    let (variables, faults) = entries.joined();
    let source = Shards {
        storage,
        prefix: prefix.to_owned(),
        num_shards: header.num_shards,
        endianness: header.endianness,
        files: Mutex::default(),
    };
    Ok(Opened {
        index_path: path,
        format: Format::V2,
        num_files: header.num_shards,
        endianness: header.endianness,
        variables,
        faults,
        source: Box::new(source),
    })
}

/// The entries of an index, in the order of their keys.
#[derive(Default)]
struct Entries {
    infos: Vec<VariableInfo>,
    /// Which of them are partitioned, and into what.
    partitioned: Vec<(usize, Vec<Slice>)>,
    faults: Vec<Fault>,
}

impl Entries {
    fn len(&self) -> usize {
        self.infos.len() + self.faults.len()
    }

    fn add(&mut self, key: &[u8], value: &[u8], num_shards: u32) {
        match VariableInfo::parse(key, value, num_shards) {
            Ok((info, slices)) => {
                if !slices.is_empty() {
                    self.partitioned.push((self.infos.len(), slices));
                }
                self.infos.push(info);
            }
            Err(fault) => self.faults.push((key.into(), fault)),
        }
    }

    /// The variables: partitioned ones get their slices, which are then no variables of their own.
    fn joined(self) -> (Vec<VariableInfo>, Vec<Fault>) {
        let (mut infos, mut faults) = (self.infos, self.faults);
        let mut drop = vec![false; infos.len()];
        for (at, slices) in self.partitioned {
            let Some(whole) = infos.get(at).cloned() else { continue };
            let mut pieces = Vec::with_capacity(slices.len());
            let mut fault = None;
            for slice in slices {
                match piece(&infos, &whole, slice) {
                    Ok((index, piece)) => {
                        drop.get_mut(index).into_iter().for_each(|drop| *drop = true);
                        pieces.push(piece);
                    }
                    Err(wrong) => fault = fault.or(Some(wrong)),
                }
            }
            if let Some(fault) = fault {
                faults.push((whole.key().into(), fault));
                drop.get_mut(at).into_iter().for_each(|drop| *drop = true);
                continue;
            }
            let joined = VariableInfo::partitioned(whole.key(), whole.dtype(), whole.shape().clone(), pieces);
            infos.get_mut(at).into_iter().for_each(|info| *info = joined.clone());
        }
        let mut dropped = drop.into_iter();
        infos.retain(|_| dropped.next() != Some(true));
        faults.sort_by(|(a, _), (b, _)| a.cmp(b));
        (infos, faults)
    }
}

/// The entry of one slice, and its place among the sorted `infos`.
fn piece(infos: &[VariableInfo], whole: &VariableInfo, slice: Slice) -> Result<(usize, Piece), EntryFault> {
    let key = slice_key(whole.key(), &slice.key_extents());
    let at = infos.binary_search_by(|info| info.key().cmp(&key));
    let (at, info) = at.ok().and_then(|at| Some((at, infos.get(at)?))).ok_or_else(|| {
        let slice = slice.to_string();
        EntryFault::MissingSlice { slice }
    })?;
    let fits = info.dtype() == whole.dtype() && slice.shape_in(whole.shape()).as_ref() == Some(info.shape());
    match fits {
        true => Ok((at, info.clone().into_piece(&whole.name(), slice))),
        false => Err(EntryFault::BadSlice {
            slice: slice.to_string(),
        }),
    }
}

/// The data files of a prefix, opened when they are first needed.
#[derive(Debug)]
struct Shards {
    storage: Arc<dyn Storage>,
    prefix: String,
    num_shards: u32,
    endianness: Endianness,
    files: Mutex<HashMap<u32, Arc<dyn ReadAt>>>,
}

impl Source for Shards {
    fn file_len(&self, info: &VariableInfo) -> Result<u64> {
        Ok(self.open(info)?.1)
    }

    fn read_into(&self, info: &VariableInfo, destination: Blank<'_>, threads: usize) -> Result<()> {
        let (shard, _) = self.open(info)?;
        let threads = parallel::threads_for(destination.len(), threads);
        let part = parallel::shared_part_len(destination.len(), threads, CHUNK);
        let crc = parallel::hashed(destination.parts(part).collect(), threads, |(start, part)| {
            let (mut crc, len) = (Crc::default(), part.len());
            for (at, chunk) in part.parts(CHUNK) {
                let chunk = chunk.read_at(shard.as_ref(), info.offset() + (start + at) as u64);
                let chunk = chunk.map_err(|error| self.unread(info, shard.as_ref(), error))?;
                crc.extend(chunk);
                self.to_little(info, chunk);
            }
            Ok((crc, len))
        })?;
        self.check(info, crc)
    }

    fn for_each_chunk(&self, info: &VariableInfo, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        let (shard, _) = self.open(info)?;
        let mut crc = Crc::default();
        let (mut offset, end) = (info.offset(), info.offset() + info.size());
        let mut buffer = vec![0; usize::try_from(info.size()).unwrap_or(CHUNK).min(CHUNK)];
        while offset < end {
            let n = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
            let chunk = buffer.get_mut(..n).unwrap_or_default();
            self.read(info, shard.as_ref(), chunk, offset)?;
            crc.extend(chunk);
            self.to_little(info, chunk);
            sink(chunk);
            offset += n as u64;
        }
        self.check(info, crc)
    }

    fn verify(&self, info: &VariableInfo, threads: usize) -> Result<()> {
        let (shard, _) = self.open(info)?;
        let len = usize::try_from(info.size()).unwrap_or(usize::MAX);
        let threads = parallel::threads_for(len, threads);
        let parts = parallel::parts(len, parallel::shared_part_len(len, threads, CHUNK));
        let crc = parallel::hashed(parts, threads, |part| {
            let mut crc = Crc::default();
            let mut buffer = vec![0; part.len().min(CHUNK)];
            for start in part.clone().step_by(CHUNK) {
                let chunk = buffer.get_mut(..CHUNK.min(part.end - start)).unwrap_or_default();
                self.read(info, shard.as_ref(), chunk, info.offset() + start as u64)?;
                crc.extend(chunk);
            }
            Ok((crc, part.len()))
        })?;
        self.check(info, crc)
    }

    fn strings(&self, info: &VariableInfo) -> Result<Strings> {
        let payload = self.read_payload(info)?;
        let layout = self.parse_strings(info, &payload)?;
        Ok(layout.into_strings(payload))
    }

    fn payload(&self, info: &VariableInfo) -> Result<Vec<u8>> {
        let payload = self.read_payload(info)?;
        if info.dtype() == DType::String {
            self.parse_strings(info, &payload)?;
            return Ok(payload);
        }
        if self.endianness == Endianness::Big {
            let what = "variants of a big-endian machine, which TensorFlow cannot read either".to_owned();
            return Err(Error::Unsupported {
                path: self.path(info.shard()),
                what,
            });
        }
        let count = info.shape().element_count().unwrap_or(u64::MAX);
        let crc = check_variants(&payload, count).map_err(|fault| self.corrupt_payload(info, fault))?;
        self.check(info, crc)?;
        Ok(payload)
    }

    fn raw(&self) -> Option<&dyn Raw> {
        Some(self)
    }

    fn path(&self, shard: u32) -> PathBuf {
        self.storage.path(&shard_name(&self.prefix, shard, self.num_shards))
    }
}

impl Raw for Shards {
    fn read_at(&self, info: &VariableInfo, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.read(info, self.shard(info)?.as_ref(), buffer, offset)
    }

    fn check(&self, info: &VariableInfo, computed: Crc) -> Result<()> {
        let stored = info.crc();
        if computed.agrees_with(stored) {
            return Ok(());
        }
        Err(Error::Checksum {
            path: self.path(info.shard()),
            name: info.name().into_owned(),
            offset: info.offset(),
            size: info.size(),
            stored: stored.value(),
            computed: computed.value(),
        })
    }

    fn to_little(&self, info: &VariableInfo, bytes: &mut [u8]) {
        if self.endianness == Endianness::Big {
            endian::swap(bytes, info.dtype());
        }
    }
}

impl Shards {
    /// The data file that holds this, and its length, which is enough.
    fn open(&self, info: &VariableInfo) -> Result<(Arc<dyn ReadAt>, u64)> {
        let shard = self.shard(info)?;
        let file_len = shard
            .size()
            .map_err(|error| Error::io("read", self.path(info.shard()), error))?;
        // TensorFlow does not look at the offset of a variable without bytes; neither do we.
        if info.size() > 0 && info.offset() + info.size() > file_len {
            return Err(self.truncated(info, file_len));
        }
        Ok((shard, file_len))
    }

    fn shard(&self, info: &VariableInfo) -> Result<Arc<dyn ReadAt>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = files.get(&info.shard()) {
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
        files.insert(info.shard(), shard.clone());
        Ok(shard)
    }

    fn read(&self, info: &VariableInfo, shard: &dyn ReadAt, chunk: &mut [u8], offset: u64) -> Result<()> {
        shard
            .read_exact_at(chunk, offset)
            .map_err(|error| self.unread(info, shard, error))
    }

    fn unread(&self, info: &VariableInfo, shard: &dyn ReadAt, error: std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.truncated(info, shard.size().unwrap_or(0)),
            _ => Error::io("read", self.path(info.shard()), error),
        }
    }

    fn truncated(&self, info: &VariableInfo, file_len: u64) -> Error {
        Error::ShardTruncated {
            path: self.path(info.shard()),
            name: info.name().into_owned(),
            offset: info.offset(),
            size: info.size(),
            file_len,
        }
    }

    /// The payload of strings or variants, not checked yet. Allocates what the data file holds.
    fn read_payload(&self, info: &VariableInfo) -> Result<Vec<u8>> {
        let (shard, file_len) = self.open(info)?;
        // `open` has seen that the file holds as many.
        let mut payload = vec![0; usize::try_from(info.size().min(file_len)).unwrap_or(0)];
        self.read(info, shard.as_ref(), &mut payload, info.offset())?;
        Ok(payload)
    }

    fn parse_strings(&self, info: &VariableInfo, payload: &[u8]) -> Result<StringsLayout> {
        let count = info.shape().element_count().unwrap_or(u64::MAX);
        let big = self.endianness == Endianness::Big;
        let layout = parse_strings(payload, count, big).map_err(|fault| self.corrupt_payload(info, fault))?;
        self.check(info, layout.crc)?;
        Ok(layout)
    }

    fn corrupt_payload(&self, info: &VariableInfo, fault: PayloadFault) -> Error {
        Error::CorruptPayload {
            path: self.path(info.shard()),
            name: info.name().into_owned(),
            dtype: info.dtype(),
            offset: info.offset() + fault.at as u64,
            reason: fault.reason,
        }
    }
}
