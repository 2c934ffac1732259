//! Squares of float32 moved past the cache: what is written goes to memory in whole cache lines, without being read
//! first and without taking the place of what is read next.
//!
//! A result that is larger than the cache costs two thirds then, which is why this is the one file outside `io` with
//! `unsafe`: there is no other way to say it to the processor.

use super::transpose::Axis;

/// Elements of one cache line, and lines along each side of a square.
pub(super) const LINE: usize = 16;

/// A cache line, as four vectors of four elements.
type Line = [[u32; 4]; 4];

/// Elements before the first one of `elements` that begins a cache line.
pub(super) fn lead(elements: &[u32]) -> usize {
    let start = elements.as_ptr().addr() / size_of::<u32>();
    start.next_multiple_of(LINE) - start
}

/// Moves a plane of whole squares: `row` are neighbours in the result, `column` neighbours in the source; both lengths
/// are multiples of [`LINE`]. A `past` result that does not begin a cache line, or whose lines do not, goes through the
/// cache like any other.
pub(super) fn copy_squares(row: Axis, column: Axis, from: &[u32], to: &mut [u32], past: bool) {
    let past = past && lead(to) == 0 && column.to.is_multiple_of(LINE);
    #[cfg(target_arch = "x86_64")]
    if past {
        let streamed = stream::Streamed::default();
        return for_each_square(row, column, from, to, |to, line| streamed.write(to, line));
    }
    let _ = past;
    for_each_square(row, column, from, to, |to, line| {
        to.copy_from_slice(line.as_flattened());
    });
}

/// As long as the source is in the cache of the core, it is gone through column of squares by column, so that what is
/// written of each line of the result lies together.
#[expect(clippy::indexing_slicing, reason = "the caller's plane has whole squares")]
fn for_each_square(row: Axis, column: Axis, from: &[u32], to: &mut [u32], write: impl Fn(&mut [u32; LINE], &Line)) {
    const BAND: usize = 8 * LINE;
    for band in (0..row.len).step_by(BAND) {
        for i in (0..column.len).step_by(LINE) {
            for j in (band..row.len.min(band + BAND)).step_by(LINE) {
                let lines: [Line; LINE] = std::array::from_fn(|line| {
                    let start = (j + line) * row.from + i;
                    line_of(&from[start..start + LINE])
                });
                for (group, to_group) in (0..4).zip((i..).step_by(4)) {
                    let turned: [[[u32; 4]; 4]; 4] = std::array::from_fn(|k| {
                        let [a, b, c, d] = std::array::from_fn(|line| lines[4 * k + line][group]);
                        turn([a, b, c, d])
                    });
                    for (line, to_line) in (0..4).zip(to_group..) {
                        let start = to_line * column.to + j;
                        if let Some(to) = to[start..].first_chunk_mut() {
                            write(to, &std::array::from_fn(|k| turned[k][line]));
                        }
                    }
                }
            }
        }
    }
}

fn line_of(elements: &[u32]) -> Line {
    let mut line = Line::default();
    line.as_flattened_mut().copy_from_slice(elements);
    line
}

/// Lines become columns. Written so that it becomes eight instructions.
fn turn([a, b, c, d]: [[u32; 4]; 4]) -> [[u32; 4]; 4] {
    let low = |a: [u32; 4], b: [u32; 4]| [a[0], b[0], a[1], b[1]];
    let high = |a: [u32; 4], b: [u32; 4]| [a[2], b[2], a[3], b[3]];
    let halves = |a: [u32; 4], b: [u32; 4]| [[a[0], a[1], b[0], b[1]], [a[2], a[3], b[2], b[3]]];
    let [first, second] = halves(low(a, b), low(c, d));
    let [third, fourth] = halves(high(a, b), high(c, d));
    [first, second, third, fourth]
}

#[cfg(target_arch = "x86_64")]
mod stream {
    use std::arch::x86_64::{__m128i, _mm_sfence, _mm_stream_si128};

    use super::{LINE, Line};

    /// Lines that were written past the cache. Others see them, and this core too, when this is dropped.
    #[derive(Default)]
    pub(super) struct Streamed(());

    impl Streamed {
        /// Writes a line. `to` begins a cache line; one that does not is written through the cache.
        #[allow(unsafe_code, reason = "writing past the cache is an instruction of its own")]
        pub(super) fn write(&self, to: &mut [u32; LINE], line: &Line) {
            let start: *mut __m128i = to.as_mut_ptr().cast();
            if !start.is_aligned() {
                return to.copy_from_slice(line.as_flattened());
            }
            for (k, &part) in line.iter().enumerate() {
                // SAFETY: `to` is four vectors of 16 bytes, which were seen to be aligned; every x86-64 has the
                // instruction. Nothing reads what was written before the fence below: whoever writes lines here
                // borrows the whole result until `self` is dropped.
                unsafe { _mm_stream_si128(start.add(k), bytemuck::cast(part)) };
            }
        }
    }

    impl Drop for Streamed {
        #[allow(unsafe_code, reason = "the fence is an instruction of its own")]
        fn drop(&mut self) {
            // SAFETY: every x86-64 has it, and it only orders writes.
            unsafe { _mm_sfence() };
        }
    }
}
