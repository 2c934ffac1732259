//! Which checkpoints of a directory are kept, and why: rules over what is known of each, without a file being touched.
//!
//! ```text
//! Record, Record, … ──Retention::decide──▶ Verdict, Verdict, …
//! (step, time, bytes, metrics, pins)       (kept: every reason | dropped: why)
//! ```
//!
//! Each rule keeps checkpoints by itself, and a checkpoint is kept if any rule keeps it; only the budget of bytes takes
//! some away again. So rules can be put together in any order, and none spoils another.

mod record;
mod retention;
mod verdict;

pub use record::Record;
pub use retention::Retention;
pub(super) use verdict::rounded;
pub use verdict::{Dropped, Goal, Reason, Verdict};
