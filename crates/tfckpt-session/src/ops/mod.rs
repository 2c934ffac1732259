//! The operations: one file for each family.

mod activation;
mod arithmetic;
mod array;
mod broadcast;
mod cast;
mod compare;
mod conv;
mod crop;
mod diagonal;
mod elementwise;
mod gather;
mod grads;
mod integers;
mod linear;
mod lists;
mod loss;
mod math;
mod norm;
mod pool;
mod quantised;
mod random;
mod reduce;
mod resize;
mod rnn;
mod segments;
mod shape;
mod slicing;
mod sparse;
mod state;
mod table;
mod train;
mod windows;

pub(crate) use state::truth;
pub(crate) use table::Ops;
pub use table::{Args, Kernel};
pub(crate) use train::{applies, is_sparse, sparse_rows};
