//! Squares of float32, the piece that transposing is made of: 16 lines of the source, each a whole cache line, become 16
//! whole cache lines of the result.
//!
//! What decides is how memory is gone through, and what the processor is told of it. Measured on one core with kernels of
//! 768 x 3072 in pages of 4 KiB: 3.0 GB/s where it is told nothing, 5.4 to 8.5 here; copying is 8.5. There is no other way to
//! say it than `unsafe`, which is why this is the one file outside `io` that has some.

use std::mem::MaybeUninit;

use super::transpose::Axis;

/// Elements of one cache line, and lines along each side of a square.
pub(super) const LINE: usize = 16;

/// What is larger does not stay in the cache of a core.
const CACHED: usize = 1 << 20;

/// How a plane is gone through.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Lines of the source that are gone through together, column of squares by column.
    band: usize,
    /// Squares between the one that is moved and the one whose lines are fetched meanwhile.
    ahead: Option<usize>,
}

impl Way {
    fn of(from: &[u32], past: bool) -> Self {
        let (band, ahead) = match (size_of_val(from) <= CACHED, past) {
            // A cached source may be read in any order: what is written of a line of the result lies together.
            (true, _) => (8 * LINE, None),
            // Not more lines at once than the caches have places for, since those of a kernel are often a power of two
            // apart, and compete for the same ones.
            (false, true) => (2 * LINE, Some(2)),
            (false, false) => (LINE, Some(2)),
        };
        Way { band, ahead }
    }
}

/// Elements before the first one of `elements` that begins a cache line.
pub(super) fn lead(elements: &[MaybeUninit<u32>]) -> usize {
    let start = elements.as_ptr().addr() / size_of::<u32>();
    start.next_multiple_of(LINE) - start
}

/// Whether a result of so many bytes is better written past the cache.
pub(super) fn goes_past(bytes: usize) -> bool {
    bytes > CACHED
}

/// Moves a plane of whole squares: `row` are neighbours in the result, `column` neighbours in the source; both lengths
/// are multiples of [`LINE`]. A `past` result that does not begin a cache line, or whose lines do not, goes through the
/// cache like any other.
pub(super) fn copy(row: Axis, column: Axis, from: &[u32], to: &mut [MaybeUninit<u32>], past: bool) {
    let past = past && lead(to) == 0 && column.to.is_multiple_of(LINE);
    let way = Way::of(from, past);
    if past {
        for_each_square(row, column, way, from, to, machine::square_past);
        machine::past();
    } else if competes(row.from) && !competes(column.to) {
        for_each_square(row, column, way, from, to, machine::square_by_source);
    } else {
        for_each_square(row, column, way, from, to, machine::square);
    }
}

