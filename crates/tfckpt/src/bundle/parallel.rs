//! Large variables read on several cores: each hashes its own part, and the checksums are joined.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::bytes::Crc;
use crate::error::Result;

/// A thread is worth its start for this many bytes.
const PART: usize = 4 << 20;

/// How many threads share the work on so many bytes.
pub(super) fn threads_for(len: usize, threads: usize) -> usize {
    (len / PART).clamp(1, threads.max(1))
}

/// Cuts `0..len` into so many ranges of about the same length, each but the last a multiple of `unit`.
pub(super) fn parts(len: usize, count: usize, unit: usize) -> Vec<Range<usize>> {
    let part = len.div_ceil(count.max(1)).next_multiple_of(unit);
    (0..len)
        .step_by(part.max(1))
        .map(|start| start..len.min(start + part))
        .collect()
}

/// Does the work on every part at the same time, the last one on this thread, and joins the checksums. `work` gets a
/// part and returns its checksum and length. A thread that the system does not give is done without.
pub(super) fn hashed<P: Send>(mut parts: Vec<P>, work: impl Fn(P) -> Result<(Crc, usize)> + Sync) -> Result<Crc> {
    let Some(last) = parts.pop() else {
        return Ok(Crc::default());
    };
    let slots: Vec<Mutex<Option<P>>> = parts.into_iter().map(|part| Mutex::new(Some(part))).collect();
    let take = |slot: &Mutex<Option<P>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take().map(&work);
    let take = &take;
    thread::scope(|scope| {
        let start = |slot| thread::Builder::new().spawn_scoped(scope, move || take(slot)).ok();
        let others: Vec<_> = slots.iter().map(|slot| (slot, start(slot))).collect();
        let last = work(last);
        let mut whole = Crc::default();
        let others = others.into_iter().filter_map(|(slot, thread)| match thread {
            Some(thread) => join(thread),
            None => take(slot),
        });
        for part in others.chain([last]) {
            let (crc, len) = part?;
            whole = whole.followed_by(crc, len);
        }
        Ok(whole)
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(result) => result,
        // The work does not panic; if it ever did, here is where the caller would learn of it.
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once_and_in_order() {
        for (len, count, unit) in [(0, 3, 4), (1, 3, 4), (100, 3, 16), (100, 1, 16), (64, 4, 16), (5, 0, 0)] {
            let parts = parts(len, count, unit.max(1));
            assert_eq!(parts.iter().map(Range::len).sum::<usize>(), len);
            assert!(parts.is_sorted_by(|a, b| a.end == b.start), "{parts:?}");
        }
    }

    #[test]
    fn checksums_of_parts_make_that_of_the_whole() {
        let bytes: Vec<u8> = (0..=250u8).cycle().take(100_000).collect();
        for count in 1..5 {
            let parts = parts(bytes.len(), count, 16);
            let crc = hashed(parts, |part| Ok((Crc::of(&bytes[part.clone()]), part.len()))).unwrap();
            assert_eq!(crc, Crc::of(&bytes));
        }
    }
}
