//! Writing a bundle in one pass: data first, index last, nothing visible before it is whole.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use prost::Message;

use super::payload::encode_strings;
use super::{index_name, shard_name};
use crate::bytes::Crc;
use crate::dtype::DType;
use crate::error::{BoxError, Error, Result};
use crate::io::{Durability, NewFile, Storage};
use crate::limits::Limits;
use crate::proto::{BundleEntryProto, BundleHeaderProto, Dim, TensorShapeProto, VersionDef};
use crate::table::TableWriter;
use crate::tensor::{Payload, Variable};

/// Writes a tensor bundle of one data file. Variables may come in any order; the data file keeps it, and the index
/// is sorted. Dropped before [`finish`](Self::finish), it leaves nothing behind.
///
/// Given the variables in the order of their names, both files are byte-identical to those of TensorFlow's
/// `tf.compat.v1.train.Saver`.
#[derive(Debug)]
pub struct BundleWriter {
    storage: Arc<dyn Storage>,
    prefix: String,
    durability: Durability,
    limits: Limits,
    data: BufWriter<Box<dyn NewFile>>,
    offset: u64,
    entries: BTreeMap<Vec<u8>, BundleEntryProto>,
}

/// What [`BundleWriter::finish`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The prefix, with its directory.
    pub prefix: PathBuf,
    /// The number of variables.
    pub variables: usize,
    /// Bytes of all data files.
    pub data_bytes: u64,
}

/// Small variables are gathered into writes of this size; larger pieces go to the file directly.
const BUFFER: usize = 1 << 20;

/// Bytes that are hashed and then written while they are in the CPU's cache.
const CHUNK: usize = 256 * 1024;

impl BundleWriter {
    /// Starts a bundle. An existing one of the same prefix is replaced when this one is finished.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be written.
    pub fn create(storage: Arc<dyn Storage>, prefix: &str) -> Result<Self> {
        let name = shard_name(prefix, 0, 1);
        let data = storage
            .create(&name)
            .map_err(|error| Error::io("create", storage.path(&name), error))?;
        Ok(BundleWriter {
            storage,
            prefix: prefix.to_owned(),
            durability: Durability::default(),
            limits: Limits::default(),
            data: BufWriter::with_capacity(BUFFER, data),
            offset: 0,
            entries: BTreeMap::new(),
        })
    }

