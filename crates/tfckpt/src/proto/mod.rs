//! The protocol buffer messages of a tensor bundle, written down by hand from `tensor_bundle.proto`,
//! `tensor_shape.proto`, `tensor_slice.proto` and `versions.proto` of TensorFlow. No code is generated at build time.
//!
//! Fields that we never use are left out: prost skips them, and a hostile file cannot make us store them.

pub(crate) mod meta_graph;
mod object_graph;
pub(crate) mod v1;

pub(crate) use object_graph::{
    BoolValue, ObjectReference, SerializedTensor, SlotVariableReference, TrackableObject, TrackableObjectGraph,
};

use prost::Message;

/// The value of the first key, `""`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BundleHeaderProto {
    #[prost(int32, tag = "1")]
    pub(crate) num_shards: i32,
    /// 0 little, 1 big.
    #[prost(int32, tag = "2")]
    pub(crate) endianness: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) version: Option<VersionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VersionDef {
    #[prost(int32, tag = "1")]
    pub(crate) producer: i32,
    #[prost(int32, tag = "2")]
    pub(crate) min_consumer: i32,
    #[prost(int32, repeated, tag = "3")]
    pub(crate) bad_consumers: Vec<i32>,
}

/// The value of every other key.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BundleEntryProto {
    #[prost(int32, tag = "1")]
    pub(crate) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShapeProto>,
    #[prost(int32, tag = "3")]
    pub(crate) shard_id: i32,
    #[prost(int64, tag = "4")]
    pub(crate) offset: i64,
    #[prost(int64, tag = "5")]
    pub(crate) size: i64,
    /// Masked.
    #[prost(fixed32, tag = "6")]
    pub(crate) crc32c: u32,
    #[prost(message, repeated, tag = "7")]
    pub(crate) slices: Vec<TensorSliceProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorShapeProto {
    #[prost(message, repeated, tag = "2")]
    pub(crate) dim: Vec<Dim>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Dim {
    #[prost(int64, tag = "1")]
    pub(crate) size: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorSliceProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) extent: Vec<Extent>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Extent {
    #[prost(int64, tag = "1")]
    pub(crate) start: i64,
    /// Absent: the whole dimension.
    #[prost(int64, optional, tag = "2")]
    pub(crate) length: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_bytes_of_tensorflow() {
        let header = BundleHeaderProto {
            num_shards: 1,
            endianness: 0,
            version: Some(VersionDef {
                producer: 1,
                ..Default::default()
            }),
        };
        assert_eq!(header.encode_to_vec(), [0x08, 0x01, 0x1a, 0x02, 0x08, 0x01]);
    }

    #[test]
    fn a_scalar_entry_keeps_its_empty_shape() {
        let entry = BundleEntryProto {
            dtype: 9,
            shape: Some(TensorShapeProto::default()),
            size: 8,
            ..Default::default()
        };
        assert_eq!(entry.encode_to_vec(), [0x08, 0x09, 0x12, 0x00, 0x28, 0x08]);
    }
}
