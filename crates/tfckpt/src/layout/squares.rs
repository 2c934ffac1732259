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

/// Four elements.
#[cfg(target_arch = "x86_64")]
type Four = std::arch::x86_64::__m128i;
#[cfg(not(target_arch = "x86_64"))]
type Four = [u32; 4];

/// A cache line.
type Line = [Four; LINE / 4];

/// How a plane is gone through.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Lines of the source that are gone through together, column of squares by column.
    band: usize,
    /// Squares between the one that is moved and the one whose lines are fetched meanwhile.
    ahead: Option<usize>,
    /// Whether the result goes to memory without being read first, and without taking the place of what is read next.
    past: bool,
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
        Way { band, ahead, past }
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
    if way.past {
        let streamed = machine::Streamed::default();
        for_each_square(row, column, way, from, to, |to, line| streamed.write(to, line));
    } else {
        for_each_square(row, column, way, from, to, |to, line| {
            to.write_copy_of_slice(bytemuck::cast_slice(&line));
        });
    }
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the caller's plane has whole squares")]
fn for_each_square(
    row: Axis,
    column: Axis,
    way: Way,
    from: &[u32],
    to: &mut [MaybeUninit<u32>],
    write: impl Fn(&mut [MaybeUninit<u32>; LINE], Line),
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
                let source = &from[j * row.from + i..];
                let lines: [&[u32; LINE]; LINE] =
                    std::array::from_fn(|line| source[line * row.from..].first_chunk().unwrap_or(&[0; LINE]));
                for group in 0..LINE / 4 {
                    let turned: [[Four; 4]; LINE / 4] = std::array::from_fn(|k| {
                        let of = |line: usize| four(lines[4 * k + line], group);
                        machine::turn([of(0), of(1), of(2), of(3)])
                    });
                    for line in 0..4 {
                        let start = (i + 4 * group + line) * column.to + j;
                        if let Some(to) = to[start..].first_chunk_mut() {
                            let [a, b, c, d] = &turned;
                            write(to, [a[line], b[line], c[line], d[line]]);
                        }
                    }
                }
            }
        }
    }
}

/// Four elements of a line, by the number of their group.
#[inline(always)]
fn four(line: &[u32; LINE], group: usize) -> Four {
    bytemuck::cast(line.as_chunks::<4>().0[group])
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use std::arch::x86_64::{
        _MM_HINT_T0, _mm_prefetch, _mm_sfence, _mm_stream_si128, _mm_unpackhi_epi32, _mm_unpackhi_epi64,
        _mm_unpacklo_epi32, _mm_unpacklo_epi64,
    };
    use std::mem::MaybeUninit;

    use super::{Four, LINE, Line};

    /// Lines become columns. The compiler does not see these eight instructions in what says the same.
    #[inline(always)]
    #[allow(
        unsafe_code,
        reason = "instructions that every x86-64 has are not known to be safe everywhere"
    )]
    pub(super) fn turn([a, b, c, d]: [Four; 4]) -> [Four; 4] {
        // SAFETY: every x86-64 has these instructions, which only move what is in registers.
        unsafe {
            let [ab, cd] = [_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d)];
            let [ab_high, cd_high] = [_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d)];
            [
                _mm_unpacklo_epi64(ab, cd),
                _mm_unpackhi_epi64(ab, cd),
                _mm_unpacklo_epi64(ab_high, cd_high),
                _mm_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }

    /// Has the machine fetch what will be read soon. It sees lines that are gone through forwards by itself, but not as
    /// many at once.
    #[inline(always)]
    #[allow(unsafe_code, reason = "fetching ahead is an instruction of its own")]
    pub(super) fn fetch(elements: &[u32], at: usize) {
        // SAFETY: every x86-64 has the instruction; it changes nothing that a program could see, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(elements.as_ptr().wrapping_add(at).cast()) };
    }

    /// Lines that were written past the cache. Others see them, and this core too, when this is dropped.
    #[derive(Default)]
    pub(super) struct Streamed(());

    impl Streamed {
        /// Writes a line. `to` begins a cache line; one that does not is written through the cache.
        #[inline(always)]
        #[allow(unsafe_code, reason = "writing past the cache is an instruction of its own")]
        pub(super) fn write(&self, to: &mut [MaybeUninit<u32>; LINE], line: Line) {
            let start: *mut Four = to.as_mut_ptr().cast();
            if !start.is_aligned() {
                to.write_copy_of_slice(bytemuck::cast_slice(&line));
                return;
            }
            for (k, part) in line.into_iter().enumerate() {
                // SAFETY: `to` is four vectors of 16 bytes, which were seen to be aligned; every x86-64 has the
                // instruction. Nothing reads what was written before the fence below: whoever writes lines here
                // borrows the whole result until `self` is dropped.
                unsafe { _mm_stream_si128(start.add(k), part) };
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

#[cfg(not(target_arch = "x86_64"))]
mod machine {
    use std::mem::MaybeUninit;

    use super::{Four, LINE, Line};

    /// Lines become columns.
    pub(super) fn turn([a, b, c, d]: [Four; 4]) -> [Four; 4] {
        std::array::from_fn(|column| [a[column], b[column], c[column], d[column]])
    }

    pub(super) fn fetch(_: &[u32], _: usize) {}

    /// Lines of the result, which go through the cache.
    #[derive(Default)]
    pub(super) struct Streamed(());

    impl Streamed {
        pub(super) fn write(&self, to: &mut [MaybeUninit<u32>; LINE], line: Line) {
            to.write_copy_of_slice(line.as_flattened());
        }
    }
}
