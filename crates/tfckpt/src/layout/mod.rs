//! Layouts: the same elements in another order. Recipes: one array out of several.

mod recipe;
mod squares;
mod transform;
mod transpose;

pub(crate) use recipe::{Given, Ready};
pub use recipe::{Recipe, RecipeFault, Source};
pub use transform::Transform;
pub(crate) use transform::{Moving, PIECE, pieces, whole_units};
pub(crate) use transpose::{Axis, for_each_offset};

use crate::shape::Shape;

/// How a variable's layout in the checkpoint follows from that of the model's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Layout {
    /// The same.
    #[default]
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
    /// As [`Layout::Permuted`], with axes of 1 in front: the window of a convolution that is a dense layer in the model.
    Windowed {
        /// How many axes of 1.
        ones: usize,
        /// As in [`Layout::Permuted`].
        permutation: &'static [usize],
    },
    /// Permuted, and then one axis of the variable is seen as two: `[heads * size]` as `[heads, size]`.
    Split {
        /// The axis, after the permutation.
        axis: usize,
        /// The length of the first of the two.
        parts: usize,
        /// As in [`Layout::Permuted`].
        permutation: &'static [usize],
    },
    /// The same, behind so many dimensions of 1.
    Unsqueezed {
        /// How many.
        ones: usize,
    },
    /// The same; on reading, dimensions of 1 may be added.
    Squeezed,
}

impl Layout {
    /// The shape of the variable for a parameter of shape `model`; `None` if the layout does not fit it.
    pub fn stored_shape(self, model: &[usize]) -> Option<Shape> {
        let (view, permutation) = self.view(model)?;
        let mut dims = match permutation {
            [] => view,
            _ => permuted(&view, permutation)?,
        };
        if let Layout::Split { axis, parts, .. } = self {
            let dim = dims.get_mut(axis)?;
            let size = dim.checked_div(parts).filter(|size| size * parts == *dim)?;
            *dim = size;
            dims.insert(axis, parts);
        }
        if let Layout::Unsqueezed { ones } | Layout::Windowed { ones, .. } = self {
            dims.splice(..0, std::iter::repeat_n(1, ones));
        }
        Some(dims.into())
    }

    /// The shape in the model of a variable of shape `stored`; `None` if the layout does not fit it.
    pub fn model_shape(self, stored: &[usize]) -> Option<Vec<usize>> {
        let unpermuted = |stored: &[usize], permutation: &[usize]| -> Option<Vec<usize>> {
            let dim = |axis| {
                permutation
                    .iter()
                    .position(|&from| from == axis)
                    .and_then(|at| stored.get(at).copied())
            };
            (permutation.len() == stored.len()).then(|| (0..stored.len()).map(dim).collect())?
        };
        match self {
            Layout::Same | Layout::Squeezed => Some(stored.to_vec()),
            Layout::Permuted(permutation) => unpermuted(stored, permutation),
            Layout::Unsqueezed { ones } => {
                let (first, rest) = stored.split_at_checked(ones)?;
                first.iter().all(|&dim| dim == 1).then(|| rest.to_vec())
            }
            Layout::Depthwise {
                multiplier,
                permutation,
            } => match unpermuted(stored, permutation)?.as_slice() {
                [inputs, second, window @ ..] if *second == multiplier => {
                    Some([&[inputs.checked_mul(multiplier)?, 1], window].concat())
                }
                _ => None,
            },
            Layout::Split {
                axis,
                parts,
                permutation,
            } => {
                let mut joined = stored.to_vec();
                if axis + 1 >= joined.len() || joined.remove(axis) != parts {
                    return None;
                }
                let size = joined.get_mut(axis)?;
                *size = size.checked_mul(parts)?;
                unpermuted(&joined, permutation)
            }
            Layout::Windowed { ones, permutation } => {
                let (window, rest) = stored.split_at_checked(ones)?;
                let is_window = window.iter().all(|&dim| dim == 1);
                is_window.then(|| unpermuted(rest, permutation))?
            }
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
        self.stored_shape(model)?;
        Some(Transform::new(dims, permutation.to_vec()))
    }

    /// From the checkpoint's layout to that of the model; `None` if the layout does not fit the shape.
    pub fn to_model(self, model: &[usize]) -> Option<Transform> {
        let (view, permutation) = self.view(model)?;
        self.stored_shape(model)?;
        let dims = permuted(&view, permutation)?;
        let inverse = (0..permutation.len())
            .map(|axis| permutation.iter().position(|&from| from == axis))
            .collect::<Option<_>>()?;
        let dims = if permutation.is_empty() { view } else { dims };
        Some(Transform::new(dims, inverse))
    }

    /// The axes of the parameter as the permutation sees them.
    fn view(self, model: &[usize]) -> Option<(Vec<usize>, &'static [usize])> {
        match self {
            Layout::Same | Layout::Squeezed | Layout::Unsqueezed { .. } => Some((model.to_vec(), &[])),
            Layout::Permuted(permutation) => (permutation.len() == model.len()).then(|| (model.to_vec(), permutation)),
            Layout::Split { permutation, .. } | Layout::Windowed { permutation, .. } => {
                let stays = permutation.iter().copied().eq(0..model.len());
                let moved = if stays { &[][..] } else { permutation };
                (permutation.len() == model.len()).then(|| (model.to_vec(), moved))
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: usize) -> Vec<u8> {
        (0u32..).take(n).flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn every_layout_comes_back_as_it_was() {
        let windowed = |ones, permutation| Layout::Windowed { ones, permutation };
        let split = |axis, parts, permutation| Layout::Split {
            axis,
            parts,
            permutation,
        };
        let cases: [(Layout, &[usize], &[usize]); 14] = [
            (Layout::Unsqueezed { ones: 2 }, &[5], &[1, 1, 5]),
            (split(1, 3, &[1, 0]), &[12, 5], &[5, 3, 4]),
            (split(1, 3, &[0, 1]), &[5, 12], &[5, 3, 4]),
            (split(0, 3, &[1, 0]), &[5, 12], &[3, 4, 5]),
            (split(0, 3, &[0]), &[12], &[3, 4]),
            (Layout::Same, &[3, 4], &[3, 4]),
            (Layout::Squeezed, &[5], &[5]),
            (Layout::Permuted(&[1, 0]), &[3, 5], &[5, 3]),
            (windowed(1, &[0, 1]), &[3, 5], &[1, 3, 5]),
            (windowed(2, &[1, 0]), &[3, 5], &[1, 1, 5, 3]),
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
            assert_eq!(layout.model_shape(stored).unwrap(), model);
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
        let heads = Layout::Split {
            axis: 1,
            parts: 5,
            permutation: &[1, 0],
        };
        assert!(heads.stored_shape(&[12, 7]).is_none(), "12 is not a multiple of 5");
        assert!(heads.to_model(&[12, 7]).is_none() && heads.to_stored(&[12, 7]).is_none());
        assert!(heads.stored_shape(&[10]).is_none());
        assert!(heads.model_shape(&[7, 4, 3]).is_none(), "4 heads");
        assert!(Layout::Squeezed.accepts(&[1, 1, 5].into(), &[5]));
        assert!(!Layout::Same.accepts(&[1, 1, 5].into(), &[5]));
    }
}
