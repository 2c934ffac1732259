//! Writing a bundle in one pass: data first, index last, nothing visible before it is whole.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::data::DataFiles;
use super::entries::{Entries, EntryId};
use super::index::{sync, write_index};
use super::jobs::{self, Content, Job};
use super::payload::{check_variants, encode_strings, parse_strings};
use super::shard_name;
use super::spec::Spec;
use crate::bytes::{Crc, slice_key};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::io::{Durability, Storage};
use crate::limits::Limits;
use crate::parallel::Slots;
use crate::proto::{BundleEntryProto, Dim, Extent, TensorShapeProto, TensorSliceProto};
use crate::shape::Shape;
use crate::slice::Slice;
use crate::tensor::{Payload, Variable, VariableParts};

/// Writes a tensor bundle. Variables may come in any order; the data files keep it, and the index is sorted. Dropped
/// before [`finish`](Self::finish), it leaves nothing behind.
///
/// The same variables in the same order give the same bytes. In the order of their names, both files are
/// byte-identical to those of TensorFlow's `tf.compat.v1.train.Saver`.
///
/// A partitioned variable is added slice by slice: [`Variable::slice_of`].
#[derive(Debug)]
pub struct BundleWriter {
    storage: Arc<dyn Storage>,
    prefix: String,
    durability: Durability,
    limits: Limits,
    max_shard_bytes: u64,
    threads: usize,
    data: DataFiles,
    entries: Entries,
}

/// What [`BundleWriter::finish`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The prefix, with its directory.
    pub prefix: PathBuf,
    /// The number of variables; each slice of a partitioned one counts.
    pub variables: usize,
    /// The number of data files.
    pub num_shards: u32,
    /// Bytes of all data files.
    pub data_bytes: u64,
}

impl BundleWriter {
    /// Starts a bundle. An existing one of the same prefix is replaced when this one is finished.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be written.
    pub fn create(storage: Arc<dyn Storage>, prefix: &str) -> Result<Self> {
        Ok(BundleWriter {
            data: DataFiles::create(storage.clone(), prefix, Durability::default())?,
            storage,
            prefix: prefix.to_owned(),
            durability: Durability::default(),
            limits: Limits::default(),
            max_shard_bytes: u64::MAX,
            threads: Limits::default().threads(),
            entries: Entries::default(),
        })
    }

