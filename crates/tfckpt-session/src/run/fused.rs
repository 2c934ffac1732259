//! Several operations that go element by element, as one.

use std::sync::Arc;

use tfckpt::DType;

use super::blocks::Blocks;
use crate::context::Context;
use crate::error::Result;
use crate::ops::{Args, Kernel, Point, broadcast};
use crate::value::{TfTensor, Value};

/// Operations in an order in which they can be computed, the last of which has the result.
pub(crate) struct Fused {
    pub(crate) parts: Vec<Part>,
}

/// One operation.
pub(crate) struct Part {
    pub(crate) node: Arc<str>,
    pub(crate) op: Arc<str>,
    /// For operands that are not tensors of single precision on the CPU, and for those that gradients lead through.
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) point: Point,
    pub(crate) operands: Vec<Place>,
}

/// Where an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// An operand of the whole.
    Leaf(usize),
    /// The result of an earlier operation.
    Part(usize),
}

impl Fused {
    pub(crate) fn run(&self, args: &mut Args, context: &Context<'_>) -> Result<Vec<Value>> {
        let mut values = vec![None; self.parts.len()];
        let result = match !context.tracked && is_single(args) {
            true => self.at_once(args, &mut values, context)?,
            false => None,
        };
        if let Some(result) = result {
            return Ok(vec![result]);
        }
        for number in 0..self.parts.len() {
            self.by_kernel(number, args, &mut values, context)?;
        }
        Ok(values.pop().flatten().into_iter().collect())
    }

    /// Computes an operation as a whole, unless that was done already.
    fn by_kernel(&self, number: usize, args: &Args, values: &mut [Option<Value>], context: &Context<'_>) -> Result<()> {
        let Some(part) = self
            .parts
            .get(number)
            .filter(|_| values.get(number).is_some_and(Option::is_none))
        else {
            return Ok(());
        };
        let operands = part.operands.iter().map(|place| match *place {
            Place::Leaf(leaf) => args.value(leaf).cloned(),
            Place::Part(part) => Ok(values.get(part).cloned().flatten().unwrap_or(Value::Done)),
        });
        let mut operands = Args::new(operands.collect::<Result<_>>()?);
        let results = (part.kernel)(&mut operands, context).map_err(|error| error.at(&part.node, &part.op))?;
        if let Some(value) = values.get_mut(number) {
            *value = results.into_iter().next();
        }
        Ok(())
    }

    /// All operations whose results are as large as the last one's, block by block; those that are smaller are computed before, as
    /// a whole. `None` if shapes do not fit, which the kernels complain of, or if there is nothing to be gained.
    fn at_once(&self, args: &Args, values: &mut [Option<Value>], context: &Context<'_>) -> Result<Option<Value>> {
        let Some(shapes) = self.shapes(args) else {
            return Ok(None);
        };
        let Some(dims) = shapes.last().filter(|dims| dims.iter().all(|dim| *dim > 0)) else {
            return Ok(None);
        };
        let count = context.elements(dims, size_of::<f32>())?;
        let large: Vec<usize> = (0..self.parts.len())
            .filter(|part| {
                shapes
                    .get(*part)
                    .is_some_and(|dims| dims.iter().product::<usize>() == count)
            })
            .collect();
        for number in (0..self.parts.len()).filter(|part| !large.contains(part)) {
            self.by_kernel(number, args, values, context)?;
        }
        let mut blocks = Blocks::new(dims);
        for &number in &large {
            let Some(part) = self.parts.get(number) else { continue };
            let mut sources = Vec::with_capacity(part.operands.len());
            for &place in &part.operands {
                let value = match place {
                    Place::Leaf(leaf) => Some(args.value(leaf)?),
                    Place::Part(part) => values.get(part).and_then(Option::as_ref),
                };
                match blocks.source(place, value)? {
                    Some(source) => sources.push(source),
                    None => return Ok(None),
                }
            }
            if blocks.step(number, part.point, &sources)?.is_none() {
                return Ok(None);
            }
        }
        if blocks.steps() < 2 {
            return Ok(None);
        }
        let result = blocks.compute(count)?;
        Ok(result.map(|tensor| {
            Value::Tensor(TfTensor {
                tensor,
                dtype: DType::Float32,
            })
        }))
    }

    /// The shape of each result.
    fn shapes(&self, args: &Args) -> Option<Vec<Vec<usize>>> {
        let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let dims = |place: &Place| match *place {
                Place::Leaf(leaf) => Some(args.tensor(leaf).ok()?.dims().to_vec()),
                Place::Part(part) => shapes.get(part).cloned(),
            };
            let operands: Vec<Vec<usize>> = part.operands.iter().map(dims).collect::<Option<_>>()?;
            shapes.push(match (part.point, operands.as_slice()) {
                (Point::BiasAdd, [x, bias]) => {
                    let fits = x.len() > 1 && bias.len() == 1 && x.last() == bias.last();
                    fits.then(|| x.clone())?
                }
                (Point::BatchNorm(_), [x, vectors @ ..]) => {
                    let fits = |vector: &Vec<usize>| vector.len() == 1 && vector.last() == x.last();
                    (x.len() > 1 && vectors.iter().all(fits)).then(|| x.clone())?
                }
                (_, [x]) => x.clone(),
                (_, [x, y]) => broadcast(x, y).ok()?,
                _ => return None,
            });
        }
        Some(shapes)
    }
}

fn is_single(args: &Args) -> bool {
    args.values().iter().all(|value| match value {
        Value::Tensor(tensor) => tensor.dtype == DType::Float32 && tensor.tensor.device().is_cpu(),
        _ => false,
    })
}
