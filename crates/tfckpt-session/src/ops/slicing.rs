//! Parts of tensors, with all masks of `StridedSlice`.

use candle_core::Tensor;

use super::shape::{dims_of, signed, with_dims, zeros};
use super::table::{Args, Ops, many, one};
use super::turns::picked;
use crate::attrs::Attrs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Slice", |_| one(|args, _| slice(args)));
    ops.pure("StridedSlice", |attrs| {
        let masks = Masks::new(attrs)?;
        many(move |args, _| {
            let value = args.value(0)?;
            let view = View::new(&dims_of(value)?, &args.ints(1)?, &args.ints(2)?, &args.ints(3)?, masks)?;
            Ok(vec![view.of(value)?])
        })
    });
    ops.pure("StridedSliceGrad", |attrs| {
        let masks = Masks::new(attrs)?;
        one(move |args, context| strided_slice_grad(args, masks, context))
    });
}

fn slice(args: &Args) -> Result<TfTensor> {
    let (x, begins, sizes) = (args.tensor(0)?, args.sizes(1)?, args.ints(2)?);
    let rank = x.dims().len();
    let wrong = || Error::operand(format!("a slice at {begins:?} of {sizes:?} of {:?}", x.dims()));
    if begins.len() != rank || sizes.len() != rank {
        return Err(wrong());
    }
    let mut tensor = x.tensor.clone();
    for (axis, (&begin, &size)) in begins.iter().zip(&sizes).enumerate() {
        let len = tensor.dim(axis)?;
        let left = len.checked_sub(begin).ok_or_else(wrong)?;
        let size = match size {
            -1 => left,
            size => usize::try_from(size)
                .ok()
                .filter(|size| *size <= left)
                .ok_or_else(wrong)?,
        };
        if size != len {
            tensor = tensor.narrow(axis, begin, size)?;
        }
    }
    Ok(x.with(tensor.contiguous()?))
}

/// The masks of a `StridedSlice`: a bit for each entry of its operands.
#[derive(Debug, Clone, Copy)]
struct Masks {
    begin: i64,
    end: i64,
    ellipsis: i64,
    new_axis: i64,
    shrink: i64,
}

impl Masks {
    fn new(attrs: &Attrs<'_>) -> Result<Self> {
        Ok(Masks {
            begin: attrs.int("begin_mask", 0)?,
            end: attrs.int("end_mask", 0)?,
            ellipsis: attrs.int("ellipsis_mask", 0)?,
            new_axis: attrs.int("new_axis_mask", 0)?,
            shrink: attrs.int("shrink_axis_mask", 0)?,
        })
    }
}

fn has(mask: i64, bit: usize) -> bool {
    bit < 63 && mask >> bit & 1 == 1
}

/// What of each axis is taken, and the shape that comes out.
struct View {
    /// First place, step and count for each axis.
    axes: Vec<(i64, i64, usize)>,
    dims: Vec<usize>,
}

impl View {
    fn new(dims: &[usize], begins: &[i64], ends: &[i64], steps: &[i64], masks: Masks) -> Result<Self> {
        if begins.len() != ends.len() || begins.len() != steps.len() {
            return Err(Error::operand("begins, ends and steps differ in number"));
        }
        let entries = begins.len();
        let ellipsis = (0..entries).find(|entry| has(masks.ellipsis, *entry));
        // An ellipsis hides the other masks; axes that are inserted take none of the operand's.
        let taken = (0..entries)
            .filter(|entry| Some(*entry) != ellipsis && !has(masks.new_axis, *entry))
            .count();
        let open = dims
            .len()
            .checked_sub(taken)
            .ok_or_else(|| Error::operand(format!("{taken} indices for {dims:?}")))?;
        let mut view = View {
            axes: Vec::new(),
            dims: Vec::new(),
        };
        let whole = |view: &mut View, count: usize| {
            for _ in 0..count {
                let len = dims.get(view.axes.len()).copied().unwrap_or(1);
                view.axes.push((0, 1, len));
                view.dims.push(len);
            }
        };
        let all = begins.iter().zip(ends).zip(steps).enumerate();
        for (entry, ((&begin, &end), &step)) in all {
            if Some(entry) == ellipsis {
                whole(&mut view, open);
                continue;
            }
            if has(masks.new_axis, entry) {
                view.dims.push(1);
                continue;
            }
            let len = signed(dims.get(view.axes.len()).copied().unwrap_or(1));
            if step == 0 {
                return Err(Error::operand("a step of 0"));
            }
            if has(masks.shrink, entry) {
                let place = if begin < 0 { begin.saturating_add(len) } else { begin };
                if !(0..len).contains(&place) {
                    return Err(Error::operand(format!(
                        "index {begin} of dimension {} of {dims:?}",
                        view.axes.len()
                    )));
                }
                view.axes.push((place, 1, 1));
                continue;
            }
            let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
            let bound = |value: i64, masked: bool, default: i64| match masked {
                true => default,
                false if value < 0 => value.saturating_add(len).clamp(low, high),
                false => value.clamp(low, high),
            };
            let start = bound(begin, has(masks.begin, entry), if step > 0 { low } else { high });
            let stop = bound(end, has(masks.end, entry), if step > 0 { high } else { low });
            let span = if step > 0 { stop - start } else { start - stop };
            let count = match span > 0 {
                true => usize::try_from((span - 1) / step.saturating_abs() + 1).unwrap_or(0),
                false => 0,
            };
            view.axes.push((start, step, count));
            view.dims.push(count);
        }
        if ellipsis.is_none() {
            whole(&mut view, open);
        }
        Ok(view)
    }

