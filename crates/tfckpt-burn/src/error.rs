//! The error type of the crate.

use burn::store::burn_pack;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a Burn model and a TensorFlow checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint could not be read or written, or does not fit the model. The model is as it was.
    #[error(transparent)]
    Checkpoint(#[from] tfckpt::Error),

    /// A parameter has a dtype that TensorFlow does not have.
    #[error("parameter `{path}` is {dtype}, which no TensorFlow checkpoint can hold: dequantize or cast it first")]
    UnsupportedDtype {
        /// The parameter.
        path: String,
        /// Burn's name of the dtype.
        dtype: String,
    },

    /// A parameter's bytes could not be fetched from its device.
    #[error("the values of parameter `{path}` could not be read from its device: {reason}")]
    Device {
        /// The parameter.
        path: String,
        /// Burn's words.
        reason: String,
    },

    /// The checkpoint has the state of an optimizer for a parameter in part only.
    #[error("the optimizer state of `{path}` is incomplete: {reason}; nothing was restored")]
    IncompleteOptimizer {
        /// The parameter.
        path: String,
        /// What is missing.
        reason: String,
    },

    /// The checkpoint has the state of another optimizer for a parameter, or of one with other options.
    #[error(
        "the checkpoint has `{name}` for parameter `{path}`, which is not state of {optimizer}{reason}; nothing was restored: \
         use the optimizer that it was saved with, or begin anew from its weights with `init_from`"
    )]
    AnotherOptimizer {
        /// The parameter.
        path: String,
        /// The variable that shows it.
        name: String,
        /// The optimizer that was to be restored.
        optimizer: &'static str,
        /// Why it is not the same; empty, or in brackets.
        reason: String,
    },

    /// A parameter has more axes than can be taken out of a record of Burn.
    #[error(
        "parameter `{path}` has {rank} axes, and Burn's learner hands over no more than 10: reshape it, or save the model by `TfCheckpoints::save`"
    )]
    TooManyAxes {
        /// The parameter.
        path: String,
        /// Its number of axes.
        rank: usize,
    },

    /// A record of Burn could not be taken apart or put together.
    #[error("a record of Burn's is not what it should be")]
    Record(#[from] burn_pack::Error),

    /// A record of Burn could not be taken apart or put together.
    #[error("a record of Burn's is not what it should be")]
    RecordBytes(#[from] burn::store::RecordError),
}

impl Error {
    /// The error with its causes, in one line.
    pub(crate) fn chain(&self) -> String {
        let first: &dyn std::error::Error = self;
        let causes = std::iter::successors(Some(first), |error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }
}
