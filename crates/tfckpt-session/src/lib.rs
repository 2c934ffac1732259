//! TensorFlow graphs without the code of their networks: import a `.meta` file, a SavedModel or a frozen graph, run it, train
//! it on, and save it so that TensorFlow goes on with it. On [Candle](candle_core); no TensorFlow needed.
//!
//! | to | use |
//! |---|---|
//! | read a graph, and see what is in it | [`import_meta_graph`], [`Graph`] |
//! | give its variables values | [`Session::restore`], [`Session::initialize`] |
//! | compute any tensor of it | [`Session::run`], [`Session::run_signature`] |
//! | fine-tune with an optimizer of Candle | [`Session::run_tracked`], [`Session::variables`] |
//! | train on with the graph's own optimizer | [`Session::training`], [`Training`] |
//! | make a frozen graph's constants variables again | [`Graph::thawed`] |
//! | hand the variables to a model of another framework, by name | [`Session::save_weights`], [`Session::weights`] |
//! | save for TensorFlow | [`Session::save`], [`Session::to_save`] |
//! | add an operation | [`Session::register`] |
//!
//! ```no_run
//! # fn main() -> tfckpt_session::Result<()> {
//! use candle_core::{DType, Device, Tensor};
//! use tfckpt_session::{Session, import_meta_graph};
//!
//! let graph = import_meta_graph("run/model.ckpt-240.meta")?;
//! let session = Session::new(&graph, &Device::Cpu)?;
//! session.restore("run/model.ckpt-240")?;
//!
//! let images = Tensor::zeros((16, 8, 8, 1), DType::F32, &Device::Cpu)?;
//! let probabilities = session.run(&["probabilities:0"], &[("image:0", &images)])?;
//!
//! let labels = Tensor::zeros(16, DType::I64, &Device::Cpu)?;
//! let training = session.training("loss:0")?;
//! let loss = training.step(&session, &[("image:0", &images), ("label:0", &labels)])?;
//! session.save("run/model.ckpt-241")?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is computed
//! What is fetched is compiled once: pruned, ordered, constants folded, attributes decoded. Intermediates are freed at their
//! last use. All operations and dtypes that are missing are reported together, with the nodes that need them.
//!
//! The semantics are TensorFlow's where Candle's differ: integer division, rounding of halves, powers of negative numbers,
//! NaN in maxima, integers that wrap around. Layouts are TensorFlow's, too: images are NHWC, filters HWIO, and nothing is
//! transposed.
//!
//! # Hostile graphs
//! A graph gives an error where it is wrong, never a panic; what it may allocate, repeat and nest is bounded by [`Limits`].
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

mod attrs;
mod compile;
mod context;
mod dtype;
mod error;
mod frozen;
mod graph;
mod holders;
mod keys;
mod limits;
mod ops;
mod random;
mod recognised;
mod restore;
mod run;
mod scope;
mod serving;
mod session;
mod tables;
mod training;
mod value;
mod variables;

pub use attrs::Attrs;
pub use context::Context;
pub use error::{Error, Missing, Result};
pub use graph::{Graph, UsedOp, import_meta_graph, supported_ops};
pub use holders::{Stack, TensorArray};
pub use limits::Limits;
pub use ops::{Args, Kernel};
pub use restore::Restored;
pub use session::Session;
pub use tables::Table;
pub use training::{Optimizer, Setting, Training};
pub use value::{Strings, TfTensor, Value};
