//! Several operations that go element by element, computed block by block.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{CpuStorage, Device, Storage, Tensor};
use tfckpt::DType;

use crate::context::Context;
use crate::error::Result;
use crate::ops::{Args, Kernel, Point, broadcast, fill, shared};
use crate::value::{TfTensor, Value};

/// So many elements are computed at once: with those of all operations they lie in the cache.
const BLOCK: usize = 256;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let mut block = Block::new(dims);
        for &number in &large {
            let Some(part) = self.parts.get(number) else { continue };
            let mut sources = Vec::with_capacity(part.operands.len());
            for &place in &part.operands {
                let value = match place {
                    Place::Leaf(leaf) => Some(args.value(leaf)?),
                    Place::Part(part) => values.get(part).and_then(Option::as_ref),
                };
                match block.source(place, value)? {
                    Some(source) => sources.push(source),
                    None => return Ok(None),
                }
            }
            block.step(number, part.point, &sources)?;
        }
        if block.steps.len() < 2 {
            return Ok(None);
        }
        let result = block.compute(count)?;
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

/// Where a block of an operand comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Tensor(usize),
    Step(usize),
}

/// What is to be done with each block of elements.
struct Block<'d> {
    /// The shape of the result.
    dims: &'d [usize],
    steps: Vec<(Point, [Source; 2])>,
    /// By the parts that they compute, the steps that have their results.
    results: HashMap<usize, usize>,
    tensors: Vec<Tensor>,
    /// The tensors that are operands as they are.
    known: Vec<(Place, usize)>,
}

impl<'d> Block<'d> {
    fn new(dims: &'d [usize]) -> Self {
        Block {
            dims,
            steps: Vec::new(),
            results: HashMap::new(),
            tensors: Vec::new(),
            known: Vec::new(),
        }
    }

    /// Where an operand comes from: from a step, or as a value. `None` if it is no tensor.
    fn source(&mut self, place: Place, value: Option<&Value>) -> Result<Option<Source>> {
        if let Place::Part(part) = place
            && let Some(step) = self.results.get(&part)
        {
            return Ok(Some(Source::Step(*step)));
        }
        if let Some((_, tensor)) = self.known.iter().find(|(known, _)| *known == place) {
            return Ok(Some(Source::Tensor(*tensor)));
        }
        let Some(Value::Tensor(tensor)) = value else {
            return Ok(None);
        };
        self.known.push((place, self.tensors.len()));
        Ok(Some(self.tensor(&tensor.tensor)?))
    }

    /// A tensor whose elements are those of the result in order, those of each row, or one for each row; others are made such.
    fn tensor(&mut self, tensor: &Tensor) -> Result<Source> {
        self.tensors.push(match Reach::of(tensor.dims(), self.dims) {
            Some(_) => tensor.contiguous()?,
            None => tensor.broadcast_as(self.dims)?.contiguous()?,
        });
        Ok(Source::Tensor(self.tensors.len() - 1))
    }

    /// Adds what computes a part.
    fn step(&mut self, part: usize, point: Point, sources: &[Source]) -> Result<()> {
        match (point, sources) {
            (Point::BatchNorm(epsilon), &[x, Source::Tensor(scale), offset, mean, Source::Tensor(variance)]) => {
                let of = |tensor: usize| self.tensors.get(tensor);
                let (Some(scale), Some(variance)) = (of(scale), of(variance)) else {
                    return Ok(());
                };
                let factor = ((variance + epsilon)?.sqrt()?.recip()? * scale)?;
                let factor = self.tensor(&factor)?;
                let centred = self.push(Point::Sub, [x, mean]);
                let scaled = self.push(Point::Mul, [centred, factor]);
                self.push(Point::Add, [scaled, offset]);
            }
            (point, &[a, b]) => drop(self.push(point, [a, b])),
            (point, &[a]) => drop(self.push(point, [a, a])),
            _ => {}
        }
        self.results.insert(part, self.steps.len().saturating_sub(1));
        Ok(())
    }

    fn push(&mut self, point: Point, sources: [Source; 2]) -> Source {
        self.steps.push((point, sources));
        Source::Step(self.steps.len() - 1)
    }

