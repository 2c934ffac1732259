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
//!
//! What BERT, T5, MobileNet and other networks are called by their authors is known: [`NameMap::bert`], [`albert`](NameMap::albert),
//! [`electra`](NameMap::electra), [`mobilebert`](NameMap::mobilebert), [`gpt2`](NameMap::gpt2), [`t5`](NameMap::t5),
//! [`mobilenet_v1`](NameMap::mobilenet_v1), [`resnet_v1`](NameMap::resnet_v1), [`efficientnet`](NameMap::efficientnet).
//!
//! A restore fills all of a model. Fine-tuning fills a part of it, perhaps under other names: an [`AssignmentMap`] or a
//! `WarmStart` says which, and makes such a plan out of all [`ModelVariable`]s.

mod assign;
mod convert;
mod hint;
mod layer;
mod leftovers;
mod mapping;
mod models;
mod names;
mod plan;
mod recipe;
mod report;

#[cfg(feature = "regex")]
pub use assign::WarmStart;
pub use assign::{Assign, AssignmentMap, ModelVariable, Purpose};
pub use convert::{Conversion, Fidelity};
pub use layer::{DenseOrder, ForgetBias, GruCell, Layer, LstmCell, RnnCell, Role, SeparablePart};
pub use leftovers::Leftovers;
pub use mapping::{Draft, Mapping, Uncertain};
pub use names::{Averages, Casts, Indices, NameMap, Rule};
pub use plan::{Filling, Plan, Step, Target};
pub use report::{LoadReport, Loaded, Mismatched, Missing, ModuleReport};

pub use crate::layout::{Layout, Recipe, RecipeFault, Source, Transform};
pub use recipe::{
    Compound, Gate, Ingredient, Made, Member, RecurrentLayer, RecurrentParameter, RecurrentPart, Refusal, Tied,
};
