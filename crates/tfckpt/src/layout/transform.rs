//! A layout applied to a shape.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytemuck::Pod;

use super::transpose::{Part, Side, Transpose};
use crate::bytes::unwritten;
use crate::dtype::DType;
use crate::error::{BoxError, Error, Result};
use crate::tensor::Sink;

/// Bytes that are moved at a time on their way to a sink, or from a file.
pub(crate) const PIECE: usize = 1 << 20;

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// A layout applied to a shape: ready to move elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// The shape of the source, perhaps seen with other axes.
    dims: Vec<usize>,
    /// Axis `i` of the destination is axis `permutation[i]` of the source; empty if nothing moves.
    permutation: Vec<usize>,
}

impl Transform {
    pub(super) fn new(dims: Vec<usize>, permutation: Vec<usize>) -> Self {
        Transform { dims, permutation }
    }

    /// The shape of the source as it is seen.
    pub(super) fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Axis `i` of the destination is this axis of the source; empty if nothing moves.
    pub(super) fn permutation(&self) -> &[usize] {
        &self.permutation
    }

    /// Whether the bytes stay as they are.
    pub fn is_identity(&self) -> bool {
        self.permutation.is_empty()
    }

    /// Moves elements of `element_size` bytes from `source` to `destination`, which must have the same length: that
    /// of the shape that this transform was made for.
    ///
    /// # Panics
    /// If the lengths do not fit, which is an error of the caller and never of a file.
    pub fn apply(&self, element_size: usize, source: &[u8], destination: &mut [u8]) {
        self.assert_fits(element_size, source.len());
        self.assert_fits(element_size, destination.len());
        match self.moving(element_size) {
            None => destination.copy_from_slice(source),
            Some(moving) => moving.copy(0, source, 0, destination),
        }
    }

    /// Passes the elements of `source`, moved, to `sink`. Only a piece of the result is in memory at a time, of about
    /// 1 MiB. Without a permutation nothing is copied.
    ///
    /// # Errors
    /// Those of `sink`.
    ///
    /// # Panics
    /// If the length does not fit, which is an error of the caller and never of a file.
    pub fn stream(&self, element_size: usize, source: &[u8], sink: &mut Sink<'_>) -> Result<(), BoxError> {
        self.assert_fits(element_size, source.len());
        let Some(moving) = self.moving(element_size) else {
            return sink(source);
        };
        let mut piece = Vec::new();
        for range in pieces(source.len(), moving.result_unit()) {
            piece.resize(range.len(), 0);
            moving.copy(0, source, range.start, &mut piece);
            sink(&piece)?;
        }
        Ok(())
    }

    /// What moves the elements of a variable of `len` bytes; `None` if they stay.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if this was made for another shape.
    pub(crate) fn for_variable(&self, name: &str, dtype: DType, len: u64) -> Result<Option<Moving>> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        match dtype.size().filter(|&size| self.fits(size, len)) {
            Some(size) => Ok(self.moving(size)),
            None => Err(Error::invalid(format!(
                "variable `{name}`: the layout is that of another shape"
            ))),
        }
    }

    /// Whether `len` bytes are as many as the elements take.
    pub(crate) fn fits(&self, element_size: usize, len: usize) -> bool {
        self.dims.iter().product::<usize>() * element_size == len
    }

    /// What moves the elements; `None` if they stay.
    fn moving(&self, element_size: usize) -> Option<Moving> {
        (!self.is_identity()).then(|| Moving {
            transpose: Transpose::new(&self.dims, &self.permutation),
            element_size,
        })
    }

    fn assert_fits(&self, element_size: usize, len: usize) {
        assert!(self.fits(element_size, len), "{len} bytes cannot be {:?}", self.dims);
    }
}

/// A permutation of axes and the size of the elements that it moves. All lengths and places are in bytes.
#[derive(Debug)]
pub(crate) struct Moving {
    transpose: Transpose,
    element_size: usize,
}

impl Moving {
    /// Parts of the source that are moved by themselves are multiples of this, at most [`PIECE`] if any axis is as
    /// short.
    pub(crate) fn source_unit(&self) -> usize {
        self.unit(Side::Source)
    }

    /// The same for parts of the result: where that is not too much, as many lines as a cache line of the source has
    /// elements, so that none is read twice.
    pub(crate) fn result_unit(&self) -> usize {
        let unit = self.unit(Side::Result);
        let lines = unit * (CACHE_LINE / self.element_size);
        if lines <= PIECE { lines } else { unit }
    }

