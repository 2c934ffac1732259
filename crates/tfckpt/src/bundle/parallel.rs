//! Checksums of large variables on several cores: each hashes its own part, and the checksums are joined.

use std::ops::Range;

use crate::bytes::Crc;
use crate::error::Result;
use crate::parallel::{Slots, for_each};

/// A thread is worth its start for this many bytes.
const PART: usize = 2 << 20;

/// How many threads share the work on so many bytes.
pub(super) fn threads_for(len: usize, threads: usize) -> usize {
    (len / PART).clamp(1, threads.max(1))
}

/// The length of so many parts of `0..len`, a multiple of `unit`; the last may be shorter.
pub(super) fn part_len(len: usize, count: usize, unit: usize) -> usize {
    len.div_ceil(count.max(1)).next_multiple_of(unit.max(1))
}

/// The length of parts that so many threads take on one after the other: each some of them, so that nobody has to wait
/// for one that starts late or runs slower.
pub(super) fn shared_part_len(len: usize, threads: usize, unit: usize) -> usize {
    const EACH: usize = 4;
    let count = if threads > 1 { threads * EACH } else { 1 };
    part_len(len, count, unit)
}

/// Cuts `0..len` into ranges of this length; the last may be shorter.
pub(super) fn parts(len: usize, part: usize) -> Vec<Range<usize>> {
    (0..len)
        .step_by(part.max(1))
        .map(|start| start..len.min(start + part))
        .collect()
}

/// Does `work` on all parts by so many threads, and joins the checksums that it gives, in the order of the parts: each with the
/// length of its part.
pub(super) fn hashed<P: Send>(
    parts: Vec<P>,
    threads: usize,
    work: impl Fn(P) -> Result<(Crc, usize)> + Sync,
) -> Result<Crc> {
    let slots = Slots::new(parts);
    let work = |_: &mut (), number| slots.take(number).map_or(Ok((Crc::default(), 0)), &work);
    let hashed = for_each(slots.len(), threads, || (), work)?;
    let join = |whole: Crc, (crc, len)| whole.followed_by(crc, len);
    Ok(hashed.into_iter().fold(Crc::default(), join))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once_and_in_order() {
        for (len, count, unit) in [(0, 3, 4), (1, 3, 4), (100, 3, 16), (100, 1, 16), (64, 4, 16), (5, 0, 0)] {
            let parts = parts(len, part_len(len, count, unit));
            assert_eq!(parts.iter().map(Range::len).sum::<usize>(), len);
            assert!(parts.is_sorted_by(|a, b| a.end == b.start), "{parts:?}");
        }
    }

    #[test]
    fn checksums_of_parts_make_that_of_the_whole() {
        let bytes: Vec<u8> = (0..=250u8).cycle().take(100_000).collect();
        for count in 1..5 {
            let parts = parts(bytes.len(), shared_part_len(bytes.len(), count, 16));
            let crc = hashed(parts, count, |part| Ok((Crc::of(&bytes[part.clone()]), part.len()))).unwrap();
            assert_eq!(crc, Crc::of(&bytes));
        }
    }
}
