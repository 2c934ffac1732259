//! The V1 format of TensorFlow before 0.12: tables that hold the data themselves.
//!
//! ```text
//! ""         → SavedTensorSlices { meta: every variable's name, shape, dtype, slices }
//! slice key  → SavedTensorSlices { data: the slice's values, as a TensorProto }
//! ```
//! One file, or several `PREFIX-00000-of-00002` that are named together by the pattern `PREFIX-?????-of-00002`. There
//! are no checksums but those of the table's blocks.
//!
//! Source: `tensorflow/core/util/tensor_slice_{reader,writer}.cc`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use prost::Message;

use super::entry::{VariableInfo, parse_slice};
use super::header::over_limit;
use super::payload::Strings;
use super::source::{Fault, Opened, Source};
use super::v1_values::{self, MAX_RATIO};
use super::{Endianness, Format};
use crate::bytes::slice_key;
use crate::dtype::DType;
use crate::error::{EntryFault, Error, Result, TableError};
use crate::io::{Blank, Storage};
use crate::limits::Limits;
use crate::proto::v1::{SavedSliceMeta, SavedTensorSlices};
use crate::shape::Shape;
use crate::table::{FileTable, FileTableError};

/// Whether a name matches a pattern in which `?` stands for any one character.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut name = name.chars();
    let fits = pattern.chars().all(|p| name.next().is_some_and(|c| p == '?' || p == c));
    fits && name.next().is_none()
}

/// Reads the lists of variables of these files.
pub(super) fn open(storage: &Arc<dyn Storage>, names: &[String], limits: &Limits) -> Result<Opened> {
    let mut collected = Collected::default();
    let mut tables = Vec::with_capacity(names.len());
    for (file, name) in names.iter().enumerate() {
        let path = storage.path(name);
        let opened = storage.open(name).map_err(|error| Error::io("open", &path, error))?;
        let table = FileTable::open(opened).map_err(|error| unreadable(path.clone(), error))?;
        let first = table.first().map_err(|error| unreadable(path.clone(), error))?;
        let meta = first
            .filter(|(key, _)| key.is_empty())
            .and_then(|(_, value)| SavedTensorSlices::decode(value.as_slice()).ok()?.meta);
        let meta = meta.ok_or_else(|| Error::CorruptIndex {
            path: path.clone(),
            fault: TableError::NoHeader {
                reason: "no list of variables of the V1 format",
            },
        })?;
        if meta.versions.is_some_and(|versions| versions.min_consumer > 1) {
            let what = "it needs a reader of a newer version of the V1 format".to_owned();
            return Err(Error::Unsupported { path, what });
        }
        for tensor in meta.tensor {
            if let Some((what, value, limit)) = over_limit(&tensor.name, collected.variables.len(), limits) {
                return Err(Error::LimitExceeded {
                    path,
                    what,
                    value,
                    limit,
                });
            }
            collected.add(&tensor, u32::try_from(file).unwrap_or(u32::MAX));
        }
        tables.push((path, table));
    }
    let (variables, faults, keys) = collected.finish();
    Ok(Opened {
        index_path: tables.first().map(|(path, _)| path.clone()).unwrap_or_default(),
        format: Format::V1,
        num_files: u32::try_from(tables.len()).unwrap_or(u32::MAX),
        endianness: Endianness::Little,
        variables,
        faults,
        source: Box::new(Tables { tables, keys }),
    })
}

/// A variable while the files that hold its slices are gone through.
struct Whole {
    dtype: DType,
    shape: Shape,
    pieces: Vec<super::entry::Piece>,
}

/// The keys of the records, by the names of the pieces.
type Keys = HashMap<Box<[u8]>, Vec<u8>>;

#[derive(Default)]
struct Collected {
    variables: BTreeMap<Vec<u8>, Result<Whole, EntryFault>>,
    keys: Keys,
}

impl Collected {
    fn add(&mut self, meta: &SavedSliceMeta, file: u32) {
        let found = self.variables.remove(&meta.name);
        let joined = match found {
            Some(Err(fault)) => Err(fault),
            Some(Ok(whole)) => self.extended(Some(whole), meta, file),
            None => self.extended(None, meta, file),
        };
        self.variables.insert(meta.name.clone(), joined);
    }

    fn extended(&mut self, whole: Option<Whole>, meta: &SavedSliceMeta, file: u32) -> Result<Whole, EntryFault> {
        let dims: Vec<i64> = meta
            .shape
            .iter()
            .flat_map(|shape| &shape.dim)
            .map(|dim| dim.size)
            .collect();
        let shape = Shape::from_file(&dims).ok_or(EntryFault::BadShape(dims))?;
        let dtype = DType::from_number(meta.dtype).ok_or(EntryFault::UnknownDtype(meta.dtype))?;
        let mut whole = whole.unwrap_or(Whole {
            dtype,
            shape: shape.clone(),
            pieces: Vec::new(),
        });
        let name = String::from_utf8_lossy(&meta.name);
        for proto in &meta.slice {
            let slice = parse_slice(proto, &whole.shape)?;
            let part = slice
                .shape_in(&whole.shape)
                .filter(|_| whole.dtype == dtype && whole.shape == shape);
            let part = part.ok_or_else(|| EntryFault::BadSlice {
                slice: slice.to_string(),
            })?;
            let key = slice_key(&meta.name, &slice.key_extents());
            let piece = VariableInfo::record(&name, dtype, part, file, slice);
            self.keys.insert(piece.info.key().into(), key);
            whole.pieces.push(piece);
        }
        Ok(whole)
    }

