//! The index file as bytes, and its first entry.

use prost::Message;

use super::reader::Endianness;
use crate::error::{Error, Result, TableError};
use crate::io::Storage;
use crate::limits::Limits;
use crate::proto::BundleHeaderProto;

/// The version of the format that we read and write: `kTensorBundleVersion` of TensorFlow.
const CONSUMER_VERSION: i32 = 1;

/// What the header says, checked.
pub(super) struct Header {
    pub(super) num_shards: u32,
    pub(super) endianness: Endianness,
    /// Why a reader of our version must not go on.
    pub(super) unreadable: Option<String>,
}

impl Header {
    pub(super) fn parse(key: &[u8], value: &[u8]) -> Result<Self, TableError> {
        if !key.is_empty() {
            return Err(TableError::NoHeader {
                reason: "its key is not empty",
            });
        }
        let proto = BundleHeaderProto::decode(value).map_err(|_| TableError::NoHeader {
            reason: "not a BundleHeaderProto",
        })?;
        let num_shards = u32::try_from(proto.num_shards).ok().filter(|&shards| shards > 0);
        let version = proto.version.unwrap_or_default();
        let unreadable = if version.min_consumer > CONSUMER_VERSION {
            Some(format!(
                "it needs a reader of format version {}, this is version 1: upgrade",
                version.min_consumer
            ))
        } else if version.bad_consumers.contains(&CONSUMER_VERSION) {
            Some("its writer says that readers of format version 1 misread it: upgrade".to_owned())
        } else {
            None
        };
        Ok(Header {
            num_shards: num_shards.ok_or(TableError::NoHeader {
                reason: "it declares no data files",
            })?,
            // TensorFlow takes unknown values for little, too.
            endianness: if proto.endianness == 1 {
                Endianness::Big
            } else {
                Endianness::Little
            },
            unreadable,
        })
    }
}

/// What a reader must not take in: quantity, value, limit.
pub(super) fn over_limit(key: &[u8], variables: usize, limits: &Limits) -> Option<(&'static str, u64, u64)> {
    if key.len() as u64 > limits.name_bytes() {
        Some(("the length of a name", key.len() as u64, limits.name_bytes()))
    } else if variables as u64 >= limits.variables() {
        Some(("the number of variables", variables as u64 + 1, limits.variables()))
    } else {
        None
    }
}

/// The bytes of the index file.
pub(super) fn read_index(storage: &dyn Storage, name: &str, prefix: &str, limits: &Limits) -> Result<Vec<u8>> {
    let path = storage.path(name);
    let io = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NoCheckpoint {
            path: storage.path(prefix),
            reason: format!("`{name}` is not there"),
            candidates: Vec::new(),
        },
        _ => Error::io("read", path.clone(), error),
    };
    let file = storage.open(name).map_err(io)?;
    let len = file.size().map_err(io)?;
    if len > limits.index_bytes() {
        return Err(Error::LimitExceeded {
            path,
            what: "the index file",
            value: len,
            limit: limits.index_bytes(),
        });
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0).map_err(io)?;
    Ok(bytes)
}
