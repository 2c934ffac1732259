//! What happens to checkpoints while a run goes on.

use std::path::PathBuf;
use std::sync::Arc;

use tfckpt::Saved;

/// What happens to checkpoints while a run goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run goes on from a checkpoint.
    Restored {
        /// Its prefix.
        prefix: PathBuf,
        /// The step that it was saved at.
        global_step: i64,
    },
    /// A checkpoint was saved.
    Saved(&'a Saved),
}

impl std::fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Restored { prefix, global_step } => {
                write!(f, "going on from {} at step {global_step}", prefix.display())
            }
            Event::Saved(saved) => write!(f, "saved {} ({} bytes)", saved.prefix.display(), saved.data_bytes),
        }
    }
}

/// Who is told.
pub(super) type OnEvent = Arc<dyn Fn(&Event<'_>) + Send + Sync>;