    fn compute(&self, count: usize) -> Result<Option<Tensor>> {
        let guards: Vec<_> = self.tensors.iter().map(Tensor::storage_and_layout).collect();
        let elements = guards.iter().zip(&self.tensors).map(|((storage, layout), tensor)| {
            let Storage::Cpu(CpuStorage::F32(values)) = &**storage else {
                return None;
            };
            let (start, end) = layout.contiguous_offsets()?;
            Some(Elements {
                values: values.get(start..end)?,
                reach: Reach::of(tensor.dims(), self.dims)?,
            })
        });
        let Some(elements) = elements.collect::<Option<Vec<Elements<'_>>>>() else {
            return Ok(None);
        };
        let mut result = vec![0f32; count];
        let part = shared(count).next_multiple_of(BLOCK);
        let work = count.saturating_mul(self.steps.len());
        fill(&mut result, part, work, |number, result| {
            pulp::Arch::new().dispatch(|| blocks(&self.steps, &elements, number * part, result));
        });
        drop(guards);
        Ok(Some(Tensor::from_vec(result, self.dims, &Device::Cpu)?))
    }
}

/// How the elements of an operand are stretched.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// Again and again: so many elements for each row, one for a scalar.
    Row(usize),
    /// Each for so many elements beside each other.
    Column(usize),
}

impl Reach {
    fn of(dims: &[usize], of_result: &[usize]) -> Option<Reach> {
        let count: usize = dims.iter().product();
        let missing = of_result.len().checked_sub(dims.len())?;
        let (before, behind) = of_result.split_at(missing);
        // Ones in front: the rest is as in the result.
        let ones = dims.iter().take_while(|dim| **dim == 1).count();
        if dims.get(ones..) == behind.get(ones..) {
            return Some(Reach::Row(count));
        }
        // Ones behind: the rest is as in the result, whole.
        let kept = dims.iter().rposition(|dim| *dim != 1).map_or(0, |last| last + 1);
        let is_whole = before.iter().all(|dim| *dim == 1) && dims.get(..kept) == behind.get(..kept);
        is_whole.then(|| Reach::Column(behind.iter().skip(kept).product()))
    }
}

/// The elements of an operand.
struct Elements<'t> {
    values: &'t [f32],
    reach: Reach,
}

impl<'t> Elements<'t> {
    /// Those of `start` on: as they lie, or put into `block`.
    #[inline(always)]
    fn block<'b>(&self, start: usize, block: &'b mut [f32]) -> &'b [f32]
    where
        't: 'b,
    {
        match self.reach {
            Reach::Row(1) => block.fill(self.values.first().copied().unwrap_or_default()),
            Reach::Row(width) => {
                let mut at = start % width;
                if let Some(values) = self.values.get(at..at + block.len()) {
                    return values;
                }
                let mut rest = &mut *block;
                while !rest.is_empty() {
                    let values = self.values.get(at..).unwrap_or_default();
                    let (now, later) = rest.split_at_mut(values.len().min(rest.len()));
                    now.copy_from_slice(values.get(..now.len()).unwrap_or_default());
                    (rest, at) = (later, 0);
                }
            }
            Reach::Column(width) => {
                let mut at = start;
                let mut rest = &mut *block;
                while !rest.is_empty() {
                    let (now, later) = rest.split_at_mut((width - at % width).min(rest.len()));
                    now.fill(self.values.get(at / width).copied().unwrap_or_default());
                    at += now.len();
                    rest = later;
                }
            }
        }
        block
    }
}

/// The elements from `start` on.
#[inline(always)]
fn blocks(steps: &[(Point, [Source; 2])], elements: &[Elements<'_>], start: usize, result: &mut [f32]) {
    let mut computed = vec![0f32; steps.len() * BLOCK];
    let mut operands = [[0f32; BLOCK]; 2];
    let mut at = start;
    for block in result.chunks_mut(BLOCK) {
        let len = block.len();
        for (number, &(point, sources)) in steps.iter().enumerate() {
            let (before, behind) = computed.split_at_mut(number * BLOCK);
            let [a, b] = &mut operands;
            let a = operand(sources[0], elements, before, at, a.get_mut(..len).unwrap_or_default());
            let b = operand(sources[1], elements, before, at, b.get_mut(..len).unwrap_or_default());
            let results = match number + 1 == steps.len() {
                true => &mut *block,
                false => behind.get_mut(..len).unwrap_or_default(),
            };
            point.compute(a, b, results);
        }
        at += len;
    }
}

#[inline(always)]
fn operand<'b>(
    source: Source,
    elements: &'b [Elements<'_>],
    computed: &'b [f32],
    start: usize,
    block: &'b mut [f32],
) -> &'b [f32] {
    match source {
        Source::Tensor(tensor) => elements.get(tensor).map(|elements| elements.block(start, block)),
        Source::Step(step) => computed.get(step * BLOCK..step * BLOCK + block.len()),
    }
    .unwrap_or_default()
}
