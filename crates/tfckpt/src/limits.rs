//! Bounds on what a file may ask of us, and on what we may ask of the machine.

use std::num::NonZero;
use std::sync::OnceLock;

/// What a file may ask for before it is refused. The defaults are finite and generous; raise them for files that
/// are trusted and larger.
///
/// Independent of these limits, nothing is allocated for a length in a file before it was compared with the bytes
/// that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    index_bytes: u64,
    variables: u64,
    name_bytes: u64,
    shards: u32,
    tensor_bytes: u64,
    graph_bytes: u64,
    threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            index_bytes: 1 << 30,
            variables: 1 << 24,
            name_bytes: 1 << 24,
            shards: 1 << 16,
            tensor_bytes: 1 << 40,
            graph_bytes: (1 << 31) - 1,
            threads: cores(),
        }
    }
}

/// The number of cores that we may use. Asking for it opens files, which takes longer than many a variable.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

impl Limits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest `.index` file, in bytes. Default: 1 GiB.
    #[must_use]
    pub fn with_index_bytes(mut self, bytes: u64) -> Self {
        self.index_bytes = bytes;
        self
    }

    /// The most variables in one checkpoint. Default: 16,777,216.
    #[must_use]
    pub fn with_variables(mut self, count: u64) -> Self {
        self.variables = count;
        self
    }

    /// The longest name of a variable, in bytes. Default: 16 MiB.
    #[must_use]
    pub fn with_name_bytes(mut self, bytes: u64) -> Self {
        self.name_bytes = bytes;
        self
    }

    /// The most data files of one checkpoint. Default: 65,536.
    #[must_use]
    pub fn with_shards(mut self, count: u32) -> Self {
        self.shards = count;
        self
    }

    /// The largest single variable, in bytes. Default: 1 TiB.
    #[must_use]
    pub fn with_tensor_bytes(mut self, bytes: u64) -> Self {
        self.tensor_bytes = bytes;
        self
    }

    /// The largest graph, of operations or of objects, in bytes. Default: 2 GiB less one, which is the limit of protocol
    /// buffers.
    #[must_use]
    pub fn with_graph_bytes(mut self, bytes: u64) -> Self {
        self.graph_bytes = bytes;
        self
    }

    /// The most threads that read at once. Default: one for each core.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The largest `.index` file, in bytes.
    pub fn index_bytes(&self) -> u64 {
        self.index_bytes
    }

    /// The most variables in one checkpoint.
    pub fn variables(&self) -> u64 {
        self.variables
    }

    /// The longest name of a variable, in bytes.
    pub fn name_bytes(&self) -> u64 {
        self.name_bytes
    }

    /// The most data files of one checkpoint.
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// The largest single variable, in bytes.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensor_bytes
    }

    /// The largest graph, in bytes.
    pub fn graph_bytes(&self) -> u64 {
        self.graph_bytes
    }

    /// The most threads that read at once.
    pub fn threads(&self) -> usize {
        self.threads
    }
}
