//! Slices of variables: a range of each dimension.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::shape::Shape;

/// A part of a variable: of each dimension a range, or all of it. TensorFlow's `TensorSlice`.
///
/// ```
/// # fn main() -> tfckpt::Result<()> {
/// use tfckpt::{Shape, Slice};
///
/// let (shape, slice) = Slice::parse_shape_and_slice("4 3 0,2:-")?;
/// assert_eq!(shape, Shape::from([4, 3]));
/// assert_eq!(slice, Slice::new([Some(0..2), None]));
/// assert_eq!(slice.shape_in(&shape), Some(Shape::from([2, 3])));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Start, and length unless it is the whole dimension.
    extents: Box<[(usize, Option<usize>)]>,
}

impl Slice {
    /// Of each dimension, outermost first, a range, or all of it.
    pub fn new(ranges: impl IntoIterator<Item = Option<Range<usize>>>) -> Self {
        let extent = |range: Option<Range<usize>>| range.map_or((0, None), |range| (range.start, Some(range.len())));
        Slice {
            extents: ranges.into_iter().map(extent).collect(),
        }
    }

    /// The whole of a variable of this rank.
    pub fn full(rank: usize) -> Self {
        Slice {
            extents: vec![(0, None); rank].into(),
        }
    }

    /// Parses a `shape_and_slice` of TensorFlow's `SaveV2` and `RestoreV2`: the dimensions of the whole variable, then
    /// of each dimension `start,length`, or `-` for all of it: `"4 3 0,2:-"`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it is no such text, or the slice does not lie within the shape.
    pub fn parse_shape_and_slice(text: &str) -> Result<(Shape, Self)> {
        let wrong = |why: &str| {
            Error::invalid(format!(
                "`{text}` is no shape and slice such as `4 3 0,2:-`, which takes rows 0 and 1 of a [4, 3]: {why}"
            ))
        };
        let (dims, slice) = text
            .rsplit_once(' ')
            .ok_or_else(|| wrong("there is nothing but one field"))?;
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<usize>().map_err(|_| wrong("a number is no size")),
            false => Err(wrong("a size is no number")),
        };
        let dims: Vec<usize> = dims.split(' ').map(number).collect::<Result<_>>()?;
        let extent = |item: &str| match item.split_once(',') {
            None if item == "-" => Ok((0, None)),
            None => Err(wrong("of each dimension it needs `start,length` or `-`")),
            Some((start, length)) => match number(length)? {
                0 => Err(wrong("a length is 0")),
                length => Ok((number(start)?, Some(length))),
            },
        };
        let extents = slice.split(':').map(extent).collect::<Result<_>>()?;
        let (shape, slice) = (Shape::from(dims), Slice { extents });
        match slice.shape_in(&shape) {
            Some(_) => Ok((shape, slice)),
            None => Err(wrong("the slice does not lie within the shape")),
        }
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.extents.len()
    }

    /// The shape of this part of a variable of shape `whole`; `None` if the ranks differ or it does not lie within.
    pub fn shape_in(&self, whole: &Shape) -> Option<Shape> {
        let ranges = self.ranges_in(whole)?;
        Some(Shape::from(ranges.iter().map(Range::len).collect::<Vec<_>>()))
    }

    /// Whether it is all of a variable of this shape.
    pub fn is_full(&self, whole: &Shape) -> bool {
        self.shape_in(whole).as_ref() == Some(whole)
    }

    /// The range of each dimension; `None` if the ranks differ or the slice does not lie within.
    pub(crate) fn ranges_in(&self, whole: &Shape) -> Option<Vec<Range<usize>>> {
        let dims = whole.dims();
        let range = |(&(start, length), &dim): (&(usize, Option<usize>), &usize)| {
            let end = length.map_or(Some(dim), |length| start.checked_add(length))?;
            (start <= end && end <= dim).then_some(start..end)
        };
        if dims.len() != self.extents.len() {
            return None;
        }
        self.extents.iter().zip(dims).map(range).collect()
    }

    /// From a file: start, and length unless it is the whole dimension. `None` if one is negative.
    pub(crate) fn from_file(extents: impl IntoIterator<Item = (i64, Option<i64>)>) -> Option<Self> {
        let size = |value: i64| usize::try_from(value).ok();
        let extent = |(start, length): (i64, Option<i64>)| {
            Some((
                size(start)?,
                match length {
                    Some(length) => Some(size(length)?),
                    None => None,
                },
            ))
        };
        Some(Slice {
            extents: extents.into_iter().map(extent).collect::<Option<_>>()?,
        })
    }

    /// Start and length of each dimension as a slice key has them: -1 for the whole dimension.
    pub(crate) fn key_extents(&self) -> Vec<(i64, i64)> {
        let signed = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let extents = self.extents.iter();
        extents
            .map(|&(start, length)| (signed(start), length.map_or(-1, signed)))
            .collect()
    }
}

impl std::fmt::Display for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (start, length)) in self.extents.iter().enumerate() {
            let colon = if i > 0 { ":" } else { "" };
            match length {
                Some(length) => write!(f, "{colon}{start},{length}")?,
                None => write!(f, "{colon}-")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_slices_are_those_of_tensorflow() {
        let (shape, slice) = Slice::parse_shape_and_slice("10 4 0,4:0,4").unwrap();
        assert_eq!((shape.dims(), slice.to_string().as_str()), (&[10, 4][..], "0,4:0,4"));
        for text in [
            "",
            "4",
            "4 3 0,2",
            "4  3 0,2:-",
            "4 x 0,2:-",
            "4 3 0:-",
            "4 3 0,0:-",
            "4 3 3,2:-",
            "4 3 -1,2:-",
        ] {
            assert!(Slice::parse_shape_and_slice(text).is_err(), "{text}");
        }
    }

    #[test]
    fn slices_that_reach_past_the_end_have_no_shape() {
        let whole = Shape::from([4, 3]);
        assert_eq!(
            Slice::new([Some(2..4), None]).shape_in(&whole),
            Some(Shape::from([2, 3]))
        );
        assert_eq!(Slice::new([Some(2..5), None]).shape_in(&whole), None);
        assert_eq!(Slice::full(1).shape_in(&whole), None);
        assert_eq!(
            Slice::from_file([(i64::MAX, Some(i64::MAX))])
                .unwrap()
                .shape_in(&Shape::from([5])),
            None
        );
        assert!(Slice::full(2).is_full(&whole) && Slice::new([Some(0..4), Some(0..3)]).is_full(&whole));
    }
}
