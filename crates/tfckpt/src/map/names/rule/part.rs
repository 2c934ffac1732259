//! Parts of variables.

use std::fmt;

/// One of so many equal parts of a variable along one of its axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::map) struct EqualPart {
    pub(in crate::map) axis: usize,
    pub(in crate::map) part: usize,
    pub(in crate::map) of: usize,
}

/// The most parts of a variable: what a file says must not cost more than it is worth.
const MOST_PARTS: usize = 4096;

impl EqualPart {
    /// # Errors
    /// Why there is no such part.
    pub(in crate::map) fn new(axis: usize, part: usize, of: usize) -> Result<Self, String> {
        match part < of && of <= MOST_PARTS {
            true => Ok(EqualPart { axis, part, of }),
            false => Err(format!(
                "there is no part {part} of {of}: `part` is a number from 0 that is below `of`, which is {MOST_PARTS} at most"
            )),
        }
    }
}

impl fmt::Display for EqualPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part {} of {} along axis {}", self.part, self.of, self.axis)
    }
}
