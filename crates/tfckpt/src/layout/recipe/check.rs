//! Shapes and dtypes, before anything is read.

use super::{Recipe, RecipeFault, Source, numbers};
use crate::dtype::DType;
use crate::layout::Transform;
use crate::shape::Shape;

/// A source that is there.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// Its number among the sources whose bytes will be given.
    pub(crate) number: usize,
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) dims: Vec<usize>,
}

/// A recipe that was checked: all shapes are known and fit.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(super) node: Node,
    pub(super) dims: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Source(usize),
    Slice {
        of: Box<Ready>,
        axis: usize,
        start: usize,
    },
    Concat {
        of: Vec<Ready>,
        axis: usize,
    },
    Permute {
        of: Box<Ready>,
        transform: Transform,
    },
    Reshape(Box<Ready>),
    Sum(Vec<Ready>),
    /// The bytes of the number.
    Add {
        of: Box<Ready>,
        value: Vec<u8>,
    },
    Constant(Vec<u8>),
    IfEqual {
        pair: Box<[Ready; 2]>,
        then: Box<Ready>,
        otherwise: Box<Ready>,
    },
}

impl Recipe {
    /// Checks this for a result of `dtype`, with the sources that `find` gives.
    pub(crate) fn check(
        &self,
        dtype: DType,
        find: &mut dyn FnMut(&Source) -> Option<Given>,
    ) -> Result<Ready, RecipeFault> {
        if dtype.size().is_none() {
            return Err(RecipeFault::Dtype { dtype, what: "moved" });
        }
        Checker { dtype, find }.check(self)
    }
}

impl Ready {
    /// The shape of the result.
    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims
    }
}

struct Checker<'f> {
    dtype: DType,
    find: &'f mut dyn FnMut(&Source) -> Option<Given>,
}

