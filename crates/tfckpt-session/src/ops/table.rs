//! The table of operations, and how kernels get their operands.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::pointwise::Point;
use crate::attrs::Attrs;
use crate::context::Context;
use crate::dtype::{is_float, is_int};
use crate::error::{Error, Result};
use crate::value::{Strings, TfTensor, Value};

/// What a compiled node does with its operands.
pub type Kernel = Box<dyn Fn(&mut Args, &Context<'_>) -> Result<Vec<Value>> + Send + Sync>;

pub(crate) type Build = Arc<dyn Fn(&Attrs<'_>) -> Result<Kernel> + Send + Sync>;

/// An operation.
#[derive(Clone)]
pub(crate) struct Op {
    pub(crate) build: Build,
    /// Whether equal operands give equal results, so that constants are computed once.
    pub(crate) pure: bool,
    /// Whether it takes variables themselves, not their values.
    pub(crate) refs: bool,
    /// Whether it is TensorFlow's, and does as that does.
    built_in: bool,
    /// What it does besides giving results.
    pub(crate) effect: Effect,
}

/// What an operation does besides giving results. What does something is done where others wait for it, whether its results are
/// needed or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    #[default]
    None,
    /// It fails, or changes what is no variable.
    Acts,
    /// It changes variables: values that were read before must then be copies.
    Writes,
}

/// All operations by name.
#[derive(Clone)]
pub(crate) struct Ops {
    table: HashMap<String, Op>,
}

impl Ops {
    /// All that we have.
    pub(crate) fn new() -> Self {
        let mut ops = Ops { table: HashMap::new() };
        super::activation::add(&mut ops);
        super::arithmetic::add(&mut ops);
        super::array::add(&mut ops);
        super::arrays::add(&mut ops);
        super::asserts::add(&mut ops);
        super::blocks::add(&mut ops);
        super::cast::add(&mut ops);
        super::compare::add(&mut ops);
        super::conv::add(&mut ops);
        super::crop::add(&mut ops);
        super::diagonal::add(&mut ops);
        super::distinct::add(&mut ops);
        super::einsum::add(&mut ops);
        super::gather::add(&mut ops);
        super::grads::add(&mut ops);
        super::largest::add(&mut ops);
        super::linear::add(&mut ops);
        super::lists::add(&mut ops);
        super::lookup::add(&mut ops);
        super::loss::add(&mut ops);
        super::masks::add(&mut ops);
        super::math::add(&mut ops);
        super::norm::add(&mut ops);
        super::pads::add(&mut ops);
        super::parse::add(&mut ops);
        super::partition::add(&mut ops);
        super::pool::add(&mut ops);
        super::quantised::add(&mut ops);
        super::random::add(&mut ops);
        super::reduce::add(&mut ops);
        super::resize::add(&mut ops);
        super::rnn::add(&mut ops);
        super::scatter::add(&mut ops);
        super::segments::add(&mut ops);
        super::shape::add(&mut ops);
        super::slicing::add(&mut ops);
        super::sparse::add(&mut ops);
        super::stacks::add(&mut ops);
        super::state::add(&mut ops);
        super::texts::add(&mut ops);
        super::train::add(&mut ops);
        super::turns::add(&mut ops);
        super::volumes::add(&mut ops);
        ops.table.values_mut().for_each(|op| op.built_in = true);
        ops
    }

    pub(crate) fn get(&self, op: &str) -> Option<&Op> {
        self.table.get(op)
    }

    /// What an operation does to each element, if it is ours and does nothing else.
    ///
    /// # Errors
    /// An attribute is not what it should be.
    pub(crate) fn point(&self, op: &str, attrs: &Attrs<'_>) -> Result<Option<Point>> {
        match self.table.get(op).is_some_and(|entry| entry.built_in) {
            true => Point::of(op, attrs),
            false => Ok(None),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(String::as_str)
    }

    /// An operation whose result depends on its operands alone.
    pub(crate) fn pure(&mut self, name: &str, build: impl Fn(&Attrs<'_>) -> Result<Kernel> + Send + Sync + 'static) {
        self.insert(name, build, true, false, Effect::None);
    }

    /// An operation that gives something else each time.
    pub(crate) fn impure(&mut self, name: &str, build: impl Fn(&Attrs<'_>) -> Result<Kernel> + Send + Sync + 'static) {
        self.insert(name, build, false, false, Effect::None);
    }

    /// An operation on variables that it does not change.
    pub(crate) fn reads(&mut self, name: &str, build: impl Fn(&Attrs<'_>) -> Result<Kernel> + Send + Sync + 'static) {
        self.insert(name, build, false, true, Effect::None);
    }

    /// An operation that changes variables.
    pub(crate) fn writes(&mut self, name: &str, build: impl Fn(&Attrs<'_>) -> Result<Kernel> + Send + Sync + 'static) {
        self.insert(name, build, false, true, Effect::Writes);
    }

    /// An operation that does something to what is no variable.
    pub(crate) fn acts(&mut self, name: &str, build: impl Fn(&Attrs<'_>) -> Result<Kernel> + Send + Sync + 'static) {
        self.insert(name, build, false, false, Effect::Acts);
    }

    fn insert(
        &mut self,
        name: &str,
        build: impl Fn(&Attrs<'_>) -> Result<Kernel> + Send + Sync + 'static,
        pure: bool,
        refs: bool,
        effect: Effect,
    ) {
        let op = Op {
            build: Arc::new(build),
            pure,
            refs,
            built_in: false,
            effect,
        };
        self.table.insert(name.to_owned(), op);
    }
}

/// A kernel of one output.
pub(crate) fn one(
    kernel: impl Fn(&mut Args, &Context<'_>) -> Result<TfTensor> + Send + Sync + 'static,
) -> Result<Kernel> {
    Ok(Box::new(move |args, context| {
        Ok(vec![Value::Tensor(kernel(args, context)?)])
    }))
}

/// A kernel of any number of outputs.
pub(crate) fn many(
    kernel: impl Fn(&mut Args, &Context<'_>) -> Result<Vec<Value>> + Send + Sync + 'static,
) -> Result<Kernel> {
    Ok(Box::new(kernel))
}

/// The operands of a kernel.
#[derive(Debug)]
pub struct Args {
    values: Vec<Value>,
}

impl Args {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Args { values }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn value(&self, place: usize) -> Result<&Value> {
        self.values
            .get(place)
            .ok_or_else(|| Error::graph(format!("operand {place} is missing")))
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// Takes one of them out, to be changed in place.
    pub(crate) fn take(&mut self, place: usize) -> Result<Value> {
        let value = self.values.get_mut(place);
        let value = value.ok_or_else(|| Error::graph(format!("operand {place} is missing")))?;
        Ok(std::mem::replace(value, Value::Done))
    }

    /// A tensor.
    ///
    /// # Errors
    /// It is something else.
    pub fn tensor(&self, place: usize) -> Result<&TfTensor> {
        match self.value(place)? {
            Value::Tensor(tensor) => Ok(tensor),
            other => Err(wrong(place, "a tensor", other.name())),
        }
    }

    /// All tensors from `start` on.
    pub(crate) fn tensors(&self, range: std::ops::Range<usize>) -> Result<Vec<&TfTensor>> {
        range.map(|place| self.tensor(place)).collect()
    }

    /// A tensor of floats.
    ///
    /// # Errors
    /// It is something else.
    pub fn float(&self, place: usize) -> Result<&Tensor> {
        let tensor = self.tensor(place)?;
        match is_float(tensor.dtype) {
            true => Ok(&tensor.tensor),
            false => Err(wrong(place, "floats", tensor.dtype.name())),
        }
    }

    /// A float.
    ///
    /// # Errors
    /// It is something else.
    pub fn float_scalar(&self, place: usize) -> Result<f64> {
        let tensor = self.float(place)?.to_dtype(candle_core::DType::F64)?;
        match tensor.elem_count() {
            1 => Ok(tensor
                .to_device(&Device::Cpu)?
                .flatten_all()?
                .to_vec1::<f64>()?
                .into_iter()
                .sum()),
            _ => Err(wrong(place, "a scalar", &format!("shape {:?}", tensor.dims()))),
        }
    }

    /// The elements of a tensor of integers or truths, row-major.
    ///
    /// # Errors
    /// It is something else.
    pub fn ints(&self, place: usize) -> Result<Vec<i64>> {
        let tensor = self.tensor(place)?;
        match is_int(tensor.dtype) || tensor.dtype == DType::Bool {
            true => tensor.to_ints(),
            false => Err(wrong(place, "integers", tensor.dtype.name())),
        }
    }

    /// An integer.
    ///
    /// # Errors
    /// It is something else.
    pub fn int(&self, place: usize) -> Result<i64> {
        match self.ints(place)?.as_slice() {
            [value] => Ok(*value),
            values => Err(wrong(place, "a scalar", &format!("{} values", values.len()))),
        }
    }

    /// Sizes: integers that are not negative.
    pub(crate) fn sizes(&self, place: usize) -> Result<Vec<usize>> {
        let size = |value: i64| usize::try_from(value).map_err(|_| wrong(place, "sizes", &value.to_string()));
        self.ints(place)?.into_iter().map(size).collect()
    }

    /// An axis of a tensor of `rank`, counted from the end if it is negative.
    pub(crate) fn axis(&self, place: usize, rank: usize) -> Result<usize> {
        axis(self.int(place)?, rank)
    }

    /// Strings.
    pub(crate) fn strings(&self, place: usize) -> Result<&Strings> {
        match self.value(place)? {
            Value::Strings(strings) => Ok(strings),
            other => Err(wrong(place, "strings", other.name())),
        }
    }

    /// A variable.
    pub(crate) fn variable(&self, place: usize) -> Result<usize> {
        match self.value(place)? {
            Value::Variable(variable) => Ok(*variable),
            other => Err(wrong(place, "a variable", other.name())),
        }
    }
}

/// An axis of a tensor of `rank`, counted from the end if it is negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let counted = match axis < 0 {
        true => axis.checked_add(signed),
        false => Some(axis),
    };
    let counted = counted.and_then(|axis| usize::try_from(axis).ok());
    counted
        .filter(|axis| *axis < rank)
        .ok_or_else(|| Error::operand(format!("axis {axis} of a tensor of rank {rank}")))
}

fn wrong(place: usize, wanted: &str, found: &str) -> Error {
    Error::operand(format!("operand {place}: expected {wanted}, found {found}"))
}
