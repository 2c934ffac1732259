//! The generations of TensorFlow's optimizers.

/// Where the arithmetic comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The kernels behind `tf.compat.v1.train`, which have their settings as float32, and powers of betas that are counted.
    V1,
    /// Mostly the same kernels behind `tf.keras.optimizers.legacy`.
    Legacy,
    /// Keras from 2.11 on, which computes with its settings in double precision before it rounds.
    Keras,
}