impl Checker<'_> {
    fn check(&mut self, recipe: &Recipe) -> Result<Ready, RecipeFault> {
        let (node, dims) = match recipe {
            Recipe::Source(source) => self.source(source)?,
            Recipe::Slice { of, axis, start, len } => {
                let of = self.check(of)?;
                let end = start.checked_add(*len);
                let Some(dim) = of.dims.get(*axis).filter(|&&dim| end.is_some_and(|end| end <= dim)) else {
                    return Err(RecipeFault::Slice {
                        shape: of.dims.into(),
                        axis: *axis,
                        start: *start,
                        len: *len,
                    });
                };
                let dims = replaced(&of.dims, *axis, *len);
                if dim == len {
                    return Ok(of);
                }
                let (of, axis, start) = (Box::new(of), *axis, *start);
                (Node::Slice { of, axis, start }, dims)
            }
            Recipe::Concat { of, axis } => self.concat(of, *axis)?,
            Recipe::Permute { of, axes } => {
                let of = self.check(of)?;
                let mut sorted = axes.clone();
                sorted.sort_unstable();
                if !sorted.into_iter().eq(0..of.dims.len()) {
                    let (shape, axes) = (of.dims.into(), axes.clone());
                    return Err(RecipeFault::Permute { shape, axes });
                }
                let dims = axes.iter().filter_map(|&axis| of.dims.get(axis).copied()).collect();
                let transform = Transform::new(of.dims.clone(), axes.clone());
                (
                    Node::Permute {
                        of: Box::new(of),
                        transform,
                    },
                    dims,
                )
            }
            Recipe::Reshape { of, dims } => {
                let of = self.check(of)?;
                let (from, to) = (Shape::from(of.dims.clone()), Shape::from(dims.clone()));
                if to.element_count().is_none() || from.element_count() != to.element_count() {
                    return Err(RecipeFault::Reshape { from, to });
                }
                (Node::Reshape(Box::new(of)), dims.clone())
            }
            Recipe::Sum(of) => {
                self.must_add()?;
                let of = of.iter().map(|part| self.check(part)).collect::<Result<Vec<_>, _>>()?;
                let dims = of.first().ok_or(RecipeFault::Empty)?.dims.clone();
                of.iter().try_for_each(|part| same(&dims, &part.dims))?;
                (Node::Sum(of), dims)
            }
            Recipe::Add { of, value } => {
                self.must_add()?;
                let of = self.check(of)?;
                let (value, dims) = (self.number(*value)?, of.dims.clone());
                (
                    Node::Add {
                        of: Box::new(of),
                        value,
                    },
                    dims,
                )
            }
            Recipe::Constant { dims, value } => (Node::Constant(self.number(*value)?), dims.clone()),
            Recipe::IfEqual {
                left,
                right,
                then,
                otherwise,
            } => {
                let pair = [self.check(left)?, self.check(right)?];
                let [left, right] = &pair;
                same(&left.dims, &right.dims)?;
                let (then, otherwise) = (self.check(then)?, self.check(otherwise)?);
                same(&then.dims, &otherwise.dims)?;
                let dims = then.dims.clone();
                let (pair, then, otherwise) = (Box::new(pair), Box::new(then), Box::new(otherwise));
                (Node::IfEqual { pair, then, otherwise }, dims)
            }
        };
        self.fits_memory(&dims)?;
        Ok(Ready { node, dims })
    }

    fn source(&mut self, source: &Source) -> Result<(Node, Vec<usize>), RecipeFault> {
        let missing = || RecipeFault::Missing {
            names: source.names.clone(),
        };
        let given = (self.find)(source).ok_or_else(missing)?;
        let needed = source.dims.as_ref().unwrap_or(&given.dims);
        if given.dtype != self.dtype || *needed != given.dims {
            let text = |dtype: DType, dims: &[usize]| format!("{dtype} {}", Shape::from(dims.to_vec()));
            return Err(RecipeFault::Source {
                name: given.name,
                expected: text(self.dtype, needed),
                found: text(given.dtype, &given.dims),
            });
        }
        Ok((Node::Source(given.number), given.dims))
    }

    fn concat(&mut self, of: &[Recipe], axis: usize) -> Result<(Node, Vec<usize>), RecipeFault> {
        let of = of.iter().map(|part| self.check(part)).collect::<Result<Vec<_>, _>>()?;
        let first = of.first().ok_or(RecipeFault::Empty)?.dims.clone();
        let mut len = 0usize;
        for part in &of {
            let dim = part.dims.get(axis).copied();
            let fits = replaced(&part.dims, axis, 0) == replaced(&first, axis, 0);
            len = match dim.filter(|_| fits).and_then(|dim| len.checked_add(dim)) {
                Some(len) => len,
                None => {
                    return Err(RecipeFault::Together {
                        first: first.into(),
                        second: part.dims.clone().into(),
                        axis: Some(axis),
                    });
                }
            };
        }
        Ok((Node::Concat { of, axis }, replaced(&first, axis, len)))
    }

    fn must_add(&self) -> Result<(), RecipeFault> {
        match numbers::is_float(self.dtype) {
            true => Ok(()),
            false => Err(RecipeFault::Dtype {
                dtype: self.dtype,
                what: "added",
            }),
        }
    }

    fn number(&self, value: f64) -> Result<Vec<u8>, RecipeFault> {
        numbers::bytes_of(self.dtype, value).ok_or(RecipeFault::Constant {
            value,
            dtype: self.dtype,
        })
    }

    /// Whether so many elements have a size that can be told.
    fn fits_memory(&self, dims: &[usize]) -> Result<(), RecipeFault> {
        let shape = Shape::from(dims.to_vec());
        let bytes = shape.element_count().zip(self.dtype.size());
        let bytes = bytes.and_then(|(count, size)| count.checked_mul(size as u64));
        match bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok()) {
            true => Ok(()),
            false => Err(RecipeFault::Reshape {
                from: shape.clone(),
                to: shape,
            }),
        }
    }
}

fn same(first: &[usize], second: &[usize]) -> Result<(), RecipeFault> {
    match first == second {
        true => Ok(()),
        false => Err(RecipeFault::Together {
            first: first.to_vec().into(),
            second: second.to_vec().into(),
            axis: None,
        }),
    }
}

fn replaced(dims: &[usize], axis: usize, len: usize) -> Vec<usize> {
    let dims = dims.iter().enumerate();
    dims.map(|(i, &dim)| if i == axis { len } else { dim }).collect()
}
