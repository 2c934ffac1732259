//! The time of day, which tests want to set.

use std::time::{SystemTime, UNIX_EPOCH};

/// What tells the time of saves: which checkpoints are kept for ever, and what the state file says of them.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Seconds since 1970. May go backwards, as clocks do.
    fn now(&self) -> f64;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> f64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        }
    }
}
