//! Moving the axes of an array, a part of the source into a part of the result at a time.
//!
//! A part is a run of elements as they lie in memory. It falls into boxes, ranges along each axis; what two boxes of
//! source and result share is moved in tiles that fill whole cache lines on either side.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytemuck::Pod;

use super::squares::{self, LINE};
use crate::bytes::unwritten;

/// Elements along each side of a tile: of float32, one cache line.
const TILE: usize = 16;

/// Lines of the source that are gone through together. They are read forwards, which the machine sees and reads ahead,
/// and what is written of each line of the result is long enough for the page that it lies in to be worth finding.
const BAND: usize = 4 * TILE;

/// A permutation of axes, ready to move the elements of an array of one shape: axis `i` of the result is axis
/// `permutation[i]` of the source.
#[derive(Debug)]
pub(super) struct Transpose {
    /// The axes of the result, outermost first. None has length 1, and no two that stay neighbours are apart.
    axes: Vec<Axis>,
    len: usize,
}

/// One axis of two arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) len: usize,
    /// Elements between neighbours in the source.
    pub(crate) from: usize,
    /// Elements between neighbours in the result.
    pub(crate) to: usize,
}

/// A part of one side: elements `start..start + elements.len()` of it, in memory.
pub(super) struct Part<S> {
    pub(super) start: usize,
    pub(super) elements: S,
}

/// A range along each axis.
type Ranges = Vec<Range<usize>>;

/// Which of the two arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Result,
}

impl Axis {
    fn stride(&self, side: Side) -> usize {
        match side {
            Side::Source => self.from,
            Side::Result => self.to,
        }
    }
}

impl Transpose {
    pub(super) fn new(dims: &[usize], permutation: &[usize]) -> Self {
        Transpose {
            axes: merged_axes(dims, permutation),
            len: dims.iter().product(),
        }
    }

    /// A number of elements, at most `most` unless no axis is that short, of which parts of `side` are multiples.
    pub(super) fn unit(&self, side: Side, most: usize) -> usize {
        let strides = self.axes.iter().map(|axis| axis.stride(side));
        strides.filter(|&stride| stride <= most).max().unwrap_or(1)
    }

    /// Elements of the source that become one line of the result side by side, if they are worth being moved together.
    pub(super) fn line_of_result(&self) -> Option<usize> {
        let row = self.axes.iter().find(|axis| axis.to == 1)?;
        (row.from > 1 && row.len >= LINE).then_some(row.from)
    }

    /// Moves what `source` and `result` have in common. Both are multiples of a [`unit`](Self::unit) of their side. Gives
    /// how many elements of the result were written, each once.
    pub(super) fn copy<T: Pod>(&self, source: &Part<&[T]>, result: &mut Part<&mut [MaybeUninit<T>]>) -> usize {
        let mut moved = 0;
        let from = self.boxes(Side::Source, source.start..source.start + source.elements.len());
        let to = self.boxes(Side::Result, result.start..result.start + result.elements.len());
        for a in &from {
            for b in &to {
                let common = a.iter().zip(b).map(|(a, b)| a.start.max(b.start)..a.end.min(b.end));
                let common: Ranges = common.collect();
                if common.iter().all(|range| !range.is_empty()) {
                    self.copy_box(&common, source, result);
                    moved += common.iter().map(Range::len).product::<usize>();
                }
            }
        }
        moved
    }

