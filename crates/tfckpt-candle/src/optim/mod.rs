//! Optimizers whose state is part of a checkpoint.

mod adam;
mod adamw;
mod changes;
mod moments;
mod state;

pub use adam::{Adam, ParamsAdam};
pub use adamw::AdamW;
pub use changes::Changes;
pub use state::{CheckpointedOptimizer, OptimizerState};

pub(crate) use state::{Counter, Slot};
