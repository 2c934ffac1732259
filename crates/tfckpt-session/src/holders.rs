//! What operations change although it is no variable: arrays of tensors, and stacks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tfckpt::DType;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

/// The elements of an array, as far as they were written.
pub(crate) type Elements = Vec<Option<TfTensor>>;

/// The dimensions and the dtype of an element.
type Kind = (Vec<usize>, DType);

/// A `TensorArray` of TensorFlow 1.
#[derive(Debug, Default)]
pub struct TensorArray {
    elements: Mutex<Elements>,
    /// The arrays with the gradients of its elements, by what they are gradients of.
    gradients: Mutex<BTreeMap<String, Arc<TensorArray>>>,
    /// Of an array of gradients: dimensions and dtypes of the elements of the other one. What is written twice is then summed
    /// up, and what is not written is zero.
    of: Option<Vec<Option<Kind>>>,
}

impl TensorArray {
    pub(crate) fn new(size: usize) -> Self {
        TensorArray {
            elements: Mutex::new(vec![None; size]),
            ..Default::default()
        }
    }

    /// The array with gradients of this one, which is made when it is asked for first.
    pub(crate) fn gradient(&self, source: &str) -> Arc<TensorArray> {
        let mut gradients = self.gradients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = gradients.get(source) {
            return found.clone();
        }
        let elements = self.lock();
        let kind = |element: &Option<TfTensor>| Some((element.as_ref()?.dims().to_vec(), element.as_ref()?.dtype));
        let made = Arc::new(TensorArray {
            of: Some(elements.iter().map(kind).collect()),
            ..TensorArray::new(elements.len())
        });
        gradients.insert(source.to_owned(), made.clone());
        made
    }

    fn lock(&self) -> MutexGuard<'_, Elements> {
        self.elements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Sets an element; an array that was made without a size grows.
    pub(crate) fn put(&self, place: i64, value: TfTensor, context: &Context<'_>) -> Result<()> {
        let place = usize::try_from(place).map_err(|_| Error::operand(format!("element {place}")))?;
        let mut elements = self.lock();
        if place >= elements.len() {
            context.elements(&[place + 1], size_of::<Option<TfTensor>>())?;
            elements.resize(place + 1, None);
        }
        if let Some(slot) = elements.get_mut(place) {
            *slot = Some(match slot.take() {
                Some(before) if self.of.is_some() => before.with((&before.tensor + &value.tensor)?),
                _ => value,
            });
        }
        Ok(())
    }

    /// An element; `None` if it was never written.
    ///
    /// # Errors
    /// There is no such place.
    pub(crate) fn get(&self, place: i64, context: &Context<'_>) -> Result<Option<TfTensor>> {
        let elements = self.lock();
        if let Some(found) = element(&elements, place)? {
            return Ok(Some(found));
        }
        let kind = self.of.as_ref().zip(usize::try_from(place).ok());
        match kind.and_then(|(kinds, place)| kinds.get(place)?.as_ref()) {
            Some((dims, dtype)) => Ok(Some(crate::ops::zeros(dims, *dtype, context)?)),
            None => Ok(None),
        }
    }

    /// All elements.
    pub(crate) fn all(&self, context: &Context<'_>) -> Result<Elements> {
        let len = i64::try_from(self.len()).unwrap_or(i64::MAX);
        (0..len).map(|place| self.get(place, context)).collect()
    }
}

/// The element at this place, if it was written.
pub(crate) fn element(elements: &Elements, place: i64) -> Result<Option<TfTensor>> {
    let found = usize::try_from(place).ok().and_then(|place| elements.get(place));
    found
        .cloned()
        .ok_or_else(|| Error::operand(format!("element {place} of {}", elements.len())))
}

/// A stack, in which a loop of TensorFlow 1 leaves what the loop of its gradients takes, last things first.
#[derive(Debug, Default)]
pub struct Stack {
    values: Mutex<Vec<TfTensor>>,
    /// The most values; `None` for no bound.
    most: Option<usize>,
}

impl Stack {
    pub(crate) fn new(most: Option<usize>) -> Self {
        Stack {
            most,
            ..Default::default()
        }
    }

    pub(crate) fn push(&self, value: TfTensor, context: &Context<'_>) -> Result<()> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if self.most.is_some_and(|most| values.len() >= most) {
            return Err(Error::operand(format!("a stack of {} is full", values.len())));
        }
        context.elements(&[values.len() + 1], size_of::<TfTensor>())?;
        values.push(value);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Result<TfTensor> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.pop().ok_or_else(|| Error::operand("a stack that is empty"))
    }

    pub(crate) fn clear(&self) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