    fn places(start: i64, step: i64, count: usize) -> Vec<i64> {
        (0..count).map(|place| start + step * signed(place)).collect()
    }

    fn of(&self, value: &Value) -> Result<Value> {
        let tensor = match value {
            Value::Tensor(tensor) => tensor,
            Value::Strings(strings) => return self.of_strings(strings),
            other => return Err(Error::operand(format!("a part of {}", other.name()))),
        };
        let mut taken = tensor.tensor.clone();
        for (axis, &(start, step, count)) in self.axes.iter().enumerate() {
            let len = taken.dim(axis)?;
            taken = match step {
                _ if (start, step, count) == (0, 1, len) => taken,
                _ if count == 0 => taken.narrow(axis, 0, 0)?,
                1 => taken.narrow(axis, usize::try_from(start).unwrap_or(0), count)?,
                step => picked(&taken, axis, Self::places(start, step, count))?,
            };
        }
        with_dims(&Value::Tensor(tensor.with(taken.contiguous()?)), &self.dims)
    }

    fn of_strings(&self, strings: &Strings) -> Result<Value> {
        let mut elements = strings.elements.to_vec();
        let mut inner: usize = strings.dims.iter().product();
        // From the outside in: each axis picks among blocks of what is within it.
        let mut outer = 1;
        for (&(start, step, count), &len) in self.axes.iter().zip(&strings.dims) {
            inner /= len.max(1);
            let places = Self::places(start, step, count);
            let mut next = Vec::new();
            for block in 0..outer {
                for &place in &places {
                    let from = (block * len + usize::try_from(place).unwrap_or(0)) * inner;
                    next.extend(elements.iter().skip(from).take(inner).cloned());
                }
            }
            elements = next;
            outer *= count;
        }
        Ok(Value::Strings(Strings::new(elements, &self.dims)?))
    }
}

/// The gradient of a `StridedSlice`: zeros with the slice set.
fn strided_slice_grad(args: &Args, masks: Masks, context: &Context<'_>) -> Result<TfTensor> {
    let (dims, gradient) = (args.sizes(0)?, args.tensor(4)?);
    let view = View::new(&dims, &args.ints(1)?, &args.ints(2)?, &args.ints(3)?, masks)?;
    let taken: Vec<usize> = view.axes.iter().map(|(_, _, count)| *count).collect();
    let mut tensor = gradient.tensor.reshape(taken)?;
    for (axis, &(start, step, count)) in view.axes.iter().enumerate() {
        let len = dims.get(axis).copied().unwrap_or(1);
        if count == 0 {
            return zeros(&dims, gradient.dtype, context);
        }
        tensor = spread(&tensor, axis, len, &View::places(start, step, count))?;
    }
    Ok(gradient.with(tensor))
}

/// Slices of an axis at other places of a longer one, zeros between them.
pub(crate) fn spread(x: &Tensor, axis: usize, len: usize, places: &[i64]) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    if let Some(dim) = dims.get_mut(axis) {
        *dim = len;
    }
    let zeros = Tensor::zeros(dims, x.dtype(), x.device())?;
    let places = Tensor::from_vec(places.to_vec(), places.len(), &candle_core::Device::Cpu)?;
    Ok(zeros.index_add(&places.to_device(x.device())?, &x.contiguous()?, axis)?)
}
