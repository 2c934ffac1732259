//! One array out of several: what a parameter is made of, out of variables, and a variable, out of parameters.
//!
//! ```text
//! Recipe --check, with the shapes of its sources--> Ready --their bytes--> bytes
//! ```

mod check;
mod evaluate;
mod fault;
mod laid_out;
mod numbers;

pub(crate) use check::{Given, Ready};
pub use fault::RecipeFault;

use std::ops::Range;

/// How an array is made of others: an expression over sources that have names. On loading the sources are variables of a
/// checkpoint and the result is a parameter; on saving it is the other way round.
///
/// Shapes and dtypes are checked before any source is read. All sources have the dtype of the result; elements are moved
/// as they are, and only [`Sum`](Self::Sum) and [`Add`](Self::Add) compute, in that dtype, which then must be one of
/// floating point.
///
/// ```
/// use tfckpt::map::Recipe;
///
/// // The second of four gates of a kernel `[in 3, 4 * 5]`, as `[out, in]`.
/// let gate = Recipe::source("lstm/kernel").of_shape([3, 20]).slice(1, 5..10).permute([1, 0]);
/// // And back: four gates side by side.
/// let gates = ["i", "f", "c", "o"].map(|gate| Recipe::source(gate).permute([1, 0]));
/// let kernel = Recipe::concat(1, gates);
/// assert_eq!(kernel.sources().count(), 4);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Recipe {
    /// A source as it is.
    Source(Source),
    /// The elements `start..start + len` along an axis.
    Slice {
        /// Of what.
        of: Box<Recipe>,
        /// The axis, from 0.
        axis: usize,
        /// The first element.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Arrays side by side, which have the same length along all other axes.
    Concat {
        /// The arrays, one at least.
        of: Vec<Recipe>,
        /// The axis along which they lie side by side.
        axis: usize,
    },
    /// Axis `i` of the result is axis `axes[i]`.
    Permute {
        /// Of what.
        of: Box<Recipe>,
        /// Each axis once.
        axes: Vec<usize>,
    },
    /// The same elements in the same order, in another shape.
    Reshape {
        /// Of what.
        of: Box<Recipe>,
        /// The shape, with as many elements.
        dims: Vec<usize>,
    },
    /// The sum of arrays of one shape, from the first to the last. Adding zero changes nothing, not even the sign of a
    /// zero.
    Sum(Vec<Recipe>),
    /// A number added to each element. Adding zero changes nothing.
    Add {
        /// To what.
        of: Box<Recipe>,
        /// The number.
        value: f64,
    },
    /// The same number everywhere, which has to be a number of the dtype.
    Constant {
        /// The shape.
        dims: Vec<usize>,
        /// The number.
        value: f64,
    },
    /// One of two arrays of one shape: the first if two others are equal, byte for byte.
    IfEqual {
        /// What is compared.
        left: Box<Recipe>,
        /// With what.
        right: Box<Recipe>,
        /// What it is if they are equal.
        then: Box<Recipe>,
        /// What it is if not.
        otherwise: Box<Recipe>,
    },
}

/// What a [`Recipe`] begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// Its names; the first one that is there counts.
    pub names: Vec<String>,
    /// The shape that it must have; `None` if any will do that the rest of the recipe can take.
    pub dims: Option<Vec<usize>>,
}

impl Recipe {
    /// The source of this name.
    pub fn source(name: impl Into<String>) -> Self {
        Self::any_of([name])
    }

