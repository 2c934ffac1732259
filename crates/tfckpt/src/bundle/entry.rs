//! What the index says of one variable, checked once so that later code never sees nonsense.

use std::borrow::Cow;
use std::sync::Arc;

use prost::Message;

use crate::bytes::{Crc, MaskedCrc};
use crate::dtype::DType;
use crate::error::EntryFault;
use crate::proto::{BundleEntryProto, TensorSliceProto};
use crate::shape::Shape;
use crate::slice::Slice;

/// One variable of a checkpoint, as the index describes it. Its bytes are not in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableInfo {
    key: Box<[u8]>,
    dtype: DType,
    shape: Shape,
    shard: u32,
    offset: u64,
    size: u64,
    /// None where there is no checksum of the bytes alone: in the V1 format, and for a partitioned variable.
    crc: Option<MaskedCrc>,
    /// The pieces of a partitioned variable; empty for one that is stored whole.
    pieces: Arc<[Piece]>,
}

/// One stored slice of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) slice: Slice,
    /// Where its bytes are. Its name is that of the variable and the slice, for messages.
    pub(super) info: VariableInfo,
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

    /// The bytes of its elements. For `string` and `variant`, whose elements have lengths of their own, the bytes in
    /// the data file; 0 if such a variable is partitioned or stored in the V1 format.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of the data file that holds it; 0 for a partitioned variable, whose slices are anywhere.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// Where it starts in its data file, in bytes; 0 for a partitioned variable and in the V1 format.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The CRC32C of its bytes, unmasked; `None` for a partitioned variable, whose slices have their own, and in the
    /// V1 format, which has checksums of blocks only.
    pub fn crc32c(&self) -> Option<u32> {
        self.crc.map(|crc| crc.unmasked().value())
    }

    /// The CRC32C of its bytes, for what has one.
    pub(super) fn crc(&self) -> Crc {
        self.crc.map(MaskedCrc::unmasked).unwrap_or_default()
    }

    /// The slices that a partitioned variable is stored in, in the order of the index; none for one that is stored
    /// whole.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = &Slice> {
        let partitioned = !matches!(&*self.pieces, [piece] if piece.slice.is_full(&self.shape));
        let pieces = if partitioned { &*self.pieces } else { &[] };
        pieces.iter().map(|piece| &piece.slice)
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// A variable that is stored in pieces.
    pub(super) fn partitioned(key: &[u8], dtype: DType, shape: Shape, pieces: Vec<Piece>) -> Self {
        let size = dtype.size().zip(shape.element_count());
        VariableInfo {
            key: key.into(),
            dtype,
            shard: 0,
            offset: 0,
            size: size.map_or(0, |(size, count)| count.saturating_mul(size as u64)),
            crc: None,
            shape,
            // The default shares one empty slice, where a conversion would allocate one for every variable.
            pieces: if pieces.is_empty() {
                Arc::default()
            } else {
                pieces.into()
            },
        }
    }

    /// This entry, as a piece of a variable.
    pub(super) fn into_piece(mut self, variable: &str, slice: Slice) -> Piece {
        self.key = format!("{variable}[{slice}]").into_bytes().into();
        Piece { slice, info: self }
    }

    /// One record of a V1 file.
    pub(super) fn record(variable: &str, dtype: DType, shape: Shape, file: u32, slice: Slice) -> Piece {
        let mut info = Self::partitioned(&[], dtype, shape, Vec::new());
        info.shard = file;
        info.into_piece(variable, slice)
    }

    /// Parses and checks an entry, and the slices that it lists.
    pub(super) fn parse(key: &[u8], value: &[u8], num_shards: u32) -> Result<(Self, Vec<Slice>), EntryFault> {
        let proto = BundleEntryProto::decode(value).map_err(|_| EntryFault::Unparsable)?;
        let dims: Vec<i64> = proto
            .shape
            .iter()
            .flat_map(|shape| &shape.dim)
            .map(|dim| dim.size)
            .collect();
        let shape = Shape::from_file(&dims).ok_or(EntryFault::BadShape(dims))?;
        let dtype = DType::from_number(proto.dtype).ok_or(EntryFault::UnknownDtype(proto.dtype))?;
        let slices = proto
            .slices
            .iter()
            .map(|slice| parse_slice(slice, &shape))
            .collect::<Result<Vec<_>, _>>()?;
        let mut info = Self::partitioned(key, dtype, shape, Vec::new());
        // The plain entry of a partitioned variable points nowhere; whatever stands there is to be ignored.
        if slices.is_empty() {
            info.crc = Some(MaskedCrc(proto.crc32c));
            info.locate(&proto, num_shards)?;
        }
        Ok((info, slices))
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

/// A slice of a variable of this shape, checked.
pub(super) fn parse_slice(proto: &TensorSliceProto, whole: &Shape) -> Result<Slice, EntryFault> {
    let extents = proto.extent.iter().map(|extent| (extent.start, extent.length));
    let slice = Slice::from_file(extents).filter(|slice| slice.shape_in(whole).is_some());
    slice.ok_or_else(|| EntryFault::BadSlice {
        slice: format!("{:?}", proto.extent),
    })
}
