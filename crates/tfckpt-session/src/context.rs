//! What kernels may know besides their operands.

use candle_core::Device;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::random::Random;
use crate::tables::Tables;
use crate::variables::Variables;

/// What kernels may know besides their operands.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub(crate) device: &'a Device,
    pub(crate) limits: &'a Limits,
    pub(crate) variables: &'a Variables,
    pub(crate) random: &'a Random,
    pub(crate) tables: &'a Tables,
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

    /// Compares the size of strings of these lengths that are about to be made with what is allowed.
    pub(crate) fn text_bytes(&self, lengths: impl IntoIterator<Item = usize>) -> Result<()> {
        let each = lengths
            .into_iter()
            .map(|length| length.saturating_add(size_of::<Vec<u8>>()));
        let total = each.fold(0usize, usize::saturating_add);
        self.elements(&[total], 1).map(|_| ())
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
