//! Bounds on what a graph may ask for.

use crate::error::{Error, Result};

/// What a graph may ask for before it is refused. The defaults are finite and generous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    tensor_bytes: u64,
    constant_bytes: u64,
    iterations: u64,
    depth: usize,
    nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            tensor_bytes: 4 << 30,
            constant_bytes: 8 << 30,
            iterations: 1 << 24,
            depth: 32,
            nodes: 1 << 22,
        }
    }
}

impl Limits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest tensor that an operation may make, in bytes. Default: 4 GiB.
    #[must_use]
    pub fn with_tensor_bytes(mut self, bytes: u64) -> Self {
        self.tensor_bytes = bytes;
        self
    }

    /// All constants of one compiled program together, in bytes. Default: 8 GiB.
    #[must_use]
    pub fn with_constant_bytes(mut self, bytes: u64) -> Self {
        self.constant_bytes = bytes;
        self
    }

    /// Iterations of one loop. Default: 16,777,216.
    #[must_use]
    pub fn with_iterations(mut self, count: u64) -> Self {
        self.iterations = count;
        self
    }

    /// How deep loops, branches and calls may be nested. Default: 32.
    #[must_use]
    pub fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// The nodes that one compiled program may have, those of its functions included. Default: 4,194,304.
    #[must_use]
    pub fn with_nodes(mut self, count: usize) -> Self {
        self.nodes = count;
        self
    }

    pub(crate) fn tensor_bytes(&self) -> u64 {
        self.tensor_bytes
    }

    pub(crate) fn check_constants(&self, bytes: u64) -> Result<()> {
        check("the size of all constants", bytes, self.constant_bytes)
    }

    pub(crate) fn check_iterations(&self, count: u64) -> Result<()> {
        check("the number of iterations of a loop", count, self.iterations)
    }

    pub(crate) fn check_depth(&self, depth: usize) -> Result<()> {
        check("the depth of nested calls", depth as u64, self.depth as u64)
    }

    pub(crate) fn check_nodes(&self, count: usize) -> Result<()> {
        check("the number of nodes", count as u64, self.nodes as u64)
    }

    /// The number of elements of a tensor of these dimensions, if that many of `size` bytes each may be allocated.
    pub(crate) fn elements(&self, dims: &[usize], size: usize) -> Result<usize> {
        let count = dims.iter().try_fold(1u64, |count, &dim| count.checked_mul(dim as u64));
        // A dimension of 0 does not make the others harmless.
        let largest = dims
            .iter()
            .try_fold(1u64, |count, &dim| count.checked_mul((dim as u64).max(1)));
        let bytes = largest.and_then(|count| count.checked_mul(size.max(1) as u64));
        check("the size of a tensor", bytes.unwrap_or(u64::MAX), self.tensor_bytes)?;
        usize::try_from(count.unwrap_or(u64::MAX)).map_err(|_| Error::operand("a tensor is too large for this machine"))
    }
}

fn check(what: &'static str, value: u64, limit: u64) -> Result<()> {
    match value > limit {
        true => Err(Error::Limit { what, value, limit }),
        false => Ok(()),
    }
}
