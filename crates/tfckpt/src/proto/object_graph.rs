//! The graph of an object-based checkpoint, from `trackable_object_graph.proto`. For writing only: reading goes
//! through `objects::parse`, which needs no allocation for each of the many small messages of a hostile file.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrackableObjectGraph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) nodes: Vec<TrackableObject>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrackableObject {
    #[prost(message, repeated, tag = "1")]
    pub(crate) children: Vec<ObjectReference>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) attributes: Vec<SerializedTensor>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) slot_variables: Vec<SlotVariableReference>,
    #[prost(message, optional, tag = "5")]
    pub(crate) has_checkpoint_values: Option<BoolValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ObjectReference {
    #[prost(int32, tag = "1")]
    pub(crate) node_id: i32,
    #[prost(string, tag = "2")]
    pub(crate) local_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SerializedTensor {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) full_name: String,
    #[prost(string, tag = "3")]
    pub(crate) checkpoint_key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SlotVariableReference {
    #[prost(int32, tag = "1")]
    pub(crate) original_variable_node_id: i32,
    #[prost(string, tag = "2")]
    pub(crate) slot_name: String,
    #[prost(int32, tag = "3")]
    pub(crate) slot_variable_node_id: i32,
}

/// `google.protobuf.BoolValue`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(crate) value: bool,
}