/// Whether lines so far apart have the same few places in the cache.
fn competes(stride: usize) -> bool {
    (stride * size_of::<u32>()).is_multiple_of(4096)
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the caller's plane has whole squares")]
fn for_each_square(
    row: Axis,
    column: Axis,
    way: Way,
    from: &[u32],
    to: &mut [MaybeUninit<u32>],
    square: impl Fn(&[u32], usize, &mut [MaybeUninit<u32>], usize),
) {
    for band in (0..row.len).step_by(way.band) {
        for i in (0..column.len).step_by(LINE) {
            // Where the lines of this band go on, or those of the next one begin.
            let ahead = way.ahead.map(|squares| match i + squares * LINE {
                on if on < column.len => (on, 0),
                on => (on - column.len, way.band),
            });
            for j in (band..row.len.min(band + way.band)).step_by(LINE) {
                if let Some((on, rows)) = ahead {
                    (j + rows..j + rows + LINE).for_each(|line| machine::fetch(from, line * row.from + on));
                }
                square(
                    &from[j * row.from + i..],
                    row.from,
                    &mut to[i * column.to + j..],
                    column.to,
                );
            }
        }
    }
}

/// Fails if the lines of a square, which begin so far apart, do not lie within a slice of this length.
#[inline(always)]
fn assert_within(stride: usize, len: usize) {
    let needed = stride.checked_mul(LINE - 1).and_then(|last| last.checked_add(LINE));
    assert!(needed.is_some_and(|needed| needed <= len), "a square has whole lines");
}

#[cfg(target_arch = "x86_64")]
mod machine {
    #![allow(
        unsafe_code,
        reason = "these are instructions that the language has no other words for"
    )]

    use std::arch::x86_64::{
        __m128i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_sfence, _mm_storeu_si128, _mm_stream_si128,
        _mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi32, _mm_unpacklo_epi64,
    };
    use std::mem::MaybeUninit;

    use super::{LINE, assert_within};

    /// Vectors of four elements in a line.
    const FOURS: usize = LINE / 4;

    /// Moves a square, line of the result by line.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "a vector of four has four lines")]
    pub(super) fn square(from: &[u32], from_stride: usize, to: &mut [MaybeUninit<u32>], to_stride: usize) {
        assert_within(from_stride, from.len());
        assert_within(to_stride, to.len());
        let (from, to) = (from.as_ptr(), to.as_mut_ptr().cast::<u32>());
        for columns in 0..FOURS {
            for rows in 0..FOURS / 2 {
                // SAFETY: every x86-64 has these instructions. What is read and written are whole vectors of the square, of
                // which both slices have all lines, as was asserted; no alignment is needed.
                unsafe {
                    let [a, b] = [2 * rows, 2 * rows + 1]
                        .map(|rows| turned(from.add(4 * rows * from_stride + 4 * columns), from_stride));
                    for line in 0..4 {
                        let start = to.add((4 * columns + line) * to_stride + 8 * rows).cast::<__m128i>();
                        _mm_storeu_si128(start, a[line]);
                        _mm_storeu_si128(start.add(1), b[line]);
                    }
                }
            }
        }
    }

    /// Moves a square, line of the source by line: each is read whole before it has to make room for the others.
    #[inline(always)]
    pub(super) fn square_by_source(from: &[u32], from_stride: usize, to: &mut [MaybeUninit<u32>], to_stride: usize) {
        assert_within(from_stride, from.len());
        assert_within(to_stride, to.len());
        let (from, to) = (from.as_ptr(), to.as_mut_ptr().cast::<u32>());
        for rows in 0..FOURS {
            for columns in 0..FOURS {
                // SAFETY: as in `square`.
                unsafe {
                    let turned = turned(from.add(4 * rows * from_stride + 4 * columns), from_stride);
                    for (line, part) in turned.into_iter().enumerate() {
                        _mm_storeu_si128(to.add((4 * columns + line) * to_stride + 4 * rows).cast(), part);
                    }
                }
            }
        }
    }

    /// Moves a square into memory, past the cache. Others see it, and this core too, after [`past`]. One whose lines do
    /// not begin cache lines goes through the cache.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "a vector of four has four lines")]
    pub(super) fn square_past(from: &[u32], from_stride: usize, to: &mut [MaybeUninit<u32>], to_stride: usize) {
        let aligned = to.as_ptr().cast::<__m128i>().is_aligned() && to_stride.is_multiple_of(LINE);
        if !aligned {
            return square(from, from_stride, to, to_stride);
        }
        assert_within(from_stride, from.len());
        assert_within(to_stride, to.len());
        let (from, to) = (from.as_ptr(), to.as_mut_ptr().cast::<u32>());
        for columns in 0..FOURS {
            // SAFETY: as in `square`; that the result is aligned was seen. Nothing reads what was written before the fence
            // in `past`: whoever moves squares borrows the whole result until then.
            unsafe {
                let parts: [[__m128i; 4]; FOURS] =
                    std::array::from_fn(|rows| turned(from.add(4 * rows * from_stride + 4 * columns), from_stride));
                for line in 0..4 {
                    let start = to.add((4 * columns + line) * to_stride).cast::<__m128i>();
                    for (rows, part) in parts.iter().enumerate() {
                        _mm_stream_si128(start.add(rows), part[line]);
                    }
                }
            }
        }
    }

    /// Ends writing past the cache.
    pub(super) fn past() {
        // SAFETY: every x86-64 has the instruction, and it only orders writes.
        unsafe { _mm_sfence() };
    }

    /// Has the machine fetch what will be read soon. It sees lines that are gone through forwards by itself, but not as
    /// many at once.
    #[inline(always)]
    pub(super) fn fetch(elements: &[u32], at: usize) {
        // SAFETY: every x86-64 has the instruction; it changes nothing that a program could see, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(elements.as_ptr().wrapping_add(at).cast()) };
    }

    /// Four elements of four lines, as columns.
    ///
    /// # Safety
    /// All four, `stride` elements apart, lie within memory that may be read.
    #[inline(always)]
    unsafe fn turned(from: *const u32, stride: usize) -> [__m128i; 4] {
        // SAFETY: the caller sees to it; every x86-64 has these instructions, which need no alignment.
        unsafe {
            let a = _mm_loadu_si128(from.cast());
            let b = _mm_loadu_si128(from.add(stride).cast());
            let c = _mm_loadu_si128(from.add(2 * stride).cast());
            let d = _mm_loadu_si128(from.add(3 * stride).cast());
            let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
            [
                _mm_unpacklo_epi64(ab, cd),
                _mm_unpackhi_epi64(ab, cd),
                _mm_unpacklo_epi64(ab_high, cd_high),
                _mm_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod machine {
    use std::mem::MaybeUninit;

    use super::{LINE, assert_within};

    /// Moves a square, line of the result by line.
    #[expect(clippy::indexing_slicing, reason = "the lines were asserted to be there")]
    pub(super) fn square(from: &[u32], from_stride: usize, to: &mut [MaybeUninit<u32>], to_stride: usize) {
        assert_within(from_stride, from.len());
        assert_within(to_stride, to.len());
        for line in 0..LINE {
            let column: [u32; LINE] = std::array::from_fn(|row| from[row * from_stride + line]);
            to[line * to_stride..][..LINE].write_copy_of_slice(&column);
        }
    }

    pub(super) use square as square_by_source;
    pub(super) use square as square_past;

    pub(super) fn past() {}

    pub(super) fn fetch(_: &[u32], _: usize) {}
}
