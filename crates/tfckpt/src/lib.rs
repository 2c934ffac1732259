//! TensorFlow checkpoints without TensorFlow: read any, write what TensorFlow restores, keep a directory of them.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let run = dir.path();
//! use tfckpt::{Checkpoint, Saver, Variable};
//!
//! let kernel = [0.5f32, 1.5, 2.5, 3.5];
//! Saver::new(run).save([Variable::new("dense/kernel", [2, 2], &kernel)], 100)?;
//!
//! let checkpoint = Checkpoint::open(run)?; // a prefix, one of its files, a directory or a SavedModel
//! for variable in checkpoint.variables() {
//!     println!("{} {} {}", variable.name(), variable.dtype(), variable.shape());
//! }
//! assert_eq!(checkpoint.read::<f32>("dense/kernel")?, kernel);
//! assert_eq!(checkpoint.global_step()?, Some(100));
//! # Ok(())
//! # }
//! ```
//!
//! # The data path
//! Reading: [`Checkpoint::open`] reads and checks the whole index; variables are then read on all cores, one by one or
//! [many at once](Bundle::read_each), straight into their destinations, and hashed and laid out on the way. Writing: each
//! variable has its place before the first byte is written, so that all cores write at once, each byte hashed while it
//! is in the cache; data and index appear under their names only when they are whole, the index last.
//! [`BackgroundSaver`] does so while a training goes on, for which it copies the state once.
//!
//! Nothing that comes from a file makes this crate panic, overflow, or allocate more than the file can justify; see
//! [`Limits`].
//!
//! # Names
//! Variables are asked for by the names in the index. Those of object-based checkpoints, which `tf.train.Checkpoint` and
//! Keras write, say little; there the names that people know, `conv1/kernel`, do as well: see [`objects`].
//!
//! # Bytes
//! Elements are row-major. All bytes that go in and out are little-endian; the few files that big-endian machines
//! wrote are swapped on reading.
//!
//! # Features
//! - `half` (default): `half::f16` and `half::bf16` as [`Element`]s.
//! - `notify` (default): whoever [waits](checkpoints_iterator) for a checkpoint is told of it by the file system, not by
//!   the next look at the directory.
//! - `tracing`: saves and restores as events of `tracing`.
//! - `rng`: `CheckpointRng` in [`training`], a random number generator that a checkpoint holds the state of.
//! - `signals`: [`training::Stop`] listens for SIGTERM and SIGINT.
//! - `regex`: `WarmStart` and `AssignmentMap::replace` in [`map`], which name variables by regular expressions.
//! - `snap` (default): index blocks compressed with Snappy, which TensorFlow reads but has never written.
//!
//! # The format
//! Source of all format facts: `tensorflow/core/util/tensor_bundle/` and `tensorflow/core/lib/io/` of TensorFlow
//! 2.21, checked against its behaviour.
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

// Ranks: a file imports only its own rank or a lower one; `tests/ranks.rs` enforces it.
mod dtype;
mod error;
mod layout;
mod limits;
pub mod optimizers;
mod parallel;
mod shape;
mod slice;
mod suggest;
mod tensor;

mod bytes;
mod proto;

pub mod io;

mod table;

mod bundle;

mod meta;
pub mod objects;

mod checkpoint;
pub mod map;

pub mod training;

pub use bundle::{Bundle, BundleWriter, Endianness, Format, Reading, Strings, VariableInfo, Written};
#[cfg(feature = "tracing")]
pub use checkpoint::Tracing;
pub use checkpoint::{
    BackgroundSaver, Best, Broken, Check, Checkpoint, CheckpointManager, CheckpointState, CheckpointsIterator, Clock,
    Dropped, Fate, GLOBAL_STEP, Goal, History, Kept, Reason, Record, Repair, Repaired, Retention, SaveAt, Saved, Saver,
    StateFile, Submitted, SystemClock, Valid, ValidSearch, Verdict, WhenBusy, checkpoint_state, checkpoints_iterator,
    latest_checkpoint, latest_valid, merge_checkpoints, repair, wait_for_new_checkpoint,
};
pub use dtype::DType;
pub use error::{AssignmentFault, BoxError, EntryFault, Error, ErrorKind, MappingFault, Result, Skipped, TableError};
pub use limits::Limits;
pub use meta::{
    AttrValue, Collection, Function, GraphVariable, MetaGraph, Node, SaverInfo, Signature, Tensor, TensorInfo,
    VariableKind,
};
pub use shape::Shape;
pub use slice::Slice;
pub use tensor::{Element, Sink, Variable};