    fn finish(self) -> (Vec<VariableInfo>, Vec<Fault>, Keys) {
        let (mut variables, mut faults) = (Vec::new(), Vec::new());
        for (name, whole) in self.variables {
            match whole {
                Ok(whole) => variables.push(VariableInfo::partitioned(&name, whole.dtype, whole.shape, whole.pieces)),
                Err(fault) => faults.push((name.into(), fault)),
            }
        }
        (variables, faults, self.keys)
    }
}

fn unreadable(path: PathBuf, error: FileTableError) -> Error {
    match error {
        FileTableError::Table(fault) => Error::CorruptIndex { path, fault },
        FileTableError::Io(error) => Error::io("read", path, error),
    }
}

/// The files of a V1 checkpoint.
#[derive(Debug)]
struct Tables {
    tables: Vec<(PathBuf, FileTable)>,
    keys: Keys,
}

impl Source for Tables {
    fn file_len(&self, info: &VariableInfo) -> Result<u64> {
        let (_, table) = self.table(info)?;
        Ok(table.len())
    }

    fn read_into(&self, info: &VariableInfo, destination: Blank<'_>, _: usize) -> Result<()> {
        destination.copy_from(&self.bytes(info)?);
        Ok(())
    }

    fn for_each_chunk(&self, info: &VariableInfo, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        sink(&self.bytes(info)?);
        Ok(())
    }

    fn verify(&self, info: &VariableInfo, _: usize) -> Result<()> {
        self.bytes(info).map(drop)
    }

    fn strings(&self, info: &VariableInfo) -> Result<Strings> {
        let values = self.record(info)?;
        match values.string_val.len() as u64 == info.shape().element_count().unwrap_or(u64::MAX) {
            true => Ok(values.string_val.into_iter().collect()),
            false => Err(self.corrupt(info, "the record has another number of strings")),
        }
    }

    fn payload(&self, info: &VariableInfo) -> Result<Vec<u8>> {
        Err(self.corrupt(info, "the V1 format cannot hold it"))
    }

    fn path(&self, file: u32) -> PathBuf {
        let table = self.tables.get(file as usize);
        table.map(|(path, _)| path.clone()).unwrap_or_default()
    }
}

impl Tables {
    fn table(&self, info: &VariableInfo) -> Result<&(PathBuf, FileTable)> {
        let table = self.tables.get(info.shard() as usize);
        table.ok_or_else(|| self.corrupt(info, "its file was not opened"))
    }

    /// The values of one record, as they are stored.
    fn record(&self, info: &VariableInfo) -> Result<crate::proto::v1::Values> {
        let (path, table) = self.table(info)?;
        let key = self.keys.get(info.key()).map(Vec::as_slice).unwrap_or_default();
        let value = table.get(key).map_err(|error| unreadable(path.clone(), error))?;
        let value = value.ok_or_else(|| Error::CorruptEntry {
            path: path.clone(),
            name: info.name().into_owned(),
            fault: EntryFault::MissingSlice {
                slice: info.name().into_owned(),
            },
        })?;
        let record = SavedTensorSlices::decode(value.as_slice())
            .ok()
            .and_then(|record| record.data);
        let record = record.ok_or_else(|| self.corrupt(info, "the record is no SavedTensorSlices with data"))?;
        Ok(record.data.unwrap_or_default())
    }

    /// The elements of one record, little-endian; as many as the shape requires.
    fn bytes(&self, info: &VariableInfo) -> Result<Vec<u8>> {
        let values = self.record(info)?;
        let bytes = v1_values::to_bytes(values, info.dtype()).ok_or_else(|| Error::Unsupported {
            path: self.path(info.shard()),
            what: format!(
                "variable `{}` is {}, which the V1 format cannot hold",
                info.name(),
                info.dtype()
            ),
        })?;
        match bytes.len() as u64 == info.size() {
            true => Ok(bytes),
            false => Err(self.corrupt(info, "the record has another number of values")),
        }
    }

    fn corrupt(&self, info: &VariableInfo, reason: &'static str) -> Error {
        Error::CorruptPayload {
            path: self.path(info.shard()),
            name: info.name().into_owned(),
            dtype: info.dtype(),
            offset: 0,
            reason,
        }
    }
}

// The join of slices allows a variable this many times the bytes of its files.
const _: () = assert!(MAX_RATIO <= super::join::MAX_RATIO);
