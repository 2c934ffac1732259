//! Progress as events of `tracing`.

use crate::io::{Done, Progress, Work};

/// Tells `tracing` of each save and restore: its beginning at level `DEBUG`, its end at level `INFO` with the fields
/// `prefix`, `bytes` and `seconds`. The target is `tfckpt`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tracing;

impl Progress for Tracing {
    fn begin(&self, work: Work, bytes: u64) {
        tracing::debug!(target: "tfckpt", bytes, "{work} begins");
    }

    fn end(&self, done: &Done) {
        let (prefix, seconds) = (done.prefix.display(), done.elapsed.as_secs_f64());
        tracing::info!(target: "tfckpt", %prefix, bytes = done.bytes, seconds, "{} done", done.work);
    }
}
