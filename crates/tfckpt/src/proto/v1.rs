//! The messages of the V1 format, from `saved_tensor_slice.proto` and `tensor.proto` of TensorFlow.

use prost::Message;

use super::{TensorShapeProto, TensorSliceProto, VersionDef};

/// The value of every key: of the first one `meta`, of the others `data`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedTensorSlices {
    #[prost(message, optional, tag = "1")]
    pub(crate) meta: Option<SavedTensorSliceMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) data: Option<SavedSlice>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedTensorSliceMeta {
    #[prost(message, repeated, tag = "1")]
    pub(crate) tensor: Vec<SavedSliceMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) versions: Option<VersionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedSliceMeta {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) name: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShapeProto>,
    #[prost(int32, tag = "3")]
    pub(crate) dtype: i32,
    #[prost(message, repeated, tag = "4")]
    pub(crate) slice: Vec<TensorSliceProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedSlice {
    #[prost(message, optional, tag = "3")]
    pub(crate) data: Option<Values>,
}

/// A `TensorProto`, of which V1 files use the typed values alone.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Values {
    #[prost(float, repeated, tag = "5")]
    pub(crate) float_val: Vec<f32>,
    #[prost(double, repeated, tag = "6")]
    pub(crate) double_val: Vec<f64>,
    #[prost(int32, repeated, tag = "7")]
    pub(crate) int_val: Vec<i32>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(crate) string_val: Vec<Vec<u8>>,
    #[prost(float, repeated, tag = "9")]
    pub(crate) scomplex_val: Vec<f32>,
    #[prost(int64, repeated, tag = "10")]
    pub(crate) int64_val: Vec<i64>,
    #[prost(bool, repeated, tag = "11")]
    pub(crate) bool_val: Vec<bool>,
    #[prost(double, repeated, tag = "12")]
    pub(crate) dcomplex_val: Vec<f64>,
    #[prost(int32, repeated, tag = "13")]
    pub(crate) half_val: Vec<i32>,
}
