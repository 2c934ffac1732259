//! Telling when variables change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the changes that an optimizer makes, so that a run can tell whether the state is that of a whole step when
/// something goes wrong; see [`Run::save_on_panic`](crate::Run::save_on_panic). Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<AtomicU64>);

impl Changes {
    /// The optimizer begins to change variables; called before the first change of each step.
    pub fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
