//! Operations that go element by element, on a block of elements at a time.

use std::collections::HashMap;

use candle_core::{CpuStorage, Device, Storage, Tensor};

use super::fused::Place;
use crate::error::Result;
use crate::ops::{Point, fill, shared};
use crate::value::Value;

/// So many elements are computed at once: with those of all operations they lie in the cache.
const BLOCK: usize = 256;

/// Where a block of an operand comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Tensor(usize),
    Step(usize),
}

/// What is to be done with each block of elements.
pub(super) struct Blocks<'d> {
    /// The shape of the result.
    dims: &'d [usize],
    steps: Vec<(Point, [Source; 2])>,
    tensors: Vec<Tensor>,
    /// Where operands come from.
    sources: HashMap<Place, Source>,
}

impl<'d> Blocks<'d> {
    pub(super) fn new(dims: &'d [usize]) -> Self {
        Blocks {
            dims,
            steps: Vec::new(),
            tensors: Vec::new(),
            sources: HashMap::new(),
        }
    }

    /// Where an operand comes from: from a step, or as a value. `None` if it is no tensor.
    pub(super) fn source(&mut self, place: Place, value: Option<&Value>) -> Result<Option<Source>> {
        if let Some(source) = self.sources.get(&place) {
            return Ok(Some(*source));
        }
        let Some(Value::Tensor(tensor)) = value else {
            return Ok(None);
        };
        let source = self.tensor(&tensor.tensor)?;
        self.sources.insert(place, source);
        Ok(Some(source))
    }

    /// A tensor whose elements are those of the result in order, those of each row, or one for each row; others are made such.
    fn tensor(&mut self, tensor: &Tensor) -> Result<Source> {
        self.tensors.push(match Reach::of(tensor.dims(), self.dims) {
            Some(_) => tensor.contiguous()?,
            None => tensor.broadcast_as(self.dims)?.contiguous()?,
        });
        Ok(Source::Tensor(self.tensors.len() - 1))
    }

    /// Adds what computes a part. `None` if it cannot be computed so: what a batch is scaled by has to be there as a whole.
    pub(super) fn step(&mut self, part: usize, point: Point, sources: &[Source]) -> Result<Option<()>> {
        let result = match (point, sources) {
            (Point::BatchNorm(epsilon), &[x, Source::Tensor(scale), offset, mean, Source::Tensor(variance)]) => {
                let of = |tensor: usize| self.tensors.get(tensor);
                let (Some(scale), Some(variance)) = (of(scale), of(variance)) else {
                    return Ok(None);
                };
                let factor = ((variance + epsilon)?.sqrt()?.recip()? * scale)?;
                let factor = self.tensor(&factor)?;
                let centred = self.push(Point::Sub, [x, mean]);
                let scaled = self.push(Point::Mul, [centred, factor]);
                self.push(Point::Add, [scaled, offset])
            }
            (point, &[a, b]) => self.push(point, [a, b]),
            (point, &[a]) => self.push(point, [a, a]),
            _ => return Ok(None),
        };
        self.sources.insert(Place::Part(part), result);
        Ok(Some(()))
    }

    /// How many operations it is by now.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    fn push(&mut self, point: Point, sources: [Source; 2]) -> Source {
        self.steps.push((point, sources));
        Source::Step(self.steps.len() - 1)
    }

    /// Does all of it. `None` if a tensor does not lie where it should.
    pub(super) fn compute(&self, count: usize) -> Result<Option<Tensor>> {
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
            pulp::Arch::new().dispatch(|| compute(&self.steps, &elements, number * part, result));
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
fn compute(steps: &[(Point, [Source; 2])], elements: &[Elements<'_>], start: usize, result: &mut [f32]) {
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
