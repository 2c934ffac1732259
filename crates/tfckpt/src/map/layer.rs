//! Kinds of layers, and what TensorFlow calls and how it stores their parameters.

use crate::layout::Layout;

/// The kind of a layer. It decides the names and layouts of the layer's parameters.
///
/// | layer | parameter of the model | variable in TensorFlow |
/// |---|---|---|
/// | `Dense` | weight `[in, out]` or `[out, in]` | `kernel [in, out]` |
/// | `TransposedDense` | the same | `kernel [out, in]`: what TensorFlow multiplies with `transpose_b` |
/// | `PointwiseConv1d` | the same | `kernel [1, in, out]`: a convolution with a window of 1 that is dense in the model |
/// | `PointwiseConv2d` | the same | `kernel [1, 1, in, out]` |
/// | `Conv1d` | weight `[out, in, k]` | `kernel [k, in, out]` |
/// | `Conv2d` | weight `[out, in, h, w]` | `kernel [h, w, in, out]` |
/// | `Conv3d` | weight `[out, in, d, h, w]` | `kernel [d, h, w, in, out]` |
/// | `DepthwiseConv1d` | weight `[in * multiplier, 1, k]` | `kernel [k, in, multiplier]` |
/// | `DepthwiseConv2d` | weight `[in * multiplier, 1, h, w]` | `kernel [h, w, in, multiplier]`; read as `depthwise_kernel`, too |
/// | `ConvTranspose1d` | weight `[in, out, k]` | `kernel [k, out, in]` |
/// | `ConvTranspose2d` | weight `[in, out, h, w]` | `kernel [h, w, out, in]` |
/// | `ConvTranspose3d` | weight `[in, out, d, h, w]` | `kernel [d, h, w, out, in]` |
/// | `BatchNorm` | weight, bias, running mean and variance `[c]` | `gamma`, `beta`, `moving_mean`, `moving_variance` |
/// | `LayerNorm`, `GroupNorm`, `InstanceNorm` | weight, bias | `gamma`, `beta` |
/// | `RmsNorm` | weight | `scale` |
/// | `Embedding` | weight `[n, d]` | `embeddings [n, d]` |
/// | `PRelu` | weight `[c]` | `alpha [c]`; read with further dimensions of 1, too |
/// | `Other` | anything | the same name and layout |
///
/// Biases are `bias` unless the table says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the table above says what the variants are")]
pub enum Layer {
    Dense,
    TransposedDense,
    PointwiseConv1d,
    PointwiseConv2d,
    Conv1d,
    Conv2d,
    Conv3d,
    /// A convolution with as many groups as input channels.
    DepthwiseConv1d {
        /// Output channels for each input channel.
        multiplier: usize,
    },
    /// A convolution with as many groups as input channels.
    DepthwiseConv2d {
        /// Output channels for each input channel.
        multiplier: usize,
    },
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    BatchNorm,
    LayerNorm,
    GroupNorm,
    InstanceNorm,
    RmsNorm,
    Embedding,
    PRelu,
    #[default]
    Other,
}

/// What a parameter does in its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The kernel, the scale, the table: `weight`, `gamma` or `alpha` in the frameworks.
    Weight,
    /// The shift: `bias` or `beta`.
    Bias,
    /// `running_mean`.
    RunningMean,
    /// `running_var`.
    RunningVar,
    /// Anything else.
    Other,
}

/// How a framework stores the weight of a dense layer. TensorFlow stores `[in, out]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenseOrder {
    /// `[in, out]`, as Burn does.
    InOut,
    /// `[out, in]`, as Candle and PyTorch do.
    OutIn,
}

impl Role {
    /// The role of a parameter with this field name.
    pub fn of_field(field: &str) -> Role {
        match field {
            "weight" | "gamma" | "alpha" => Role::Weight,
            "bias" | "beta" => Role::Bias,
            "running_mean" => Role::RunningMean,
            "running_var" => Role::RunningVar,
            _ => Role::Other,
        }
    }
}

impl Layer {
    /// What Keras and `tf.layers` call this parameter; the first is what is written, the others are read as well.
    /// Empty if they have no name for it.
    pub(super) fn keras_names(self, role: Role) -> &'static [&'static str] {
        use Layer::*;
        match (self, role) {
            (Other, _) | (_, Role::Other) => &[],
            (DepthwiseConv1d { .. } | DepthwiseConv2d { .. }, Role::Weight) => &["kernel", "depthwise_kernel"],
            (Embedding, Role::Weight) => &["embeddings"],
            (PRelu, Role::Weight) => &["alpha"],
            (RmsNorm, Role::Weight) => &["scale"],
            (BatchNorm | LayerNorm | GroupNorm | InstanceNorm, Role::Weight) => &["gamma"],
            (BatchNorm | LayerNorm | GroupNorm | InstanceNorm | RmsNorm, Role::Bias) => &["beta"],
            (BatchNorm, Role::RunningMean) => &["moving_mean"],
            (BatchNorm, Role::RunningVar) => &["moving_variance"],
            (_, Role::RunningMean | Role::RunningVar) => &[],
            (_, Role::Weight) => &["kernel"],
            (_, Role::Bias) => &["bias"],
        }
    }

    /// How TensorFlow lays out this parameter, seen from a framework that stores dense weights in this order.
    pub(super) fn layout(self, role: Role, order: DenseOrder) -> Layout {
        use Layer::*;
        if role != Role::Weight {
            return Layout::Same;
        }
        match self {
            Dense if order == DenseOrder::OutIn => Layout::Permuted(&[1, 0]),
            TransposedDense if order == DenseOrder::InOut => Layout::Permuted(&[1, 0]),
            PointwiseConv1d | PointwiseConv2d => Layout::Windowed {
                ones: if self == PointwiseConv1d { 1 } else { 2 },
                permutation: match order {
                    DenseOrder::InOut => &[0, 1],
                    DenseOrder::OutIn => &[1, 0],
                },
            },
            Conv1d | ConvTranspose1d => Layout::Permuted(&[2, 1, 0]),
            Conv2d | ConvTranspose2d => Layout::Permuted(&[2, 3, 1, 0]),
            Conv3d | ConvTranspose3d => Layout::Permuted(&[2, 3, 4, 1, 0]),
            DepthwiseConv1d { multiplier } => Layout::Depthwise {
                multiplier,
                permutation: &[2, 0, 1],
            },
            DepthwiseConv2d { multiplier } => Layout::Depthwise {
                multiplier,
                permutation: &[2, 3, 0, 1],
            },
            PRelu => Layout::Squeezed,
            _ => Layout::Same,
        }
    }
}
