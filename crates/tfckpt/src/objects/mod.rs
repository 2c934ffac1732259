//! Object-based checkpoints: those of `tf.train.Checkpoint`, `CheckpointManager`, Keras and SavedModels.
//!
//! They are bundles as any other, with one more variable, `_CHECKPOINTABLE_OBJECT_GRAPH`: a string that tells which
//! Python object holds which, and under which key the value of each variable lies.
//!
//! Reading: [`ObjectGraph`], through which [`Checkpoint`](crate::Checkpoint) finds variables by the names that people
//! know, `conv1/kernel`.
//!
//! Source: `tensorflow/core/protobuf/trackable_object_graph.proto` and `tensorflow/python/checkpoint/`.

mod find;
mod graph;
mod names;
mod parse;
mod paths;
mod slots;
mod tables;

pub use find::FindFault;
pub use graph::{ObjectGraph, ObjectNode, ObjectVariable};
pub(crate) use names::ObjectNames;
pub use parse::GraphFault;
pub use slots::SlotVariable;

/// The key of the graph.
pub const OBJECT_GRAPH_KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";

/// The attribute that holds the value of a variable.
const VARIABLE_VALUE: &str = "VARIABLE_VALUE";

/// A local name as it stands in keys: `.` doubled, `/` as `.S`.
fn escape(name: &str) -> String {
    name.replace('.', "..").replace('/', ".S")
}
