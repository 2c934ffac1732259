//! Boxes of indices, and the runs of elements that two of them share.

use std::ops::Range;

use crate::layout;

/// A box of indices: a range of each dimension.
pub(super) type Region = Vec<Range<usize>>;

/// Elements that lie next to each other in both boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first of them, counted in the source.
    pub(super) from: usize,
    /// The first of them, counted in the target.
    pub(super) to: usize,
    pub(super) len: usize,
}

/// The elements of a box.
pub(super) fn volume(region: &[Range<usize>]) -> usize {
    region.iter().map(Range::len).product()
}

/// Calls `visit` with the runs of elements that `source` and `target` share, in the order of the source. Both are
/// stored row-major, by themselves.
pub(super) fn for_each_run(source: &[Range<usize>], target: &[Range<usize>], mut visit: impl FnMut(Run)) {
    let Some(axes) = axes(source, target) else { return };
    // The innermost axes along which neither box leaves anything out make one run with the next axis outside them.
    let whole = axes.iter().rev().take_while(|axis| axis.is_whole()).count();
    let (outer, inner) = axes.split_at(axes.len().saturating_sub(whole + 1));
    let len = inner.iter().map(|axis| axis.len).product::<usize>();
    let first = |offset: fn(&Axis) -> usize| inner.iter().map(offset).sum::<usize>();
    let start = |offset: fn(&Axis) -> usize| first(offset) + outer.iter().map(offset).sum::<usize>();
    let (from, to) = (start(Axis::from), start(Axis::to));
    let steps = outer.iter().map(|axis| layout::Axis {
        len: axis.len,
        from: axis.source_stride,
        to: axis.target_stride,
    });
    layout::for_each_offset(&steps.collect::<Vec<_>>(), |source, target| {
        visit(Run {
            from: from + source,
            to: to + target,
            len,
        });
    });
}

/// One dimension of the intersection.
struct Axis {
    len: usize,
    source_len: usize,
    target_len: usize,
    /// Where the intersection begins in each.
    source_start: usize,
    target_start: usize,
    source_stride: usize,
    target_stride: usize,
}

impl Axis {
    fn is_whole(&self) -> bool {
        self.len == self.source_len && self.len == self.target_len
    }

    fn from(&self) -> usize {
        self.source_start * self.source_stride
    }

    fn to(&self) -> usize {
        self.target_start * self.target_stride
    }
}

/// The dimensions of the intersection, outermost first; `None` if it is empty.
fn axes(source: &[Range<usize>], target: &[Range<usize>]) -> Option<Vec<Axis>> {
    let (mut source_stride, mut target_stride) = (1, 1);
    let mut axes = Vec::with_capacity(source.len());
    for (source, target) in source.iter().zip(target).rev() {
        let start = source.start.max(target.start);
        let len = source.end.min(target.end).checked_sub(start).filter(|&len| len > 0)?;
        axes.push(Axis {
            len,
            source_len: source.len(),
            target_len: target.len(),
            source_start: start - source.start,
            target_start: start - target.start,
            source_stride,
            target_stride,
        });
        source_stride *= source.len();
        target_stride *= target.len();
    }
    axes.reverse();
    Some(axes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runs(source: &[Range<usize>], target: &[Range<usize>]) -> Vec<Run> {
        let mut runs = Vec::new();
        for_each_run(source, target, |run| runs.push(run));
        runs
    }

    #[test]
    fn whole_rows_are_one_run() {
        assert_eq!(runs(&[2..4, 0..3], &[0..6, 0..3]), [Run { from: 0, to: 6, len: 6 }]);
        assert_eq!(runs(&[], &[]), [Run { from: 0, to: 0, len: 1 }]);
        assert_eq!(runs(&[0..2, 0..1], &[2..4, 0..1]), []);
        assert_eq!(runs(&[0..0, 0..3], &[0..2, 0..3]), []);
    }

    /// The indices of a box, in the order in which its elements are stored.
    fn indices(region: &[Range<usize>]) -> Vec<Vec<usize>> {
        region.iter().fold(vec![Vec::new()], |prefixes, range| {
            let extended = prefixes
                .iter()
                .flat_map(|prefix| range.clone().map(|i| [&prefix[..], &[i]].concat()));
            extended.collect()
        })
    }

    fn boxes() -> impl Strategy<Value = (Region, Region)> {
        let range = || (0usize..4, 0usize..4).prop_map(|(start, len)| start..start + len);
        proptest::collection::vec((range(), range()), 0..4).prop_map(|pairs| pairs.into_iter().unzip())
    }

    proptest! {
        #[test]
        fn runs_are_what_the_definition_gives((source, target) in boxes()) {
            let (from, to) = (indices(&source), indices(&target));
            let mut expected = Vec::new();
            for (i, index) in from.iter().enumerate() {
                expected.extend(to.iter().position(|other| other == index).map(|j| (i, j)));
            }
            let found: Vec<_> = runs(&source, &target)
                .iter()
                .flat_map(|run| (0..run.len).map(|i| (run.from + i, run.to + i)))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