    /// The boxes that a run of elements falls into.
    fn boxes(&self, side: Side, run: Range<usize>) -> Vec<Ranges> {
        let whole: Ranges = self.axes.iter().map(|axis| 0..axis.len).collect();
        if run.len() == self.len {
            return if run.is_empty() { Vec::new() } else { vec![whole] };
        }
        // Outermost first, on this side.
        let mut order: Vec<(usize, Axis)> = self.axes.iter().copied().enumerate().collect();
        order.sort_by_key(|(_, axis)| std::cmp::Reverse(axis.stride(side)));
        // The outermost axis of which the run has whole indices.
        let fits =
            |axis: &Axis| run.start.is_multiple_of(axis.stride(side)) && run.end.is_multiple_of(axis.stride(side));
        let Some((depth, &(at, axis))) = order.iter().enumerate().find(|(_, (_, axis))| fits(axis)) else {
            return Vec::new();
        };
        let outer = order.get(..depth).unwrap_or_default();
        let stride = axis.stride(side);
        let mut boxes = Vec::new();
        let mut index = run.start / stride;
        while index < run.end / stride {
            let first = index % axis.len;
            let count = (axis.len - first).min(run.end / stride - index);
            let mut ranges = whole.clone();
            let mut rest = index / axis.len;
            for &(outer_at, outer_axis) in outer.iter().rev() {
                let fixed = rest % outer_axis.len;
                rest /= outer_axis.len;
                ranges
                    .get_mut(outer_at)
                    .into_iter()
                    .for_each(|range| *range = fixed..fixed + 1);
            }
            ranges
                .get_mut(at)
                .into_iter()
                .for_each(|range| *range = first..first + count);
            boxes.push(ranges);
            index += count;
        }
        boxes
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "boxes lie within the parts that they were made of, whose strides are those of the axes"
    )]
    fn copy_box<T: Pod>(&self, ranges: &Ranges, source: &Part<&[T]>, result: &mut Part<&mut [MaybeUninit<T>]>) {
        let offset = |side| {
            let axes = self.axes.iter().zip(ranges);
            axes.map(|(axis, range)| axis.stride(side) * range.start).sum::<usize>()
        };
        let from = &source.elements[offset(Side::Source) - source.start..];
        let past = squares::goes_past(size_of_val(result.elements));
        let to_offset = offset(Side::Result) - result.start;
        let to = &mut result.elements[to_offset..];
        let axes = self.axes.iter().zip(ranges).map(|(axis, range)| Axis {
            len: range.len(),
            ..*axis
        });
        let mut axes: Vec<Axis> = axes.filter(|axis| axis.len > 1).collect();
        // The two axes that matter: neighbours in the result, and neighbours in the source.
        let nearest = |axes: &[Axis], side| (0..axes.len()).min_by_key(|&at| axes[at].stride(side));
        let Some(inner) = nearest(&axes, Side::Result) else {
            to[0].write(from[0]);
            return;
        };
        let along = nearest(&axes, Side::Source).unwrap_or(inner);
        if along == inner {
            let run = axes.remove(inner);
            return for_each_offset(&axes, |a, b| copy_run(run, &from[a..], &mut to[b..]));
        }
        let (row, column) = (axes[inner], axes[along]);
        let mut at = 0;
        axes.retain(|_| {
            at += 1;
            at - 1 != inner && at - 1 != along
        });
        for_each_offset(&axes, |a, b| copy_plane(row, column, &from[a..], &mut to[b..], past));
    }
}

/// Moves a line of elements.
#[expect(clippy::indexing_slicing, reason = "the caller's boxes lie within the slices")]
fn copy_run<T: Copy>(run: Axis, from: &[T], to: &mut [MaybeUninit<T>]) {
    if run.from == 1 && run.to == 1 {
        to[..run.len].write_copy_of_slice(&from[..run.len]);
        return;
    }
    for i in 0..run.len {
        to[i * run.to].write(from[i * run.from]);
    }
}

/// Moves a plane: `row` are neighbours in the result, `column` neighbours in the source.
#[expect(clippy::indexing_slicing, reason = "the caller's boxes lie within the slices")]
fn copy_plane<T: Pod>(row: Axis, column: Axis, from: &[T], to: &mut [MaybeUninit<T>], past: bool) {
    if size_of::<T>() == size_of::<u32>()
        && row.to == 1
        && column.from == 1
        && let (Ok(from), Some(to)) = (bytemuck::try_cast_slice(from), unwritten::cast(to))
    {
        return copy_words(row, column, from, to, past);
    }
    let whole = if row.to == 1 && column.from == 1 {
        TILE
    } else {
        usize::MAX
    };
    let tiled = |len: usize| len / whole * whole;
    for band in (0..tiled(row.len)).step_by(BAND) {
        for i in (0..tiled(column.len)).step_by(TILE) {
            for j in (band..tiled(row.len).min(band + BAND)).step_by(TILE) {
                copy_tile(
                    row.from,
                    column.to,
                    &from[i + j * row.from..],
                    &mut to[i * column.to + j..],
                );
            }
        }
    }
    // What is left at the right and at the bottom.
    for i in 0..column.len {
        let start = if i < tiled(column.len) { tiled(row.len) } else { 0 };
        for j in start..row.len {
            to[i * column.to + j * row.to].write(from[i * column.from + j * row.from]);
        }
    }
}

