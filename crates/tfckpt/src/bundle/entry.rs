//! What the index says of one variable, checked once so that later code never sees nonsense.

use std::borrow::Cow;

use prost::Message;

use crate::bytes::MaskedCrc;
use crate::dtype::DType;
use crate::error::EntryFault;
use crate::proto::BundleEntryProto;
use crate::shape::Shape;

/// One variable of a checkpoint, as the index describes it. Its bytes are not in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableInfo {
    key: Box<[u8]>,
    dtype: DType,
    shape: Shape,
    shard: u32,
    offset: u64,
    size: u64,
    crc: MaskedCrc,
    slices: u32,
}

impl VariableInfo {
    /// The name, as text. Names are bytes in the format; what is not UTF-8 is replaced.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }

    /// The name, as the bytes that are stored.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The dtype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape; for a partitioned variable the full one.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Bytes in the data file; for a partitioned variable the sum of nothing, 0.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of the data file that holds it.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// Where it starts in its data file, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The CRC32C of its bytes, unmasked.
    pub fn crc32c(&self) -> u32 {
        self.crc.unmasked().value()
    }

    /// The number of slices that a partitioned variable is stored in; 0 for one that is stored whole.
    pub fn slices(&self) -> u32 {
        self.slices
    }

    /// Parses and checks an entry.
    pub(super) fn parse(key: &[u8], value: &[u8], num_shards: u32) -> Result<Self, EntryFault> {
        let proto = BundleEntryProto::decode(value).map_err(|_| EntryFault::Unparsable)?;
        let dims: Vec<i64> = proto
            .shape
            .iter()
            .flat_map(|shape| &shape.dim)
            .map(|dim| dim.size)
            .collect();
        let shape = Shape::from_file(&dims).ok_or(EntryFault::BadShape(dims))?;
        let dtype = DType::from_number(proto.dtype).ok_or(EntryFault::UnknownDtype(proto.dtype))?;
        let slices = u32::try_from(proto.slices.len()).unwrap_or(u32::MAX);
        let mut info = VariableInfo {
            key: key.into(),
            dtype,
            shape,
            shard: 0,
            offset: 0,
            size: 0,
            crc: MaskedCrc(proto.crc32c),
            slices,
        };
        // The plain entry of a partitioned variable points nowhere; whatever stands there is to be ignored.
        if slices == 0 {
            info.locate(&proto, num_shards)?;
        }
        Ok(info)
    }

    fn locate(&mut self, proto: &BundleEntryProto, num_shards: u32) -> Result<(), EntryFault> {
        let bad_shard = EntryFault::BadShard {
            shard: proto.shard_id,
            num_shards,
        };
        self.shard = u32::try_from(proto.shard_id)
            .ok()
            .filter(|&shard| shard < num_shards)
            .ok_or(bad_shard)?;
        let elements = self.shape.element_count().unwrap_or(u64::MAX);
        if let Some(element_size) = self.dtype.size() {
            let expected = elements.saturating_mul(element_size as u64);
            if u64::try_from(proto.size) != Ok(expected) {
                return Err(EntryFault::BadSize {
                    stored: proto.size,
                    expected,
                });
            }
        }
        let bad_size = EntryFault::BadSize {
            stored: proto.size,
            expected: elements,
        };
        self.size = u64::try_from(proto.size).map_err(|_| bad_size)?;
        self.offset = u64::try_from(proto.offset).map_err(|_| EntryFault::BadOffset(proto.offset))?;
        self.offset
            .checked_add(self.size)
            .ok_or(EntryFault::BadOffset(proto.offset))?;
        Ok(())
    }
}
