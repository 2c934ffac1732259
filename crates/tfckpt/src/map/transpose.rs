//! Moving the axes of an array, in tiles that stay in the cache.

use std::ops::Range;

/// Elements along each side of a tile.
const TILE: usize = 32;

/// A permutation of axes, ready to move the elements of an array of one shape: axis `i` of the result is axis
/// `permutation[i]` of the source.
pub(super) struct Transpose {
    /// The axes of the result, outermost first.
    axes: Vec<Axis>,
}

/// One axis of the result.
#[derive(Debug, Clone, Copy)]
struct Axis {
    len: usize,
    /// Elements between neighbours in the source.
    source_stride: usize,
    /// Elements between neighbours in the result.
    stride: usize,
}

impl Transpose {
    pub(super) fn new(dims: &[usize], permutation: &[usize]) -> Self {
        Transpose {
            axes: merged_axes(dims, permutation),
        }
    }

    /// The number of equal parts that the result falls into along its outermost axis.
    pub(super) fn parts(&self) -> usize {
        self.axes.first().map_or(1, |axis| axis.len)
    }

    /// Writes some of the [`parts`](Self::parts) of the result: `destination` holds exactly these, `source` the whole
    /// array.
    pub(super) fn write(&self, parts: Range<usize>, element_size: usize, source: &[u8], destination: &mut [u8]) {
        match element_size {
            1 => self.typed::<1>(parts, source, destination),
            2 => self.typed::<2>(parts, source, destination),
            4 => self.typed::<4>(parts, source, destination),
            8 => self.typed::<8>(parts, source, destination),
            16 => self.typed::<16>(parts, source, destination),
            _ => unreachable!("no dtype has elements of {element_size} bytes"),
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the strides are those of the two slices, whose lengths the caller checked"
    )]
    fn typed<const N: usize>(&self, parts: Range<usize>, source: &[u8], destination: &mut [u8]) {
        let (source, _) = source.as_chunks::<N>();
        let (destination, _) = destination.as_chunks_mut::<N>();
        if destination.is_empty() {
            return;
        }
        let mut axes = self.axes.clone();
        let mut source = source;
        if let Some(outermost) = axes.first_mut() {
            outermost.len = parts.len();
            source = &source[parts.start * outermost.source_stride..];
        }
        // The two axes that matter: neighbours in the result, and neighbours in the source.
        let Some((&inner, rest)) = axes.split_last() else {
            return destination.copy_from_slice(source);
        };
        let Some(along) = rest.iter().position(|axis| axis.source_stride == 1) else {
            // Neighbours in the result are neighbours in the source: whole runs move.
            return for_each_offset(rest, |from, to| {
                destination[to..to + inner.len].copy_from_slice(&source[from..from + inner.len]);
            });
        };
        let mut outer = rest.to_vec();
        let other = outer.remove(along);
        for_each_offset(&outer, |from, to| {
            for row in (0..other.len).step_by(TILE) {
                for column in (0..inner.len).step_by(TILE) {
                    for i in row..(row + TILE).min(other.len) {
                        let end = (column + TILE).min(inner.len);
                        let target = &mut destination[to + i * other.stride..][column..end];
                        for (j, slot) in (column..end).zip(target) {
                            *slot = source[from + i + j * inner.source_stride];
                        }
                    }
                }
            }
        });
    }
}

/// The axes of the result, outermost first; axes that stay neighbours are one.
fn merged_axes(dims: &[usize], permutation: &[usize]) -> Vec<Axis> {
    let source_strides = strides(dims.iter().copied());
    let lens = permutation.iter().map(|&axis| dims.get(axis).copied().unwrap_or(1));
    let result_strides = strides(lens.clone());
    let mut axes: Vec<Axis> = Vec::new();
    for ((len, &axis), stride) in lens.zip(permutation).zip(result_strides) {
        let next = Axis {
            len,
            source_stride: source_strides.get(axis).copied().unwrap_or(0),
            stride,
        };
        match axes.last_mut() {
            _ if len == 1 => {}
            Some(last) if last.source_stride == next.source_stride * len => {
                *last = Axis {
                    len: last.len * len,
                    ..next
                };
            }
            _ => axes.push(next),
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

/// Calls `visit` with the offsets in source and result of every combination of `axes`.
fn for_each_offset(axes: &[Axis], mut visit: impl FnMut(usize, usize)) {
    let mut index = vec![0; axes.len()];
    let (mut from, mut to) = (0, 0);
    loop {
        visit(from, to);
        // Count up, innermost axis first.
        let mut counted = false;
        for (axis, i) in axes.iter().zip(&mut index).rev() {
            *i += 1;
            from += axis.source_stride;
            to += axis.stride;
            if *i < axis.len {
                counted = true;
                break;
            }
            from -= axis.source_stride * axis.len;
            to -= axis.stride * axis.len;
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
    fn naive(dims: &[usize], permutation: &[usize], source: &[u8]) -> Vec<u8> {
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
        proptest::collection::vec(prop_oneof![1usize..6, 30usize..70], 1..5)
            .prop_filter("small enough", |dims| dims.iter().product::<usize>() < 100_000)
            .prop_flat_map(|dims| {
                let axes: Vec<usize> = (0..dims.len()).collect();
                (Just(dims), Just(axes).prop_shuffle())
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

        #[test]
        fn tiles_give_what_the_definition_gives((dims, permutation) in shapes_and_permutations()) {
            let n = dims.iter().product::<usize>();
            let ones: Vec<u8> = (0..=250u8).cycle().step_by(31).take(n).collect();
            let expected = naive(&dims, &permutation, &ones);
            let transpose = Transpose::new(&dims, &permutation);
            let parts = transpose.parts();
            let mut result = vec![0; n];
            transpose.write(0..parts, 1, &ones, &mut result);
            prop_assert_eq!(&result, &expected);

            // The same with elements of eight equal bytes.
            let wide = |bytes: &[u8]| bytes.iter().flat_map(|&byte| [byte; 8]).collect::<Vec<u8>>();
            let mut result = vec![0; 8 * n];
            transpose.write(0..parts, 8, &wide(&ones), &mut result);
            prop_assert_eq!(result, wide(&expected));

            // And in two pieces.
            let (mut result, at) = (vec![0; n], parts / 3);
            let (first, second) = result.split_at_mut(n / parts * at);
            transpose.write(0..at, 1, &ones, first);
            transpose.write(at..parts, 1, &ones, second);
            prop_assert_eq!(&result, &expected);
        }
    }

    #[test]
    fn no_elements_are_no_problem() {
        Transpose::new(&[0, 3], &[1, 0]).write(0..3, 4, &[], &mut []);
    }
}