    /// The first source of these names that is there.
    pub fn any_of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Recipe::Source(Source {
            names: names.into_iter().map(Into::into).collect(),
            dims: None,
        })
    }

    /// Of a source: the shape that it must have. Anything else is reshaped to it.
    #[must_use]
    pub fn of_shape(self, dims: impl Into<Vec<usize>>) -> Self {
        match self {
            Recipe::Source(source) => Recipe::Source(Source {
                dims: Some(dims.into()),
                ..source
            }),
            other => other.reshape(dims),
        }
    }

    /// A [`Slice`](Self::Slice) of this.
    #[must_use]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Self {
        Recipe::Slice {
            of: Box::new(self),
            axis,
            start: range.start,
            len: range.end.saturating_sub(range.start),
        }
    }

    /// All of these side by side; one alone is itself.
    pub fn concat(axis: usize, parts: impl IntoIterator<Item = Recipe>) -> Self {
        let mut of: Vec<Recipe> = parts.into_iter().collect();
        match (of.pop(), of.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                of.extend(last);
                Recipe::Concat { of, axis }
            }
        }
    }

    /// This with other axes; see [`Permute`](Self::Permute).
    #[must_use]
    pub fn permute(self, axes: impl Into<Vec<usize>>) -> Self {
        Recipe::Permute {
            of: Box::new(self),
            axes: axes.into(),
        }
    }

    /// This in another shape.
    #[must_use]
    pub fn reshape(self, dims: impl Into<Vec<usize>>) -> Self {
        Recipe::Reshape {
            of: Box::new(self),
            dims: dims.into(),
        }
    }

    /// The sum of all of these; one alone is itself.
    pub fn sum(parts: impl IntoIterator<Item = Recipe>) -> Self {
        let mut of: Vec<Recipe> = parts.into_iter().collect();
        match (of.pop(), of.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                of.extend(last);
                Recipe::Sum(of)
            }
        }
    }

    /// This with a number added to each element.
    #[must_use]
    pub fn plus(self, value: f64) -> Self {
        Recipe::Add {
            of: Box::new(self),
            value,
        }
    }

    /// The same number everywhere.
    pub fn constant(dims: impl Into<Vec<usize>>, value: f64) -> Self {
        Recipe::Constant {
            dims: dims.into(),
            value,
        }
    }

    /// This if `left` and `right` are equal, and otherwise `otherwise`.
    #[must_use]
    pub fn if_equal(self, left: Recipe, right: Recipe, otherwise: Recipe) -> Self {
        Recipe::IfEqual {
            left: Box::new(left),
            right: Box::new(right),
            then: Box::new(self),
            otherwise: Box::new(otherwise),
        }
    }

    /// Its sources, in the order in which they appear; one that appears twice comes twice.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let mut sources = Vec::new();
        self.collect_sources(&mut sources);
        sources.into_iter()
    }

    /// The same with other names for its sources: for each name those that `name` gives, in their order.
    #[must_use]
    pub fn renamed(&self, name: &mut dyn FnMut(&str) -> Vec<String>) -> Self {
        match self {
            Recipe::Source(source) => Recipe::Source(Source {
                names: source.names.iter().flat_map(|own| name(own)).collect(),
                dims: source.dims.clone(),
            }),
            other => {
                let mut copy = other.clone();
                for part in copy.parts_mut() {
                    *part = part.renamed(name);
                }
                copy
            }
        }
    }

    fn collect_sources<'r>(&'r self, sources: &mut Vec<&'r Source>) {
        match self {
            Recipe::Source(source) => sources.push(source),
            other => other.parts().into_iter().for_each(|part| part.collect_sources(sources)),
        }
    }

    /// Whether elements change places.
    pub(crate) fn moves(&self) -> bool {
        matches!(self, Recipe::Permute { .. }) || self.parts().into_iter().any(Recipe::moves)
    }

    /// What it is made of directly.
    fn parts(&self) -> Vec<&Recipe> {
        match self {
            Recipe::Source(_) | Recipe::Constant { .. } => Vec::new(),
            Recipe::Slice { of, .. }
            | Recipe::Permute { of, .. }
            | Recipe::Reshape { of, .. }
            | Recipe::Add { of, .. } => vec![of],
            Recipe::Concat { of, .. } | Recipe::Sum(of) => of.iter().collect(),
            Recipe::IfEqual {
                left,
                right,
                then,
                otherwise,
            } => vec![left, right, then, otherwise],
        }
    }

    fn parts_mut(&mut self) -> Vec<&mut Recipe> {
        match self {
            Recipe::Source(_) | Recipe::Constant { .. } => Vec::new(),
            Recipe::Slice { of, .. }
            | Recipe::Permute { of, .. }
            | Recipe::Reshape { of, .. }
            | Recipe::Add { of, .. } => vec![of],
            Recipe::Concat { of, .. } | Recipe::Sum(of) => of.iter_mut().collect(),
            Recipe::IfEqual {
                left,
                right,
                then,
                otherwise,
            } => vec![left, right, then, otherwise],
        }
    }
}

impl Source {
    /// Its first name, by which it is written.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}