    /// What [`finish`](Self::finish) waits for. Default: [`Durability::Synced`].
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self.data.set_durability(durability);
        self
    }

    /// The limits of the readers that this is written for. Default: [`Limits::default`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The most bytes of one data file: what does not fit goes into another one. A variable is never divided, so that
    /// a larger one has a file for itself. Default: no limit, and one file.
    #[must_use]
    pub fn with_max_shard_bytes(mut self, bytes: u64) -> Self {
        self.max_shard_bytes = bytes;
        self
    }

    /// The most threads that write. Default: one for each core.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Appends a variable: its bytes are hashed and written in one pass.
    ///
    /// # Errors
    /// As [`add_all`](Self::add_all).
    pub fn add(&mut self, variable: Variable<'_>) -> Result<()> {
        self.add_all([variable])
    }

    /// Appends variables, in this order, on all cores: the place of each follows from the lengths of those before it,
    /// so that no thread waits for another. Room is made for all of them first. Each thread needs about 1 MiB, and what
    /// a deferred variable takes to be produced.
    ///
    /// # Errors
    /// [`Error::DuplicateName`], [`Error::WrongLength`], [`Error::InvalidArgument`] for what the format cannot
    /// hold, [`Error::LimitExceeded`], [`Error::Source`] from a deferred or lent variable, [`Error::Io`]. The bundle
    /// cannot be finished afterwards in any useful way: drop it.
    pub fn add_all<'v>(&mut self, variables: impl IntoIterator<Item = Variable<'v>>) -> Result<()> {
        let variables = variables.into_iter();
        let (least, _) = variables.size_hint();
        let mut jobs: Vec<Job<'v>> = Vec::with_capacity(least);
        for variable in variables {
            let job = self.reserve(variable, jobs.len())?;
            jobs.push(job);
        }
        self.data.allocate()?;
        let entries = &mut self.entries;
        let enter = || {
            jobs.iter()
                .map(|job| enter(entries, job))
                .collect::<Result<Vec<EntryId>>>()
        };
        let (ids, crcs) = jobs::write_beside(&jobs, &self.data, self.threads, enter)?;
        for (id, crc) in ids.iter().zip(crcs) {
            if let Some(entry) = self.entries.entry_mut(id) {
                entry.crc32c = crc.masked().0;
            }
        }
        Ok(())
    }

    /// Gives a variable its place in a data file, behind those before it, of which so many are not in the index yet.
    fn reserve<'v>(&mut self, variable: Variable<'v>, waiting: usize) -> Result<Job<'v>> {
        self.check(&variable, waiting)?;
        let expected = variable.byte_len();
        let VariableParts {
            name,
            dtype,
            shape,
            part,
            transform,
            payload,
        } = variable.into_parts();
        let part = part.filter(|part| !part.1.is_full(&part.0));
        let mut spec = Spec {
            name,
            dtype,
            shape,
            size: expected.unwrap_or(0),
        };
        let moving = match transform {
            Some(transform) => transform.for_variable(&spec.name(), dtype, spec.size)?.map(Box::new),
            None => None,
        };
        let content = match payload {
            Payload::Strings(elements) => {
                let (payload, crc) = encode_strings(&elements);
                spec.size = payload.len() as u64;
                Content::Framed(Cow::Owned(payload), crc)
            }
            Payload::Bytes(bytes) if dtype.size().is_none() => {
                spec.size = bytes.len() as u64;
                let crc = framed(&spec, &bytes)?;
                Content::Framed(bytes, crc)
            }
            Payload::Bytes(bytes) => {
                spec.check_len(bytes.len() as u64)?;
                Content::Bytes(bytes, moving)
            }
            Payload::Lent(lent) => Content::Lent(lent, moving),
            Payload::Deferred(produce) => Content::Deferred(Slots::new([produce])),
        };
        let place = self.data.reserve(spec.size, self.max_shard_bytes)?;
        Ok(Job {
            spec,
            part,
            place,
            content,
        })
    }

    /// Publishes the data files, then the index: from that moment the checkpoint exists.
    ///
    /// # Errors
    /// [`Error::Io`]. What was there under this prefix before is then untouched, unless the index alone failed.
    pub fn finish(self) -> Result<Written> {
        let storage = self.storage.as_ref();
        let (num_shards, data_bytes) = self.data.publish()?;
        // The names of the data files must be on the device before the index can refer to them.
        sync(storage, self.durability)
            .map_err(|error| Error::io("sync", storage.path(&shard_name(&self.prefix, 0, num_shards)), error))?;
        write_index(storage, &self.prefix, num_shards, &self.entries, self.durability)?;
        Ok(Written {
            prefix: storage.path(&self.prefix),
            variables: self.entries.variables(),
            num_shards,
            data_bytes,
        })
    }

    /// Whether the format can hold a variable.
    fn check(&self, variable: &Variable<'_>, waiting: usize) -> Result<()> {
        let name = variable.name();
        let limit = |what, value, limit| Error::LimitExceeded {
            path: self.storage.path(&self.prefix),
            what,
            value,
            limit,
        };
        if variable.key().is_empty() {
            return Err(Error::invalid(
                "a variable needs a name: the empty one is the bundle's header",
            ));
        }
        check_slice(variable)?;
        let elements = variable
            .shape()
            .element_count()
            .filter(|_| variable.shape().is_storable());
        let elements = elements.ok_or_else(|| {
            let shape = variable.shape();
            Error::invalid(format!(
                "variable `{name}` cannot have shape {shape}: at most 254 dimensions and 2^63 elements can be stored"
            ))
        })?;
        match &variable.payload {
            Payload::Strings(strings) if strings.len() as u64 != elements => {
                return Err(Error::WrongLength {
                    name: name.into_owned(),
                    dtype: DType::String,
                    shape: variable.shape().clone(),
                    expected: elements,
                    got: strings.len() as u64,
                });
            }
            Payload::Deferred(_) | Payload::Lent(_) if variable.dtype().size().is_none() => {
                return Err(Error::invalid(format!(
                    "variable `{name}`: {} cannot be produced while it is written",
                    variable.dtype()
                )));
            }
            _ => {}
        }
        if variable.key().len() as u64 > self.limits.name_bytes() {
            return Err(limit(
                "the length of a name",
                variable.key().len() as u64,
                self.limits.name_bytes(),
            ));
        }
        let before = self.entries.len() as u64 + waiting as u64;
        if before >= self.limits.variables() {
            return Err(limit("the number of variables", before + 1, self.limits.variables()));
        }
        match variable.byte_len() {
            Some(bytes) if bytes > self.limits.tensor_bytes() => {
                Err(limit("the size of a variable", bytes, self.limits.tensor_bytes()))
            }
            _ => Ok(()),
        }
    }
}