/// Moves a plane of elements of 4 bytes: squares of whole cache lines of the result, and what is left around them.
#[expect(clippy::indexing_slicing, reason = "the caller's boxes lie within the slices")]
fn copy_words(row: Axis, column: Axis, from: &[u32], to: &mut [MaybeUninit<u32>], past: bool) {
    let lead = if past { squares::lead(to).min(row.len) } else { 0 };
    let rows = lead..lead + (row.len - lead) / LINE * LINE;
    let columns = column.len / LINE * LINE;
    let (whole_row, whole_column) = (Axis { len: rows.len(), ..row }, Axis { len: columns, ..column });
    if !rows.is_empty() && columns > 0 {
        squares::copy(whole_row, whole_column, &from[lead * row.from..], &mut to[lead..], past);
    }
    for i in 0..column.len {
        let left = if i < columns { rows.clone() } else { 0..0 };
        for j in (0..left.start).chain(left.end..row.len) {
            to[i * column.to + j].write(from[i + j * row.from]);
        }
    }
}

/// Moves a square whose lines lie `from_stride` apart in the source, and `to_stride` in the result.
#[expect(clippy::indexing_slicing, reason = "the caller's plane has whole tiles here")]
fn copy_tile<T: Copy>(from_stride: usize, to_stride: usize, from: &[T], to: &mut [MaybeUninit<T>]) {
    let lines: [[T; TILE]; TILE] = std::array::from_fn(|j| {
        let line = &from[j * from_stride..][..TILE];
        std::array::from_fn(|i| line[i])
    });
    for i in 0..TILE {
        let line: [T; TILE] = std::array::from_fn(|j| lines[j][i]);
        to[i * to_stride..][..TILE].write_copy_of_slice(&line);
    }
}

/// The axes of the result, outermost first; axes that stay neighbours are one.
fn merged_axes(dims: &[usize], permutation: &[usize]) -> Vec<Axis> {
    let source_strides = strides(dims.iter().copied());
    let lens = permutation.iter().map(|&axis| dims.get(axis).copied().unwrap_or(1));
    let result_strides = strides(lens.clone());
    let mut axes: Vec<Axis> = Vec::new();
    for ((len, &axis), to) in lens.zip(permutation).zip(result_strides) {
        let from = source_strides.get(axis).copied().unwrap_or(0);
        match axes.last_mut() {
            _ if len == 1 => {}
            Some(last) if last.from == from * len => {
                *last = Axis {
                    len: last.len * len,
                    from,
                    to,
                };
            }
            _ => axes.push(Axis { len, from, to }),
        }
    }
    axes
}

fn strides(dims: impl DoubleEndedIterator<Item = usize>) -> Vec<usize> {
    let mut stride = 1;
    let mut strides: Vec<usize> = dims
        .rev()
        .map(|len| {
            let this = stride;
            stride *= len;
            this
        })
        .collect();
    strides.reverse();
    strides
}

