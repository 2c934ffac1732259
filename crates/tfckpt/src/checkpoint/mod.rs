//! Checkpoints as people handle them: found by path, saved by step, kept by number.

mod background;
mod check;
mod clock;
mod commit;
mod directory;
mod history;
mod keeper;
mod listing;
#[cfg(feature = "tracing")]
mod logged;
mod look;
mod manager;
mod mapping;
mod merge;
mod open;
mod policy;
mod repair;
mod repaired;
mod replace;
mod retention;
mod saver;
mod state;
mod state_text;
mod told;
mod valid;
mod watch;

pub use background::{BackgroundSaver, Submitted, WhenBusy};
pub use check::Check;
pub use clock::{Clock, SystemClock};
pub use history::{Best, History};
#[cfg(feature = "tracing")]
pub use logged::Tracing;
pub use manager::{CheckpointManager, SaveAt};
pub use merge::merge_checkpoints;
pub use open::Checkpoint;
pub use policy::{Dropped, Goal, Reason, Record, Retention, Verdict};
pub use repair::{Repair, repair};
pub use repaired::{Broken, Fate, Kept, Repaired, StateFile};
pub use saver::{Saved, Saver};
pub use state::{CheckpointState, checkpoint_state, latest_checkpoint};
pub use valid::{Valid, ValidSearch, latest_valid};
pub use watch::{CheckpointsIterator, checkpoints_iterator, wait_for_new_checkpoint};

/// The name of the step counter: an int64 scalar, as in TensorFlow.
pub const GLOBAL_STEP: &str = "global_step";