    /// What [`finish`](Self::finish) waits for. Default: [`Durability::Synced`].
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The limits of the readers that this is written for. Default: [`Limits::default`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Appends a variable: its bytes are hashed and written in one pass.
    ///
    /// # Errors
    /// [`Error::DuplicateName`], [`Error::WrongLength`], [`Error::InvalidArgument`] for what the format cannot
    /// hold, [`Error::LimitExceeded`], [`Error::Source`] from a deferred variable, [`Error::Io`]. The bundle cannot
    /// be finished afterwards in any useful way: drop it.
    pub fn add(&mut self, variable: Variable<'_>) -> Result<()> {
        self.check(&variable)?;
        let name = variable.name().into_owned();
        let (dtype, shape) = (variable.dtype(), variable.shape().clone());
        let expected = variable.byte_len();
        let dim = shape
            .dims()
            .iter()
            .map(|&size| Dim {
                size: i64::try_from(size).unwrap_or(i64::MAX),
            })
            .collect();
        let key = variable.key().to_vec();

        let (size, crc) = match variable.payload {
            Payload::Strings(elements) => {
                let (payload, crc) = encode_strings(&elements);
                self.write(&payload)?;
                (payload.len() as u64, crc)
            }
            Payload::Bytes(bytes) => self.write_hashed(&bytes)?,
            Payload::Deferred(produce) => {
                let (mut size, mut crc) = (0, Crc::default());
                let mut failure = None;
                let produced = produce(&mut |bytes: &[u8]| {
                    self.write_extending(bytes, &mut crc).map_err(|error| {
                        failure = Some(error);
                        BoxError::from("the checkpoint could not be written")
                    })?;
                    size += bytes.len() as u64;
                    Ok(())
                });
                match (failure, produced) {
                    (Some(error), _) => return Err(error),
                    (None, Err(source)) => return Err(Error::Source { name, source }),
                    (None, Ok(())) => (size, crc),
                }
            }
        };
        if let Some(expected) = expected.filter(|&expected| expected != size) {
            return Err(Error::WrongLength {
                name,
                dtype,
                shape,
                expected,
                got: size,
            });
        }
        let signed =
            |value: u64| i64::try_from(value).map_err(|_| Error::invalid("a checkpoint of more than 2^63 bytes"));
        let entry = BundleEntryProto {
            dtype: dtype.number(),
            shape: Some(TensorShapeProto { dim }),
            shard_id: 0,
            offset: signed(self.offset)?,
            size: signed(size)?,
            crc32c: crc.masked().0,
            slices: Vec::new(),
        };
        self.offset += size;
        self.entries.insert(key, entry);
        Ok(())
    }

    /// Publishes the data file, then the index: from that moment the checkpoint exists.
    ///
    /// # Errors
    /// [`Error::Io`]. What was there under this prefix before is then untouched, unless the index alone failed.
    pub fn finish(self) -> Result<Written> {
        let BundleWriter {
            storage,
            prefix,
            durability,
            data,
            offset,
            entries,
            ..
        } = self;
        let data_name = shard_name(&prefix, 0, 1);
        let name = index_name(&prefix);
        let fails = |action, name: &str| {
            let path = storage.path(name);
            move |error| Error::io(action, path, error)
        };
        let sync = || match durability {
            Durability::Synced => storage.sync(),
            Durability::Buffered => Ok(()),
        };

        let data = data.into_inner().map_err(|error| error.into_error());
        data.and_then(|data| data.publish(durability))
            .map_err(fails("write", &data_name))?;
        // The data file's name must be on the device before the index can refer to it.
        sync().map_err(fails("sync", &data_name))?;

        let index = storage.create(&name).map_err(fails("create", &name))?;
        let mut table = TableWriter::new(BufWriter::with_capacity(BUFFER, index));
        let written = entries.len();
        let header = BundleHeaderProto {
            num_shards: 1,
            endianness: 0,
            version: Some(VersionDef {
                producer: 1,
                ..Default::default()
            }),
        };
        let index = (|| {
            table.add(b"", &header.encode_to_vec())?;
            entries
                .iter()
                .try_for_each(|(key, entry)| table.add(key, &entry.encode_to_vec()))?;
            table
                .finish()?
                .into_inner()
                .map_err(|error| error.into_error())?
                .publish(durability)
        })();
        index.map_err(fails("write", &name))?;
        sync().map_err(fails("sync", &name))?;
        Ok(Written {
            prefix: storage.path(&prefix),
            variables: written,
            data_bytes: offset,
        })
    }

    fn check(&self, variable: &Variable<'_>) -> Result<()> {
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
        if self.entries.contains_key(variable.key()) {
            return Err(Error::DuplicateName {
                name: name.into_owned(),
            });
        }
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
            Payload::Strings(_) => {}
            _ if variable.dtype().size().is_none() => {
                return Err(Error::invalid(format!(
                    "variable `{name}`: {} cannot be written from bytes",
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
        if self.entries.len() as u64 >= self.limits.variables() {
            return Err(limit(
                "the number of variables",
                self.entries.len() as u64 + 1,
                self.limits.variables(),
            ));
        }
        match variable.byte_len() {
            Some(bytes) if bytes > self.limits.tensor_bytes() => {
                Err(limit("the size of a variable", bytes, self.limits.tensor_bytes()))
            }
            _ => Ok(()),
        }
    }

    fn write_hashed(&mut self, bytes: &[u8]) -> Result<(u64, Crc)> {
        let mut crc = Crc::default();
        self.write_extending(bytes, &mut crc)?;
        Ok((bytes.len() as u64, crc))
    }

    fn write_extending(&mut self, bytes: &[u8], crc: &mut Crc) -> Result<()> {
        bytes.chunks(CHUNK).try_for_each(|chunk| {
            crc.extend(chunk);
            self.write(chunk)
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let path = || self.storage.path(&shard_name(&self.prefix, 0, 1));
        self.data
            .write_all(bytes)
            .map_err(|error| Error::io("write", path(), error))
    }
}
