//! Between a model and a checkpoint: names, layouts, and a plan that finds every problem before any byte is read.
//!
//! TensorFlow calls the weight of a dense layer `fc1/kernel` and stores it `[in, out]`; other frameworks call it
//! `fc1.weight` and may store it `[out, in]`. Which name and which layout is right follows from the kind of layer,
//! a [`Layer`], which is never guessed from shapes: a square kernel looks the same either way.
//!
//! ```text
//! parameter path + Layer + Role --NameMap--> name in the checkpoint, Layout
//! all of them, as Targets --Plan--> steps in file order, or one error with every problem in it
//! ```

mod layer;
mod names;
mod plan;
mod report;

pub use layer::{DenseOrder, Layer, Role};
pub use names::NameMap;
pub use plan::{Filling, Plan, Step, Target};
pub use report::{LoadReport, Loaded, Mismatched, Missing};

pub use crate::layout::{Layout, Transform};