/// Calls `visit` with the offsets in source and result of every combination of `axes`, the innermost of which is the last.
pub(crate) fn for_each_offset(axes: &[Axis], mut visit: impl FnMut(usize, usize)) {
    let mut index = vec![0; axes.len()];
    let (mut from, mut to) = (0, 0);
    loop {
        visit(from, to);
        // Count up, innermost axis first.
        let mut counted = false;
        for (axis, i) in axes.iter().zip(&mut index).rev() {
            *i += 1;
            from += axis.from;
            to += axis.to;
            if *i < axis.len {
                counted = true;
                break;
            }
            from -= axis.from * axis.len;
            to -= axis.to * axis.len;
            *i = 0;
        }
        if !counted {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Element by element, as the definition says.
    fn naive(dims: &[usize], permutation: &[usize], source: &[u32]) -> Vec<u32> {
        let source_strides = strides(dims.iter().copied());
        let result_dims: Vec<usize> = permutation.iter().map(|&axis| dims[axis]).collect();
        let result_strides = strides(result_dims.iter().copied());
        (0..source.len())
            .map(|flat| {
                let position =
                    (0..dims.len()).map(|i| flat / result_strides[i] % result_dims[i] * source_strides[permutation[i]]);
                source[position.sum::<usize>()]
            })
            .collect()
    }

    fn shapes_and_permutations() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
        proptest::collection::vec(prop_oneof![1usize..6, 14usize..19, 30usize..70], 1..5)
            .prop_filter("small enough", |dims| dims.iter().product::<usize>() < 100_000)
            .prop_flat_map(|dims| {
                let axes: Vec<usize> = (0..dims.len()).collect();
                (Just(dims), Just(axes).prop_shuffle())
            })
    }

    /// The runs that a side falls into, each of some units.
    fn runs(transpose: &Transpose, side: Side, most: usize, units: usize) -> Vec<Range<usize>> {
        let unit = transpose.unit(side, most);
        // No more than can be gone through, each with each.
        let step = unit * units.max(transpose.len.div_ceil(40 * unit));
        let starts = (0..transpose.len).step_by(step);
        starts.map(|start| start..transpose.len.min(start + step)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

        #[test]
        fn parts_give_what_the_definition_gives(
            (dims, permutation) in shapes_and_permutations(),
            most in prop_oneof![1usize..20, 20usize..5000],
            units in 1usize..20,
        ) {
            let source: Vec<u32> = (0..).take(dims.iter().product()).collect();
            let expected = naive(&dims, &permutation, &source);
            let transpose = Transpose::new(&dims, &permutation);
            let mut result = vec![u32::MAX; source.len()];
            let moved = transpose.copy(
                &Part { start: 0, elements: &source },
                &mut Part { start: 0, elements: unwritten::over(&mut result) },
            );
            prop_assert_eq!(&result, &expected, "at once");
            prop_assert_eq!(moved, source.len());

            result.fill(u32::MAX);
            for run in runs(&transpose, Side::Source, most, units) {
                let part = Part { start: run.start, elements: &source[run] };
                transpose.copy(&part, &mut Part { start: 0, elements: unwritten::over(&mut result) });
            }
            prop_assert_eq!(&result, &expected, "the source in parts");

            result.fill(u32::MAX);
            for run in runs(&transpose, Side::Result, most, units) {
                let mut part = Part { start: run.start, elements: unwritten::over(&mut result[run]) };
                transpose.copy(&Part { start: 0, elements: &source }, &mut part);
            }
            prop_assert_eq!(&result, &expected, "the result in parts");

            result.fill(u32::MAX);
            let mut moved = 0;
            for from in runs(&transpose, Side::Source, most, units) {
                for to in runs(&transpose, Side::Result, most, 1) {
                    let mut part = Part { start: to.start, elements: unwritten::over(&mut result[to]) };
                    moved += transpose.copy(&Part { start: from.start, elements: &source[from.clone()] }, &mut part);
                }
            }
            prop_assert_eq!(&result, &expected, "both in parts");
            prop_assert_eq!(moved, source.len());
        }
    }

    /// Results that do not fit the cache go past it, wherever their lines begin.
    #[test]
    fn large_results_are_what_the_definition_gives() {
        for dims in [
            [512, 1024],
            [528, 1008],
            [523, 1003],
            [40, 16_000],
            [16_000, 40],
            [3, 200_000],
        ] {
            let transpose = Transpose::new(&dims, &[1, 0]);
            let source: Vec<u32> = (0..).take(transpose.len).collect();
            assert!(squares::goes_past(size_of_val(source.as_slice())));
            let expected = naive(&dims, &[1, 0], &source);
            for skipped in [0, 1, 4, 13, 16] {
                let mut memory = vec![u32::MAX; transpose.len + skipped];
                let result = &mut memory[skipped..];
                for run in runs(&transpose, Side::Source, dims[1], 37) {
                    let part = Part {
                        start: run.start,
                        elements: &source[run],
                    };
                    transpose.copy(
                        &part,
                        &mut Part {
                            start: 0,
                            elements: unwritten::over(result),
                        },
                    );
                }
                assert!(result == expected, "{dims:?}, {skipped} elements further");
            }
        }
    }

    #[test]
    fn no_elements_are_no_problem() {
        let transpose = Transpose::new(&[0, 3], &[1, 0]);
        let mut none: [u32; 0] = [];
        transpose.copy(
            &Part {
                start: 0,
                elements: &[],
            },
            &mut Part {
                start: 0,
                elements: unwritten::over(&mut none),
            },
        );
    }
}