    /// Cuts a source of `len` bytes into bands of about `most`, for a result at this address: as far as that can be, all
    /// but the first and the last become whole cache lines of the result.
    pub(crate) fn bands(&self, len: usize, most: usize, result: usize) -> impl Iterator<Item = Range<usize>> {
        let unit = self.source_unit();
        let per_line = CACHE_LINE / self.element_size;
        let becomes_lines = self.transpose.line_of_result().map(|from| from * self.element_size) == Some(unit);
        let (first, step) = match becomes_lines && per_line * unit <= most {
            true => {
                let before = (result.next_multiple_of(CACHE_LINE) - result) / self.element_size;
                (before * unit, whole_units(most, per_line * unit))
            }
            false => (0, whole_units(most, unit)),
        };
        let ends = (first..len).step_by(step).filter(|&end| end > 0).chain([len]);
        let mut start = 0;
        ends.map(move |end| std::mem::replace(&mut start, end)..end)
    }

    fn unit(&self, side: Side) -> usize {
        self.transpose.unit(side, PIECE / self.element_size) * self.element_size
    }

    /// Moves what the part of the source at byte `from` and the part of the result at byte `to` have in common.
    pub(crate) fn copy(&self, from: usize, source: &[u8], to: usize, result: &mut [u8]) {
        self.copy_new(from, source, to, unwritten::over(result));
    }

    /// The same to where nothing has been yet. Gives how many bytes of the result were written, each once: what another
    /// part of the source is moved to is never the same.
    pub(crate) fn copy_new(&self, from: usize, source: &[u8], to: usize, result: &mut [MaybeUninit<u8>]) -> usize {
        match self.element_size {
            1 => self.typed::<u8, 1>(from, source, to, result),
            2 => self.typed::<u16, 2>(from, source, to, result),
            4 => self.typed::<u32, 4>(from, source, to, result),
            8 => self.typed::<u64, 8>(from, source, to, result),
            _ => self.typed::<u128, 16>(from, source, to, result),
        }
    }

    fn typed<T: Pod, const N: usize>(
        &self,
        from: usize,
        source: &[u8],
        to: usize,
        result: &mut [MaybeUninit<u8>],
    ) -> usize
    where
        [u8; N]: Pod,
    {
        if let Ok(source) = bytemuck::try_cast_slice(source)
            && let Some(result) = unwritten::cast(result)
        {
            // As numbers, which the compiler moves several at a time.
            return self.parts::<T>(from, source, to, result);
        }
        let (source, result) = (source.as_chunks::<N>().0, unwritten::cast(result));
        self.parts(from, source, to, result.unwrap_or_default())
    }

    fn parts<T: Pod>(&self, from: usize, source: &[T], to: usize, result: &mut [MaybeUninit<T>]) -> usize {
        let source = Part {
            start: from / self.element_size,
            elements: source,
        };
        let mut result = Part {
            start: to / self.element_size,
            elements: result,
        };
        self.transpose.copy(&source, &mut result) * self.element_size
    }
}

/// The most bytes, at most `most` but one unit at least, that are whole units.
pub(crate) fn whole_units(most: usize, unit: usize) -> usize {
    (most / unit.max(1)).max(1) * unit.max(1)
}

/// Cuts `0..len` into pieces of about [`PIECE`] bytes, all but the last a multiple of `unit`.
pub(crate) fn pieces(len: usize, unit: usize) -> impl Iterator<Item = Range<usize>> {
    let step = whole_units(PIECE, unit);
    (0..len).step_by(step).map(move |start| start..len.min(start + step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_everything_once_and_become_whole_cache_lines() {
        for dims in [[768, 3072], [3072, 768], [1000, 10], [100, 7], [1, 50], [5, 300_000]] {
            let transform = Transform::new(dims.to_vec(), vec![1, 0]);
            let moving = transform.moving(4).unwrap();
            let len = dims[0] * dims[1] * 4;
            for result in [0, 16, 20, 64] {
                let bands: Vec<Range<usize>> = moving.bands(len, PIECE, result).collect();
                assert_eq!(bands.first().unwrap().start, 0);
                assert_eq!(bands.last().unwrap().end, len);
                assert!(bands.array_windows().all(|[a, b]| a.end == b.start && a.end > a.start));
                if dims[1] == 3072 {
                    let row = |band: &Range<usize>| result + band.start / dims[1];
                    assert!(
                        bands.iter().skip(1).all(|band| row(band) % CACHE_LINE == 0),
                        "{bands:?}"
                    );
                }
            }
        }
    }
}
