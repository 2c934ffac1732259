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
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let run = dir.path();
//! use tfckpt::objects::ObjectLayout;
//! use tfckpt::{Checkpoint, Saver, Variable};
//!
//! // In Python: checkpoint = tf.train.Checkpoint(model=model, step=step), of which model.dense.kernel is a tf.Variable.
//! let kernel = [0.5f32, 1.5, 2.5, 3.5];
//! let mut saver = Saver::new(run).basename("ckpt").objects(ObjectLayout::module("model").step("step"));
//! saver.save([Variable::new("dense/kernel", [2, 2], &kernel)], 100)?;
//!
//! let checkpoint = Checkpoint::open(run)?;
//! assert_eq!(checkpoint.read::<f32>("dense/kernel")?, kernel);
//! assert_eq!(checkpoint.find("dense/kernel")?.name(), "model/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE");
//! # Ok(())
//! # }
//! ```
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
