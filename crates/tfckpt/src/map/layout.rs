//! Layouts: the same elements in another order.

use super::transpose::Transpose;
use crate::error::BoxError;
use crate::shape::Shape;
use crate::tensor::Sink;

/// How a variable's layout in the checkpoint follows from that of the model's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// The same.
    Same,
    /// Axis `i` of the variable is axis `permutation[i]` of the parameter.
    Permuted(&'static [usize]),
    /// The parameter's first two axes `[in * multiplier, 1]` are taken for `[in, multiplier]`, and then permuted.
    Depthwise {
        /// Output channels for each input channel.
        multiplier: usize,
        /// As in [`Layout::Permuted`].
        permutation: &'static [usize],
    },
    /// The same; on reading, dimensions of 1 may be added.
    Squeezed,
}

/// Bytes that are moved at a time on their way to a sink.
const PIECE: usize = 1 << 20;

/// A layout applied to a shape: ready to move elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// The shape of the source, perhaps seen with other axes.
    dims: Vec<usize>,
    /// Axis `i` of the destination is axis `permutation[i]` of the source; empty if nothing moves.
    permutation: Vec<usize>,
}

impl Layout {
    /// The shape of the variable for a parameter of shape `model`; `None` if the layout does not fit it.
    pub fn stored_shape(self, model: &[usize]) -> Option<Shape> {
        let (view, permutation) = self.view(model)?;
        match permutation {
            [] => Some(view.into()),
            _ => Some(permuted(&view, permutation)?.into()),
        }
    }

    /// Whether a variable of shape `stored` can fill a parameter of shape `model`.
    pub fn accepts(self, stored: &Shape, model: &[usize]) -> bool {
        let without_ones = |dims: &[usize]| dims.iter().copied().filter(|&dim| dim != 1).collect::<Vec<_>>();
        match self {
            Layout::Squeezed => without_ones(stored.dims()) == without_ones(model),
            _ => self.stored_shape(model).as_ref() == Some(stored),
        }
    }

    /// From the model's layout to that of the checkpoint; `None` if the layout does not fit the shape.
    pub fn to_stored(self, model: &[usize]) -> Option<Transform> {
        let (dims, permutation) = self.view(model)?;
        permuted(&dims, permutation)?;
        Some(Transform {
            dims,
            permutation: permutation.to_vec(),
        })
    }

    /// From the checkpoint's layout to that of the model; `None` if the layout does not fit the shape.
    pub fn to_model(self, model: &[usize]) -> Option<Transform> {
        let (view, permutation) = self.view(model)?;
        let dims = permuted(&view, permutation)?;
        let inverse = (0..permutation.len())
            .map(|axis| permutation.iter().position(|&from| from == axis))
            .collect::<Option<_>>()?;
        Some(Transform {
            dims: if permutation.is_empty() { view } else { dims },
            permutation: inverse,
        })
    }

    /// The axes of the parameter as the permutation sees them.
    fn view(self, model: &[usize]) -> Option<(Vec<usize>, &'static [usize])> {
        match self {
            Layout::Same | Layout::Squeezed => Some((model.to_vec(), &[])),
            Layout::Permuted(permutation) => (permutation.len() == model.len()).then(|| (model.to_vec(), permutation)),
            Layout::Depthwise {
                multiplier,
                permutation,
            } => {
                let (&[channels, 1], rest) = model.split_first_chunk()? else {
                    return None;
                };
                let inputs = channels
                    .checked_div(multiplier)
                    .filter(|inputs| inputs * multiplier == channels)?;
                let view = [&[inputs, multiplier], rest].concat();
                (view.len() == permutation.len()).then_some((view, permutation))
            }
        }
    }
}

fn permuted(dims: &[usize], permutation: &[usize]) -> Option<Vec<usize>> {
    permutation.iter().map(|&axis| dims.get(axis).copied()).collect()
}

