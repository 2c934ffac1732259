//! What kernels may know besides their operands.

use candle_core::Device;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::random::Random;
use crate::variables::Variables;

/// What kernels may know besides their operands.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub(crate) device: &'a Device,
    pub(crate) limits: &'a Limits,
    pub(crate) variables: &'a Variables,
    pub(crate) random: &'a Random,
    /// Whether gradients are wanted: kernels then compute in ways that Candle follows back.
    pub(crate) tracked: bool,
    /// Whether the program changes variables: values that were read before must then stay as they were.
    pub(crate) copies: bool,
    pub(crate) depth: usize,
}

impl Context<'_> {
    /// The device that floats are on.
    pub fn device(&self) -> &Device {
        self.device
    }

    /// Whether gradients are wanted: a kernel must then compute in a way that Candle follows back.
    pub fn is_tracked(&self) -> bool {
        self.tracked
    }

    /// Compares the size of a tensor that is about to be made with what is allowed, and returns the number of its
    /// elements.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn elements(&self, dims: &[usize], element_size: usize) -> Result<usize> {
        self.limits.elements(dims, element_size)
    }

    /// One call deeper.
    pub(crate) fn deeper(&self) -> Result<Self> {
        let depth = self.depth + 1;
        self.limits.check_depth(depth)?;
        Ok(Context { depth, ..*self })
    }

    pub(crate) fn variable_error(&self, variable: usize) -> Error {
        Error::Uninitialized {
            name: self.variables.name(variable).to_owned(),
        }
    }
}
