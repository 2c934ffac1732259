//! What is wrong with a recipe.

use crate::dtype::DType;
use crate::shape::Shape;

/// Why a [`Recipe`](super::Recipe) cannot be carried out with the sources that there are.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeFault {
    /// None of the names of a source is there.
    #[error("there is no `{}`", names.join("` and no `"))]
    Missing {
        /// The names.
        names: Vec<String>,
    },
    /// A source has another dtype or shape than it must have.
    #[error("`{name}` is {found}, needed is {expected}")]
    Source {
        /// The source.
        name: String,
        /// `float32 [3, 20]`.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A slice reaches past the end, or along an axis that is not there.
    #[error("no elements {start}..{} along axis {axis} of {shape}", start.saturating_add(*len))]
    Slice {
        /// Of an array of this shape.
        shape: Shape,
        /// The axis.
        axis: usize,
        /// The first element.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Arrays of these shapes cannot lie side by side, or be added or compared.
    #[error("{first} and {second} do not fit together{}", axis.map_or(String::new(), |axis| format!(" along axis {axis}")))]
    Together {
        /// One of them.
        first: Shape,
        /// The other one.
        second: Shape,
        /// The axis along which they were to lie side by side.
        axis: Option<usize>,
    },
    /// Nothing cannot be put together.
    #[error("nothing to put together")]
    Empty,
    /// Not every axis once.
    #[error("axes {axes:?} are not those of {shape}")]
    Permute {
        /// Of an array of this shape.
        shape: Shape,
        /// What was to become of its axes.
        axes: Vec<usize>,
    },
    /// Another number of elements.
    #[error("{from} has not as many elements as {to}")]
    Reshape {
        /// The shape that there is.
        from: Shape,
        /// The shape that was to be.
        to: Shape,
    },
    /// A dtype that cannot be computed with, or that has no elements of one size.
    #[error("{dtype} elements cannot be {what}")]
    Dtype {
        /// The dtype.
        dtype: DType,
        /// `added`, `moved`.
        what: &'static str,
    },
    /// A constant that the dtype does not have.
    #[error("{value} is no {dtype}")]
    Constant {
        /// The constant.
        value: f64,
        /// The dtype.
        dtype: DType,
    },
}