impl Transform {
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
        if self.is_identity() {
            return destination.copy_from_slice(source);
        }
        let transpose = Transpose::new(&self.dims, &self.permutation);
        transpose.write(0..transpose.parts(), element_size, source, destination);
    }

    /// Passes the elements of `source`, moved, to `sink`. Only a piece of the result is in memory at a time: 1 MiB, or
    /// one part along its outermost axis if that is more. Without a permutation nothing is copied.
    ///
    /// # Errors
    /// Those of `sink`.
    ///
    /// # Panics
    /// If the length does not fit, which is an error of the caller and never of a file.
    pub fn stream(&self, element_size: usize, source: &[u8], sink: &mut Sink<'_>) -> Result<(), BoxError> {
        self.assert_fits(element_size, source.len());
        if self.is_identity() || source.is_empty() {
            return sink(source);
        }
        let transpose = Transpose::new(&self.dims, &self.permutation);
        let parts = transpose.parts();
        let part = source.len() / parts;
        let at_once = (PIECE / part).clamp(1, parts);
        let mut piece = vec![0; at_once * part];
        for first in (0..parts).step_by(at_once) {
            let some = first..parts.min(first + at_once);
            let piece = piece.get_mut(..some.len() * part).unwrap_or_default();
            transpose.write(some, element_size, source, piece);
            sink(piece)?;
        }
        Ok(())
    }

    fn assert_fits(&self, element_size: usize, len: usize) {
        let expected = self.dims.iter().product::<usize>() * element_size;
        assert!(len == expected, "{len} bytes cannot be {:?}", self.dims);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: usize) -> Vec<u8> {
        (0u32..).take(n).flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn every_layout_comes_back_as_it_was() {
        let cases: [(Layout, &[usize], &[usize]); 7] = [
            (Layout::Same, &[3, 4], &[3, 4]),
            (Layout::Squeezed, &[5], &[5]),
            (Layout::Permuted(&[1, 0]), &[3, 5], &[5, 3]),
            (Layout::Permuted(&[2, 1, 0]), &[4, 3, 2], &[2, 3, 4]),
            (Layout::Permuted(&[2, 3, 1, 0]), &[8, 3, 5, 4], &[5, 4, 3, 8]),
            (Layout::Permuted(&[2, 3, 4, 1, 0]), &[2, 3, 4, 5, 6], &[4, 5, 6, 3, 2]),
            (
                Layout::Depthwise {
                    multiplier: 2,
                    permutation: &[2, 3, 0, 1],
                },
                &[6, 1, 5, 4],
                &[5, 4, 3, 2],
            ),
        ];
        for (layout, model, stored) in cases {
            assert_eq!(layout.stored_shape(model).unwrap().dims(), stored);
            let source = bytes(model.iter().product());
            let (mut there, mut back) = (source.clone(), source.clone());
            layout.to_stored(model).unwrap().apply(4, &source, &mut there);
            layout.to_model(model).unwrap().apply(4, &there, &mut back);
            let mut streamed = Vec::new();
            let mut sink = |bytes: &[u8]| {
                streamed.extend_from_slice(bytes);
                Ok(())
            };
            layout.to_stored(model).unwrap().stream(4, &source, &mut sink).unwrap();
            assert_eq!(streamed, there);
            assert_eq!(back, source, "{layout:?}");
        }
    }

    #[test]
    fn a_conv_kernel_moves_as_in_tensorflow() {
        // [out 2, in 1, h 1, w 2] to [h, w, in, out]: element (o, 0, 0, w) goes to (0, w, 0, o).
        let mut stored = vec![0; 16];
        Layout::Permuted(&[2, 3, 1, 0])
            .to_stored(&[2, 1, 1, 2])
            .unwrap()
            .apply(4, &bytes(4), &mut stored);
        assert_eq!(bytemuck::pod_collect_to_vec::<u8, u32>(&stored), [0, 2, 1, 3]);
    }

    #[test]
    fn shapes_that_do_not_fit_the_layout_are_refused() {
        assert!(Layout::Permuted(&[1, 0]).stored_shape(&[3]).is_none());
        let depthwise = Layout::Depthwise {
            multiplier: 4,
            permutation: &[2, 3, 0, 1],
        };
        assert!(
            depthwise.stored_shape(&[6, 1, 3, 3]).is_none(),
            "6 is not a multiple of 4"
        );
        assert!(
            depthwise.stored_shape(&[8, 2, 3, 3]).is_none(),
            "two input channels to a group"
        );
        let none = Layout::Depthwise {
            multiplier: 0,
            permutation: &[2, 3, 0, 1],
        };
        assert!(none.stored_shape(&[8, 1, 3, 3]).is_none());
        assert!(Layout::Squeezed.accepts(&[1, 1, 5].into(), &[5]));
        assert!(!Layout::Same.accepts(&[1, 1, 5].into(), &[5]));
    }
}
