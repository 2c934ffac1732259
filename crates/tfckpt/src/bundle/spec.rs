//! What a variable is to be, and whether the bytes that its owner gives are that.

use std::borrow::Cow;

use crate::dtype::DType;
use crate::error::{BoxError, Error, Result};
use crate::shape::Shape;
use crate::tensor::{Deferred, Lent, Sink};

/// A variable without its bytes.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) name: Vec<u8>,
    pub(super) dtype: DType,
    pub(super) shape: Shape,
    /// Bytes in the data file.
    pub(super) size: u64,
}

impl Spec {
    pub(super) fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    pub(super) fn check_len(&self, got: u64) -> Result<()> {
        match got == self.size {
            true => Ok(()),
            false => Err(self.wrong_length(got)),
        }
    }

    /// Before more is written than there is room for: behind it lies another variable.
    pub(super) fn check_at_most(&self, got: u64) -> Result<()> {
        match got <= self.size {
            true => Ok(()),
            false => Err(self.wrong_length(got)),
        }
    }

    pub(super) fn wrong_length(&self, got: u64) -> Error {
        Error::WrongLength {
            name: self.name().into_owned(),
            dtype: self.dtype,
            shape: self.shape.clone(),
            expected: self.size,
            got,
        }
    }
}

/// Looks at bytes that are lent.
pub(super) fn lend(spec: &Spec, lent: &Lent<'_>, mut look: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut seen = false;
    through(
        spec,
        |sink| lent(sink),
        |bytes| {
            // All in one call, as was asked.
            spec.check_at_most(if seen { u64::MAX } else { bytes.len() as u64 })?;
            seen = true;
            look(bytes)
        },
    )?;
    match seen {
        true => Ok(()),
        false => spec.check_len(0),
    }
}

/// Takes bytes as they are produced.
pub(super) fn produce(spec: &Spec, deferred: Deferred<'_>, take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    through(spec, deferred, take)
}

/// Hands `take` what `give` passes on, and tells the errors of the two apart.
fn through(
    spec: &Spec,
    give: impl FnOnce(&mut Sink<'_>) -> Result<(), BoxError>,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut failure = None;
    let given = give(&mut |bytes: &[u8]| {
        take(bytes).map_err(|error| {
            failure = Some(error);
            BoxError::from("the checkpoint could not be written")
        })
    });
    match (failure, given) {
        (Some(error), _) => Err(error),
        (None, Err(source)) => Err(Error::Source {
            name: spec.name().into_owned(),
            source,
        }),
        (None, Ok(())) => Ok(()),
    }
}
