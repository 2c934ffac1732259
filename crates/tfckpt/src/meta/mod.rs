//! `.meta` files: the graph beside a checkpoint, with which TensorFlow restores it without the code of the network.
//!
//! Source: `tensorflow/core/protobuf/meta_graph.proto`, and `tensorflow/python/framework/meta_graph.py` for what
//! `import_meta_graph` makes of it.

mod attr;
mod functions;
mod nodes;
mod prescan;
mod reader;
mod variables;
mod writer;

pub use attr::{AttrValue, Tensor};
pub use functions::Function;
pub use reader::{Collection, MetaGraph, Node, SaverInfo, Signature, TensorInfo};
pub use variables::GraphVariable;
pub use writer::VariableKind;
pub(crate) use writer::{GraphSpec, MetaGraphWriter};

/// The name of a prefix's meta graph.
pub(crate) fn meta_name(prefix: &str) -> String {
    format!("{prefix}.meta")
}
