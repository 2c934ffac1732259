//! Burn models, optimizers and training runs, saved and restored as TensorFlow checkpoints.
//!
//! - [`TfCheckpointStore`]: `model.load_from(&mut store)` and `model.save_into(&mut store)`, as with burn-store's own.
//! - [`init_from_checkpoint`]: a part of a model begins with values of another one's checkpoint, for fine-tuning.
//! - [`TfCheckpoints`]: checkpoints and resume for `SupervisedTraining`, and for loops written by hand.
//! - [`optim`]: optimizers that compute exactly what TensorFlow's do.
//!
//! One line puts a learner's checkpoints under TensorFlow's roof, resume included:
//!
//! ```no_run
//! # use burn::{optim::ModuleOptimizer, train::{LearnerModel, LearningResult, SupervisedTraining}};
//! # use tfckpt_burn::{Hooked, TfCheckpoints};
//! # fn train<M: LearnerModel>(training: SupervisedTraining<Hooked<M>>, model: M, optimizer: ModuleOptimizer)
//! # -> tfckpt_burn::Result<LearningResult<M>> {
//! // Before: training.launch(Learner::new(model, optimizer, 1e-3))
//! let tf = TfCheckpoints::new("run").max_to_keep(5).every_steps(100);
//! tf.launch(training, model, optimizer, 1e-3)
//! # }
//! ```
//!
//! # In the checkpoint
//!
//! | variable | what |
//! |---|---|
//! | `fc1/kernel` | the parameter `fc1.weight` of a `Linear`; names and layouts follow [`tfckpt::map::NameMap`] |
//! | `fc1/kernel/Adam`, `fc1/kernel/Adam_1` | what its optimizer keeps for it, here the moments of Adam, under the names of [`optimizer_convention`](TfCheckpoints::optimizer_convention), laid out as the kernel is |
//! | `beta1_power`, `beta2_power`, `Adam/iterations` | how many steps the moments have seen, for TensorFlow and for Burn |
//! | `fc1/kernel/optimizer/FIELD` | what an optimizer keeps that TensorFlow does not have, or that means something else there |
//! | `lr_scheduler/KEY` | the state of the learning-rate scheduler |
//! | `global_step` | optimizer steps, int64 |
//! | `burn/epoch`, `burn/epoch_steps` | epochs completed, and batches used since then |
//! | `tfckpt/epochs`, `tfckpt/metrics/…` | the position in [`training::Epochs`], and [`training::Metrics`] |
//! | any other name | what [`TfCheckpoints::track_rng`] and [`TfCheckpoints::track_state`] keep |
//!
//! Layers are known by the types of Burn's modules. A depthwise convolution is a `Conv2d` to Burn and has to be
//! declared: `NameMap::keras().with_layer("block.dw", Layer::DepthwiseConv2d { multiplier: 1 })`. The gates of recurrent layers
//! become the kernels of Keras' cells, or of other cells that are declared: `docs/layers.md` has all of them.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::print_stdout
)]

mod assign;
mod carrier;
mod data;
mod dtype;
mod error;
mod hook;
mod inert;
mod joint;
mod learner;
mod module;
pub mod optim;
mod optimizer;
mod parts;
mod random;
mod record;
mod recurrent;
mod run;
mod scalars;
mod scheduler;
mod schema;
mod store;

pub use assign::init_from_checkpoint;
pub use error::{Error, Result};
pub use hook::Hooked;
pub use run::{Event, TfCheckpoints};
pub use schema::layers;
pub use store::TfCheckpointStore;
/// Parts of a training loop, which [`TfCheckpoints`] takes: epochs, random numbers, listeners, signals.
pub use tfckpt::training;
