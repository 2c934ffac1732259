//! The messages of `.meta` files and SavedModels, from `meta_graph.proto`, `graph.proto`, `node_def.proto`,
//! `attr_value.proto`, `tensor.proto`, `variable.proto`, `saver.proto` and `saved_model.proto` of TensorFlow.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedModel {
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) meta_graphs: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetaGraphDef {
    #[prost(message, optional, tag = "1")]
    pub(crate) meta_info: Option<MetaInfoDef>,
    #[prost(message, optional, tag = "2")]
    pub(crate) graph: Option<GraphDef>,
    #[prost(message, optional, tag = "3")]
    pub(crate) saver: Option<SaverDef>,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) collections: BTreeMap<String, CollectionDef>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(crate) signatures: BTreeMap<String, SignatureDef>,
    /// The object graph, which is read from the checkpoint instead.
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) object_graph: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetaInfoDef {
    #[prost(string, repeated, tag = "4")]
    pub(crate) tags: Vec<String>,
    #[prost(string, tag = "5")]
    pub(crate) tensorflow_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphDef {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<NodeDef>,
    #[prost(message, optional, tag = "2")]
    pub(crate) library: Option<FunctionDefLibrary>,
    #[prost(message, optional, tag = "4")]
    pub(crate) versions: Option<super::VersionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FunctionDefLibrary {
    #[prost(message, repeated, tag = "1")]
    pub(crate) function: Vec<FunctionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FunctionDef {
    #[prost(message, optional, tag = "1")]
    pub(crate) signature: Option<OpDef>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) node: Vec<NodeDef>,
    /// By the name of an output: the tensor in the body that it is.
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) ret: BTreeMap<String, String>,
    /// By the name of a control output: the node that must be done.
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) control_ret: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OpDef {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) input_arg: Vec<ArgDef>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) output_arg: Vec<ArgDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ArgDef {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int32, tag = "3")]
    pub(crate) dtype: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeDef {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) op: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) input: Vec<String>,
    #[prost(string, tag = "4")]
    pub(crate) device: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attr: Vec<AttrEntry>,
}

/// An entry of the map of attributes. Maps are messages on the wire; a graph has so many small ones that a tree for
/// each would take many times its file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttrEntry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AttrValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttrValue {
    #[prost(oneof = "Attr", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub(crate) value: Option<Attr>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Attr {
    #[prost(message, tag = "1")]
    List(Box<ListValue>),
    #[prost(bytes, tag = "2")]
    S(Vec<u8>),
    #[prost(int64, tag = "3")]
    I(i64),
    #[prost(float, tag = "4")]
    F(f32),
    #[prost(bool, tag = "5")]
    B(bool),
    #[prost(int32, tag = "6")]
    Type(i32),
    #[prost(message, tag = "7")]
    Shape(GraphShape),
    #[prost(message, tag = "8")]
    Tensor(Box<TensorProto>),
    #[prost(string, tag = "9")]
    Placeholder(String),
    #[prost(message, tag = "10")]
    Func(Box<NameAttrList>),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListValue {
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) s: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) i: Vec<i64>,
    #[prost(float, repeated, tag = "4")]
    pub(crate) f: Vec<f32>,
    #[prost(bool, repeated, tag = "5")]
    pub(crate) b: Vec<bool>,
    #[prost(int32, repeated, tag = "6")]
    pub(crate) types: Vec<i32>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) shape: Vec<GraphShape>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) func: Vec<NameAttrList>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NameAttrList {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) attr: Vec<AttrEntry>,
}

/// A `TensorShapeProto`, which in graphs may leave dimensions or the rank open.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphShape {
    #[prost(message, repeated, tag = "2")]
    pub(crate) dim: Vec<super::Dim>,
    #[prost(bool, tag = "3")]
    pub(crate) unknown_rank: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int32, tag = "1")]
    pub(crate) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<GraphShape>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) content: Vec<u8>,
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
    #[prost(uint32, repeated, tag = "16")]
    pub(crate) uint32_val: Vec<u32>,
    #[prost(uint64, repeated, tag = "17")]
    pub(crate) uint64_val: Vec<u64>,
    #[prost(bytes = "vec", tag = "18")]
    pub(crate) float8_val: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SaverDef {
    #[prost(string, tag = "1")]
    pub(crate) filename_tensor_name: String,
    #[prost(string, tag = "2")]
    pub(crate) save_tensor_name: String,
    #[prost(string, tag = "3")]
    pub(crate) restore_op_name: String,
    #[prost(int32, tag = "4")]
    pub(crate) max_to_keep: i32,
    #[prost(bool, tag = "5")]
    pub(crate) sharded: bool,
    #[prost(float, tag = "6")]
    pub(crate) keep_checkpoint_every_n_hours: f32,
    #[prost(int32, tag = "7")]
    pub(crate) version: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CollectionDef {
    #[prost(oneof = "Collection", tags = "1, 2, 3, 4, 5")]
    pub(crate) kind: Option<Collection>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Collection {
    #[prost(message, tag = "1")]
    Nodes(StringList),
    #[prost(message, tag = "2")]
    Bytes(BytesList),
    #[prost(message, tag = "3")]
    Ints(Int64List),
    #[prost(message, tag = "4")]
    Floats(FloatList),
    #[prost(message, tag = "5")]
    Any(AnyList),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StringList {
    #[prost(string, repeated, tag = "1")]
    pub(crate) value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BytesList {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) value: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Int64List {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FloatList {
    #[prost(float, repeated, tag = "1")]
    pub(crate) value: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyList {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) value: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SignatureDef {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) inputs: BTreeMap<String, TensorInfo>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(crate) outputs: BTreeMap<String, TensorInfo>,
    #[prost(string, tag = "3")]
    pub(crate) method_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int32, tag = "2")]
    pub(crate) dtype: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) shape: Option<GraphShape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VariableDef {
    #[prost(string, tag = "1")]
    pub(crate) variable_name: String,
    #[prost(string, tag = "2")]
    pub(crate) initializer_name: String,
    #[prost(string, tag = "3")]
    pub(crate) snapshot_name: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) save_slice_info: Option<SaveSliceInfoDef>,
    #[prost(bool, tag = "5")]
    pub(crate) is_resource: bool,
    #[prost(string, tag = "6")]
    pub(crate) initial_value_name: String,
    #[prost(bool, tag = "7")]
    pub(crate) trainable: bool,
    #[prost(int32, tag = "8")]
    pub(crate) synchronization: i32,
    #[prost(int32, tag = "9")]
    pub(crate) aggregation: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SaveSliceInfoDef {
    #[prost(string, tag = "1")]
    pub(crate) full_name: String,
    #[prost(int64, repeated, tag = "2")]
    pub(crate) full_shape: Vec<i64>,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) var_offset: Vec<i64>,
    #[prost(int64, repeated, tag = "4")]
    pub(crate) var_shape: Vec<i64>,
}
