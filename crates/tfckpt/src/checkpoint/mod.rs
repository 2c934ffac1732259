//! Checkpoints as people handle them: found by path, saved by step, kept by number.

mod background;
mod clock;
mod commit;
mod directory;
mod history;
mod keeper;
#[cfg(feature = "tracing")]
mod logged;
mod manager;
mod merge;
mod open;
mod policy;
mod retention;
mod saver;
mod state;
mod state_text;

pub use background::{BackgroundSaver, Submitted, WhenBusy};
pub use clock::{Clock, SystemClock};
pub use history::{Best, History};
#[cfg(feature = "tracing")]
pub use logged::Tracing;
pub use manager::{CheckpointManager, SaveAt};
pub use merge::merge_checkpoints;
pub use open::Checkpoint;
pub use policy::{Dropped, Goal, Reason, Record, Retention, Verdict};
pub use saver::{Saved, Saver};
pub use state::{CheckpointState, checkpoint_state, latest_checkpoint};

/// The name of the step counter: an int64 scalar, as in TensorFlow.
pub const GLOBAL_STEP: &str = "global_step";
