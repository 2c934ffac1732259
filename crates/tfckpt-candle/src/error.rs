//! The one error type of the crate.

use std::path::PathBuf;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a Candle model and a TensorFlow checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint is not there, damaged, or does not fit.
    #[error(transparent)]
    Checkpoint(#[from] tfckpt::Error),

    /// Candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),

    /// Nobody said what kinds of layers these are, and TensorFlow's names and layouts depend on it.
    #[error(
        "the kind of {} is not known, and with it neither name nor layout in TensorFlow: build the model through \
         `tfckpt_candle::recording`, or declare it with `NameMap::with_layer` (`Layer::Other` keeps name and layout)",
        Modules(modules)
    )]
    UnknownLayers {
        /// The paths of the modules.
        modules: Vec<String>,
    },

    /// A variable has a dtype that TensorFlow does not have.
    #[error(
        "variable `{variable}` has dtype {dtype:?}, which cannot be stored: convert it to f32, f64, f16, bf16, f8e4m3, u8, u32, i16, i32 or i64"
    )]
    UnsupportedDtype {
        /// The variable's path in the model.
        variable: String,
        /// Its dtype.
        dtype: candle_core::DType,
    },

    /// An optimizer keeps state for a variable that the model does not have.
    #[error(
        "the optimizer has a slot `{slot}` for `{variable}`, which is not in the VarMap: build it from the same VarMap"
    )]
    UnknownVariable {
        /// The slot.
        slot: String,
        /// The variable's path.
        variable: String,
    },

    /// The checkpoint has the state of another optimizer, or of one with other options. Some of its names are the same.
    #[error(
        "checkpoint `{}` has `{found}`, which {optimizer} with its settings does not keep: build the optimizer that wrote \
         it, or restore the variables alone, with `Variables::restore`",
        prefix.display()
    )]
    OtherOptimizer {
        /// The checkpoint's prefix.
        prefix: PathBuf,
        /// The optimizer of the run.
        optimizer: String,
        /// What shows it.
        found: String,
    },

    /// Training cannot go on from a checkpoint that does not say how far it had come.
    #[error("checkpoint `{}` has no int64 or int32 scalar `global_step`: restore its variables alone, with `Variables::restore`", prefix.display())]
    NoGlobalStep {
        /// The checkpoint's prefix.
        prefix: PathBuf,
    },
}

/// So that `?` works in functions that return Candle's own result. The text stays the same.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            error => candle_core::Error::wrap(error),
        }
    }
}

struct Modules<'a>(&'a [String]);

impl std::fmt::Display for Modules<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.len() == 1 { "module " } else { "modules " })?;
        for (i, module) in self.0.iter().enumerate() {
            write!(f, "{}`{module}`", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}
