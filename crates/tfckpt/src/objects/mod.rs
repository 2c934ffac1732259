//! Object-based checkpoints: those of `tf.train.Checkpoint`, `CheckpointManager`, Keras and SavedModels.
//!
//! They are bundles as any other, with one more variable, `_CHECKPOINTABLE_OBJECT_GRAPH`: a string that tells which
//! Python object holds which, and under which key the value of each variable lies.
//!
//! Reading: [`ObjectGraph`], through which [`Checkpoint`](crate::Checkpoint) finds variables by the names that people
//! know, `conv1/kernel`.
//!
//! Writing: [`ObjectLayout`] gives variables the places that a Python program has them at, alone or in a
//! [`Saver`](crate::Saver); [`ObjectTree`] below it writes any objects.
//!
//! Source: `tensorflow/core/protobuf/trackable_object_graph.proto` and `tensorflow/python/checkpoint/`.

mod find;
mod graph;
mod layout;
mod model;
mod names;
mod optimizer;
mod parse;
mod paths;
mod slots;
mod sort;
mod tables;
mod tree;

pub use find::FindFault;
pub use graph::{ObjectGraph, ObjectNode, ObjectVariable};
pub use layout::ObjectLayout;
pub(crate) use names::ObjectNames;
pub use optimizer::ObjectOptimizer;
pub use parse::GraphFault;
pub use slots::SlotVariable;
pub use tree::{ObjectId, ObjectTree};

/// The key of the graph.
pub const OBJECT_GRAPH_KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";

/// The attribute that holds the value of a variable.
const VARIABLE_VALUE: &str = "VARIABLE_VALUE";

/// A local name as it stands in keys: `.` doubled, `/` as `.S`.
fn escape(name: &str) -> String {
    name.replace('.', "..").replace('/', ".S")
}
