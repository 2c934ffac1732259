//! The one error type of the crate.
//!
//! Low layers return small errors that know offsets but no paths ([`TableError`], [`EntryFault`]); the layer that
//! knows the file and the variable adds them once.

mod assignment;
mod faults;
mod mapping;
mod skipped;

use std::path::PathBuf;
use std::sync::Arc;

pub use assignment::AssignmentFault;
pub use faults::{EntryFault, TableError};
pub use mapping::MappingFault;
pub use skipped::Skipped;

use crate::dtype::DType;
use crate::map::LoadReport;
use crate::shape::Shape;
use crate::training::Signal;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause given by a caller's own data source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that can go wrong, with the file, the variable and the offset where it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No checkpoint where the caller pointed.
    #[error(
        "no checkpoint at `{}`: {reason}; a checkpoint is named by its prefix, the part that its files \
         `PREFIX.index` and `PREFIX.data-00000-of-00001` share{}",
        path.display(), Suggest("did you mean", candidates)
    )]
    NoCheckpoint {
        /// The path as given.
        path: PathBuf,
        /// What was looked for and not found.
        reason: String,
        /// Prefixes nearby that do exist.
        candidates: Vec<String>,
    },

    /// There are checkpoints, or a state file, and none that is whole.
    #[error(
        "no checkpoint of `{}` is whole: {}; restore one from a copy, or start again in another directory",
        directory.display(), skipped::List(skipped)
    )]
    NoValidCheckpoint {
        /// The directory.
        directory: PathBuf,
        /// What was tried, and what is wrong with it.
        skipped: Vec<Skipped>,
    },

    /// The checkpoint has no variable of this name.
    #[error("no variable `{name}` in checkpoint `{}`{}", prefix.display(), Suggest("did you mean", candidates))]
    VariableNotFound {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// The name asked for.
        name: String,
        /// The nearest names that are there.
        candidates: Vec<String>,
    },

    /// Several variables of an object-based checkpoint may be meant.
    #[error("`{name}` may be any of several variables of checkpoint `{}`{}", prefix.display(), Suggest("did you mean", candidates))]
    AmbiguousName {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// The name asked for.
        name: String,
        /// Names that say which, the first few.
        candidates: Vec<String>,
    },

    /// The variable is stored with another dtype than the one asked for. Nothing is ever cast silently.
    #[error("variable `{name}` of checkpoint `{}` is {stored}, not {requested}: read it as {stored} and convert", prefix.display())]
    DtypeMismatch {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// The variable.
        name: String,
        /// The dtype in the file.
        stored: DType,
        /// The dtype that the caller asked for.
        requested: DType,
    },

    /// A value has no place in the dtype that it is to be converted to. Nothing was changed.
    #[error(
        "variable `{name}`: element {index}, in row-major order, is {value}, which {to} does not have; {from} does: \
         use that, or change the value"
    )]
    ValueMisfit {
        /// The variable.
        name: String,
        /// The number of the element, in row-major order.
        index: usize,
        /// Its value.
        value: String,
        /// Its dtype.
        from: DType,
        /// The dtype that does not have it.
        to: DType,
    },

    /// A buffer, or the bytes of a variable to write, do not have the length that dtype and shape require.
    #[error("variable `{name}`: {got} bytes given, {expected} needed for {dtype} {shape}")]
    WrongLength {
        /// The variable.
        name: String,
        /// Its dtype.
        dtype: DType,
        /// Its shape.
        shape: Shape,
        /// Bytes that dtype and shape require.
        expected: u64,
        /// Bytes given.
        got: u64,
    },

    /// The index file is damaged, or no index of a tensor bundle at all.
    #[error("`{}` is not a readable checkpoint index: {fault}; restore it from a copy, or use an older checkpoint: `tfckpt repair` goes back to one", path.display())]
    CorruptIndex {
        /// The `.index` file.
        path: PathBuf,
        /// What is wrong, and at which byte.
        fault: TableError,
    },

    /// The index is sound, but what it says of one variable cannot be true. Other variables remain readable.
    #[error("`{}`: the entry of variable `{name}` is invalid: {fault}", path.display())]
    CorruptEntry {
        /// The `.index` file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// What is wrong with it.
        fault: EntryFault,
    },

    /// A `.meta` file or SavedModel is damaged, or none at all.
    #[error("`{}` is no readable meta graph: {reason}; the checkpoint beside it can be read without it", path.display())]
    CorruptMetaGraph {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// A data file that the index names does not exist.
    #[error("`{}` is missing: variable `{name}` is stored there; a checkpoint is whole only with all its data files, copy them together", path.display())]
    ShardMissing {
        /// The data file.
        path: PathBuf,
        /// The variable that was asked for.
        name: String,
    },

    /// A data file ends before the variable does.
    #[error("`{}` has {file_len} bytes, but variable `{name}` lies at bytes {offset}..{}: the file is truncated; restore it from a copy, or use an older checkpoint: `tfckpt repair` goes back to one", path.display(), offset.saturating_add(*size))]
    ShardTruncated {
        /// The data file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// Where the variable starts, in bytes.
        offset: u64,
        /// How many bytes it has.
        size: u64,
        /// The length of the file.
        file_len: u64,
    },

    /// The bytes of a variable are not those that were written.
    #[error("`{}`: variable `{name}` at bytes {offset}..{} is corrupt: crc32c {computed:#010x}, stored {stored:#010x}; restore the file from a copy, or use an older checkpoint: `tfckpt repair` goes back to one", path.display(), offset.saturating_add(*size))]
    Checksum {
        /// The data file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// Where it starts, in bytes.
        offset: u64,
        /// How many bytes it has.
        size: u64,
        /// The checksum in the index (unmasked).
        stored: u32,
        /// The checksum of the bytes that are there.
        computed: u32,
    },

    /// The payload of a string or variant variable does not parse.
    #[error("`{}`: the {dtype} payload of variable `{name}` is corrupt at byte {offset}: {reason}", path.display())]
    CorruptPayload {
        /// The data file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// `string` or `variant`.
        dtype: DType,
        /// The offset in the file.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },

    /// The object graph of a checkpoint does not parse. Variables can be read by their keys.
    #[error("the object graph of checkpoint `{}` is corrupt at byte {offset}: {reason}", prefix.display())]
    CorruptObjectGraph {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// The offset in the serialised graph.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },

    /// The object graph of a checkpoint cannot be read, and no variable has the name asked for as its key.
    #[error("the names of the variables of checkpoint `{}` are not known, because its object graph cannot be read; read variables by their keys", prefix.display())]
    ObjectGraph {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// Why not.
        source: Arc<Error>,
    },

    /// The file is sound, but written for a newer reader or with a feature that this one does not have.
    #[error("`{}`: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature, and what to do.
        what: String,
    },

    /// The file asks for more than the [`Limits`](crate::Limits) allow.
    #[error("`{}`: {what} is {value}, the limit is {limit}; raise it with `Limits` if the file is trusted", path.display())]
    LimitExceeded {
        /// The file.
        path: PathBuf,
        /// The quantity.
        what: &'static str,
        /// What the file asks for.
        value: u64,
        /// What is allowed.
        limit: u64,
    },

    /// The `checkpoint` state file does not parse.
    #[error("`{}`, line {line}: {reason}; delete the file or repair it, and name a prefix to go on without it", path.display())]
    StateFile {
        /// The state file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },

    /// Two variables of one checkpoint have the same name.
    #[error("two variables are named `{name}`: every variable of a checkpoint needs its own name")]
    DuplicateName {
        /// The name.
        name: String,
    },

    /// A variable to be written has no place among the Python objects of an object layout.
    #[error(
        "variable `{name}` has no place in the object layout: name its layer there, give it a place with `place`, or leave it out of the graph with `outside`{}",
        Suggest("did you mean", candidates)
    )]
    NoPlace {
        /// The variable.
        name: String,
        /// The nearest layers.
        candidates: Vec<String>,
    },

    /// The caller asked for something that cannot be.
    #[error("{what}")]
    InvalidArgument {
        /// What, and what to do instead.
        what: String,
    },

    /// A committed checkpoint of this name is there already.
    #[error("checkpoint `{}` exists: save under another step or in another directory, or allow overwriting", prefix.display())]
    AlreadyExists {
        /// The checkpoint's prefix.
        prefix: PathBuf,
    },

    /// Another process saves into the directory.
    #[error("`{}` is held by {holder}, which saves into this directory: wait until it ends, or save into another one", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as it said itself.
        holder: String,
    },

    /// The device has no room for the checkpoint. Nothing was written.
    #[error("no room for checkpoint `{}`: it needs {needed} bytes, {free} are free; make room, keep fewer checkpoints, or save into another directory", prefix.display())]
    NoSpace {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// Bytes that it needs at least.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },

    /// A checkpoint that was written reads back otherwise. It was removed; earlier ones are as they were.
    #[error("checkpoint `{}` does not read back as it was written, and was removed; device or memory are failing: save into a directory on another device", prefix.display())]
    NotStored {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// What differs.
        source: Box<Error>,
    },

    /// The checkpoint and the model do not fit. The model has not been touched.
    #[error("checkpoint `{}` does not fit the model, which was left as it is\n{report}", prefix.display())]
    Mismatch {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// All that is missing, unused or different.
        report: Box<LoadReport>,
    },

    /// TensorFlow's layer and the framework's compute different things, whatever their weights are. The model has not been
    /// touched.
    #[error("layer `{module}` cannot be exchanged with TensorFlow: {reason}")]
    Unrepresentable {
        /// The path of the layer.
        module: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// An assignment map or warm start cannot be carried out. The model has not been touched.
    #[error("checkpoint `{}` cannot initialize the model, which was left as it is{}", prefix.display(), assignment::Lines(faults))]
    Assignment {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// All that is wrong.
        faults: Vec<AssignmentFault>,
    },

    /// A mapping is not one for this model. Nothing was read.
    #[error("the mapping does not fit the model{}", mapping::Faults(faults))]
    Mapping {
        /// All that is wrong.
        faults: Vec<MappingFault>,
    },

    /// The caller's own source of a variable's bytes failed.
    #[error("the bytes of variable `{name}` could not be produced")]
    Source {
        /// The variable.
        name: String,
        /// The cause.
        source: BoxError,
    },

    /// A state of the training loop does not fit what the checkpoint has. All states are as they were.
    #[error("`{name}` cannot go on from checkpoint `{}`", prefix.display())]
    State {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// The variable that holds the state.
        name: String,
        /// Why not, and what to do.
        source: BoxError,
    },

    /// A signal cannot be listened for.
    #[error("cannot listen for {signal}: choose signals that a process may handle, as SIGTERM and SIGINT")]
    Signal {
        /// The signal.
        signal: Signal,
        /// The cause.
        source: std::io::Error,
    },

    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried: `open`, `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// The class of an [`Error`]: whose fault it is, and so what a program does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A checkpoint, variable or file is not there.
    NotFound,
    /// The file is wrong.
    Corrupt,
    /// The file is right, but we cannot read it.
    Unsupported,
    /// A limit was hit.
    Limit,
    /// The call was wrong, or checkpoint and model do not fit.
    Usage,
    /// The disk failed.
    Io,
}

impl Error {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NoCheckpoint { .. } | Error::VariableNotFound { .. } => ErrorKind::NotFound,
            Error::CorruptIndex { .. }
            | Error::CorruptEntry { .. }
            | Error::CorruptMetaGraph { .. }
            | Error::ShardMissing { .. }
            | Error::ShardTruncated { .. }
            | Error::Checksum { .. }
            | Error::CorruptPayload { .. }
            | Error::CorruptObjectGraph { .. }
            | Error::StateFile { .. } => ErrorKind::Corrupt,
            Error::Unsupported { .. } => ErrorKind::Unsupported,
            Error::LimitExceeded { .. } => ErrorKind::Limit,
            Error::ObjectGraph { source, .. } => source.kind(),
            Error::NoValidCheckpoint { skipped, .. } => skipped::kind(skipped),
            Error::AmbiguousName { .. }
            | Error::DtypeMismatch { .. }
            | Error::WrongLength { .. }
            | Error::ValueMisfit { .. }
            | Error::DuplicateName { .. }
            | Error::NoPlace { .. }
            | Error::InvalidArgument { .. }
            | Error::AlreadyExists { .. }
            | Error::Locked { .. }
            | Error::Assignment { .. }
            | Error::Mismatch { .. }
            | Error::Mapping { .. }
            | Error::Unrepresentable { .. }
            | Error::State { .. }
            | Error::Signal { .. } => ErrorKind::Usage,
            Error::Source { .. } | Error::NoSpace { .. } | Error::NotStored { .. } | Error::Io { .. } => ErrorKind::Io,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io {
            action,
            path: path.into(),
            source,
        }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Error::InvalidArgument { what: what.into() }
    }
}

/// Prints `; did you mean a, b or c?` where there are candidates.
struct Suggest<'a>(&'a str, &'a [String]);

impl std::fmt::Display for Suggest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((last, rest)) = self.1.split_last() else {
            return Ok(());
        };
        write!(f, "; {} ", self.0)?;
        for (i, name) in rest.iter().enumerate() {
            write!(f, "{}`{name}`", if i > 0 { ", " } else { "" })?;
        }
        write!(f, "{}`{last}`?", if rest.is_empty() { "" } else { " or " })
    }
}