/// Gives a variable that has a place in a data file one in the index: its own, and for the first slice of a partitioned one that
/// of the whole. The checksum is known when the bytes are written.
fn enter(entries: &mut Entries, job: &Job<'_>) -> Result<EntryId> {
    let (spec, place) = (&job.spec, job.place);
    let key = free_key(entries, job)?;
    if let Some(part) = &job.part {
        let (whole, slice) = part.as_ref();
        let slice = slice_proto(slice);
        match entries.get_mut(&spec.name) {
            Some(entry) => entry.slices.push(slice),
            None => drop(entries.insert(
                spec.name.clone(),
                BundleEntryProto {
                    dtype: spec.dtype.number(),
                    shape: Some(shape_proto(whole)),
                    slices: vec![slice],
                    ..Default::default()
                },
            )),
        }
    }
    let entry = BundleEntryProto {
        dtype: spec.dtype.number(),
        shape: Some(shape_proto(&spec.shape)),
        shard_id: i32::try_from(place.shard).unwrap_or(i32::MAX),
        offset: place.offset.cast_signed(),
        size: spec.size.cast_signed(),
        crc32c: 0,
        slices: Vec::new(),
    };
    Ok(entries.insert(key, entry))
}

/// The key that the bytes are stored under, if it is free.
fn free_key(entries: &Entries, job: &Job<'_>) -> Result<Vec<u8>> {
    let spec = &job.spec;
    let there = entries.get(&spec.name);
    let Some(part) = &job.part else {
        return match there {
            Some(_) => Err(Error::DuplicateName {
                name: spec.name().into_owned(),
            }),
            None => Ok(spec.name.clone()),
        };
    };
    let (whole, slice) = part.as_ref();
    let key = slice_key(&spec.name, &slice.key_extents());
    if there.is_some_and(|entry| entry.slices.is_empty()) || entries.get(&key).is_some() {
        let name = format!("{}[{slice}]", spec.name());
        return Err(Error::DuplicateName { name });
    }
    let differs = |entry: &BundleEntryProto| {
        entry.dtype != spec.dtype.number() || entry.shape.as_ref() != Some(&shape_proto(whole))
    };
    match there.is_some_and(differs) {
        true => Err(Error::invalid(format!(
            "slice {slice} of `{}`: all slices of a variable need the same dtype and the same shape of the whole",
            spec.name()
        ))),
        false => Ok(key),
    }
}

/// Whether a slice has the shape that its extents say.
fn check_slice(variable: &Variable<'_>) -> Result<()> {
    let Some((whole, slice)) = variable.part() else {
        return Ok(());
    };
    let fits = whole.is_storable() && slice.shape_in(whole).as_ref() == Some(variable.shape());
    match fits {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "slice {slice} of `{}`, whose shape is {whole}, cannot have shape {}",
            variable.name(),
            variable.shape()
        ))),
    }
}

/// The checksum of a payload that has a structure, if it has it.
fn framed(spec: &Spec, payload: &[u8]) -> Result<Crc> {
    let (name, dtype, shape) = (spec.name(), spec.dtype, &spec.shape);
    let count = shape.element_count().unwrap_or(u64::MAX);
    let crc = match dtype {
        DType::String => parse_strings(payload, count, false).map(|layout| layout.crc),
        DType::Variant => check_variants(payload, count),
        _ => return Err(Error::invalid(format!("variable `{name}`: {dtype} cannot be stored"))),
    };
    crc.map_err(|fault| {
        Error::invalid(format!(
            "variable `{name}`: the bytes are no {dtype} payload of shape {shape}: {} at byte {}",
            fault.reason, fault.at
        ))
    })
}

fn shape_proto(shape: &Shape) -> TensorShapeProto {
    let dim = |&size: &usize| Dim {
        size: i64::try_from(size).unwrap_or(i64::MAX),
    };
    TensorShapeProto {
        dim: shape.dims().iter().map(dim).collect(),
    }
}

fn slice_proto(slice: &Slice) -> TensorSliceProto {
    let extent = |(start, length): (i64, i64)| Extent {
        start,
        length: (length >= 0).then_some(length),
    };
    TensorSliceProto {
        extent: slice.key_extents().into_iter().map(extent).collect(),
    }
}
