//! Candle models, optimizers and training runs, saved and restored as TensorFlow checkpoints. No TensorFlow needed.
//!
//! | to | use |
//! |---|---|
//! | build a model from any TensorFlow checkpoint | [`var_builder`], [`Import`] |
//! | train on from one | [`Import::init_from_checkpoint`] |
//! | fine-tune: fill a part of a model from another one's | [`Variables::init_from_checkpoint`], [`Run::init_from`] |
//! | save and restore a `VarMap` | [`Variables`] |
//! | get the variables of a graph whose code is lost | [`import_meta_graph`] |
//! | save a training run as it goes, and resume it | [`Run`], with [`Adam`], [`AdamW`] or another optimizer |
//! | train as TensorFlow or Keras does, number for number | [`Sgd`], [`Adam`], [`KerasAdamW`], [`RmsProp`], [`Adagrad`], [`Adadelta`], [`Adamax`], [`Nadam`], [`Lion`], [`Ftrl`] |
//! | draw random numbers that a resumed run draws again | [`dropout`], [`Dropout`], [`uniform`], [`normal`] |
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let directory = dir.path();
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{Module, Optimizer, VarMap};
//! use tfckpt_candle::{Adam, ParamsAdam, Run};
//!
//! let varmap = VarMap::new();
//! let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
//! let model = candle_nn::linear(4, 1, vb.pp("fc"))?;
//! let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;
//!
//! let mut run = Run::new(directory, &varmap, &optimizer).layers(&layers).every_steps(10);
//! for _ in run.restore_or_initialize()?..25 {
//!     let x = Tensor::ones((8, 4), DType::F32, &Device::Cpu)?;
//!     optimizer.backward_step(&model.forward(&x)?.sqr()?.mean_all()?)?;
//!     run.after_step()?;
//! }
//! run.save()?;
//!
//! // What TensorFlow will find there:
//! let checkpoint = tfckpt::Checkpoint::open(directory)?;
//! let names: Vec<_> = checkpoint.variables().map(|variable| variable.name().into_owned()).collect();
//! assert_eq!(names[..4], ["Adam/iterations", "beta1_power", "beta2_power", "fc/bias"]);
//! # Ok(())
//! # }
//! ```
//!
//! # The data path
//! Saving streams each variable from its own storage into the file, a transposed one in pieces of about 1 MiB.
//! Restoring plans everything, verifies everything, and then reads each variable straight into its own storage: all
//! that shares the storage sees the new values, and a restore that fails changes nothing.
//!
//! # Names and layouts
//! Candle calls all parameters `weight` and `bias`; what they are called in TensorFlow, and how they are laid out,
//! depends on the layer. See [`tfckpt::map::Layer`] for the table. The kind of a layer is told from the
//! initialisation that it asks for, which [`recording`] takes down; [`NameMap::with_layer`](tfckpt::map::NameMap)
//! declares what cannot be told, depthwise convolutions above all. LSTM and GRU layers are known by the names of their
//! parameters, and stored as Keras stores them: `docs/layers.md` has the other cells, and what is refused.
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

mod ahead;
mod assign;
mod bridge;
mod entries;
mod error;
mod import;
mod kinds;
mod layers;
mod lookup;
mod meta_graph;
mod optim;
mod random;
mod recurrent;
mod run;
mod variables;
mod ways;

pub use error::{Error, Result};
pub use import::{Import, var_builder};
pub use layers::{Layers, recording};
pub use meta_graph::{ImportedGraph, ImportedVariable, import_meta_graph};
pub use optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Changes, CheckpointedOptimizer, Clip, Ftrl, KerasAdamW, Lion, Nadam,
    OptimizerState, ParamsAdadelta, ParamsAdagrad, ParamsAdam, ParamsAdamax, ParamsFtrl, ParamsKerasAdamW, ParamsLion,
    ParamsNadam, ParamsRmsProp, ParamsSgd, RmsProp, Sgd, TfOptimizer,
};
pub use random::{Dropout, dropout, normal, uniform};
pub use run::Run;
/// How the state of optimizers is called.
pub use tfckpt::optimizers;
/// Parts of a training loop, which [`Run`] takes: epochs, random numbers, listeners, signals.
pub use tfckpt::training;
pub use variables::Variables;
