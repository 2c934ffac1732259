//! What is known of one checkpoint.

use std::collections::BTreeMap;

/// What is known of one checkpoint of a directory.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Record {
    /// The checkpoint's name within its directory: `model.ckpt-100`.
    pub name: String,
    /// Its step.
    pub global_step: i64,
    /// When it was saved, in seconds since 1970.
    pub time: f64,
    /// The bytes of all its files.
    pub bytes: u64,
    /// What was measured of it, by name: `val_loss`. NaN and infinities are allowed, and never the best.
    pub metrics: BTreeMap<String, f64>,
    /// Whether a person, or a program, wants it kept until told otherwise.
    pub pinned: bool,
    /// Whether it was set aside for ever: by `keep_checkpoint_every_n_hours`, or because it lay in the directory and no
    /// list of checkpoints to be removed named it, so that TensorFlow would never remove it either.
    pub preserved: bool,
}

impl Record {
    /// A checkpoint of this name and step, saved at `time`, in seconds since 1970. It has no bytes, no metrics and no pin.
    pub fn new(name: impl Into<String>, global_step: i64, time: f64) -> Self {
        Record {
            name: name.into(),
            global_step,
            time,
            ..Self::default()
        }
    }

    /// The same with a metric. A later value of the same name replaces the earlier one.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }

    /// The same with the bytes of all its files.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// The same, pinned or not.
    #[must_use]
    pub fn pinned(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }
}
