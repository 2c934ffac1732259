//! Kinds of layers, and what TensorFlow calls and how it stores their parameters.

use crate::layout::Layout;

/// The kind of a layer. It decides the names and layouts of the layer's parameters.
///
/// | layer | parameter of the model | variable in TensorFlow |
/// |---|---|---|
/// | `Dense` | weight `[in, out]` or `[out, in]` | `kernel [in, out]` |
/// | `OutputWeights` | weight `[in, out]` or `[out, in]` | `output_weights [out, in]`, `output_bias`: the heads of Google's BERT, and tied weights |
/// | `PointwiseConv1d` | weight `[in, out]` or `[out, in]` | `kernel [1, in, out]`: a convolution with a window of 1 that is a dense layer in the model |
/// | `PointwiseConv2d` | weight `[in, out]` or `[out, in]` | `kernel [1, 1, in, out]` |
/// | `Conv1d` | weight `[out, in, k]` | `kernel [k, in, out]` |
/// | `Conv2d` | weight `[out, in, h, w]` | `kernel [h, w, in, out]` |
/// | `Conv3d` | weight `[out, in, d, h, w]` | `kernel [d, h, w, in, out]` |
/// | `DepthwiseConv1d` | weight `[in * multiplier, 1, k]` | `kernel [k, in, multiplier]` |
/// | `DepthwiseConv2d` | weight `[in * multiplier, 1, h, w]` | `kernel [h, w, in, multiplier]`; read as `depthwise_kernel`, too |
/// | `SeparableConv1d`, `SeparableConv2d` | two convolutions, `depthwise` and `pointwise` | `depthwise_kernel`, `pointwise_kernel`, and the `bias` of the second |
/// | `ConvTranspose1d` | weight `[in, out, k]` | `kernel [k, out, in]` |
/// | `ConvTranspose2d` | weight `[in, out, h, w]` | `kernel [h, w, out, in]` |
/// | `ConvTranspose3d` | weight `[in, out, d, h, w]` | `kernel [d, h, w, out, in]` |
/// | `BatchNorm` | weight, bias, running mean and variance `[c]` | `gamma`, `beta`, `moving_mean`, `moving_variance` |
/// | `LayerNorm`, `GroupNorm`, `InstanceNorm` | weight, bias | `gamma`, `beta` |
/// | `PartialNorm` | the same | those that `scale` and `center` leave; the others are 1 and 0 |
/// | `RmsNorm` | weight | `scale` |
/// | `Embedding` | weight `[n, d]` | `embeddings [n, d]` |
/// | `PRelu` | weight `[c]` | `alpha [c]`; read with further dimensions of 1, too |
/// | `SharedPRelu` | weight `[c]` | `alpha [1, 1, c]`, with as many `shared_axes` |
/// | `MultiHeadAttention` | `query`, `key`, `value`, `output`, each a dense layer | `query/kernel [in, heads, size]`, `query/bias [heads, size]` and so on, `attention_output/kernel [heads, size, out]` |
/// | `Lstm`, `Gru`, `Rnn` | the weights of gates, apart or together | `CELL/kernel`, `CELL/recurrent_kernel`, `CELL/bias`: see [`LstmCell`], [`GruCell`], [`RnnCell`] |
/// | `Other` | anything | the same name and layout |
///
/// Biases are `bias` unless the table says otherwise. The kernels of grouped convolutions have `in` channels for each
/// group in both layouts. What cannot be told of a layer, such as the momentum of a batch normalization or whether a GRU
/// resets before or after, is not in a checkpoint either: `docs/layers.md` says what has to be set alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the table above says what the variants are")]
pub enum Layer {
    Dense,
    OutputWeights,
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
    /// Declared for the module that has the two convolutions, which are called `depthwise` and `pointwise`.
    SeparableConv1d {
        /// Output channels of the first for each input channel.
        multiplier: usize,
    },
    /// Declared for the module that has the two convolutions, which are called `depthwise` and `pointwise`.
    SeparableConv2d {
        /// Output channels of the first for each input channel.
        multiplier: usize,
    },
    /// One of the two convolutions of a separable one.
    SeparablePart {
        /// The kind of the convolution by itself.
        of: SeparablePart,
    },
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    BatchNorm,
    LayerNorm,
    GroupNorm,
    InstanceNorm,
    /// A normalization of Keras with `scale=False` or `center=False`. A weight that TensorFlow does not have is 1, a bias 0,
    /// and has to be so on saving.
    PartialNorm {
        /// Whether there is a `gamma`.
        scale: bool,
        /// Whether there is a `beta`.
        center: bool,
    },
    RmsNorm,
    Embedding,
    PRelu,
    SharedPRelu {
        /// How many axes share a value, which are those before the channels.
        axes: usize,
    },
    /// Declared for the module that has the four dense layers, which are called `query`, `key`, `value` and `output` (or
    /// `attention_output`). Dense layers of other names can be declared one by one, as `Heads`.
    MultiHeadAttention {
        /// How many heads.
        heads: usize,
    },
    /// A dense layer into heads, or out of them.
    Heads {
        /// How many heads.
        heads: usize,
        /// Whether they are its output, as for query, key and value.
        into: bool,
    },
    Lstm {
        /// Whose cell.
        cell: LstmCell,
    },
    Gru {
        /// Whose cell.
        cell: GruCell,
    },
    Rnn {
        /// Whose cell.
        cell: RnnCell,
    },
    #[default]
    Other,
}

/// The convolutions of a separable one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SeparablePart {
    /// The first, in one dimension.
    Depthwise1d {
        /// Output channels for each input channel.
        multiplier: usize,
    },
    /// The first, in two dimensions.
    Depthwise2d {
        /// Output channels for each input channel.
        multiplier: usize,
    },
    /// The second, in one dimension.
    Pointwise1d,
    /// The second, in two dimensions.
    Pointwise2d,
}

/// The cells of an LSTM. The candidate stands behind the forget gate, or before it:
///
/// | cell | variables in the scope of the layer | gates |
/// |---|---|---|
/// | `Keras` | `lstm_cell/kernel [in, 4 h]`, `lstm_cell/recurrent_kernel [h, 4 h]`, `lstm_cell/bias [4 h]` | input, forget, candidate, output |
/// | `Basic` | `basic_lstm_cell/kernel [in + h, 4 h]`, `basic_lstm_cell/bias` | input, candidate, forget, output |
/// | `Tf1` | `lstm_cell/kernel [in + h, 4 h]`, `lstm_cell/bias` | the same |
///
/// `Tf1` is both `LSTMCell` and `LSTMBlockCell`. The scope of the cell may be missing on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LstmCell {
    /// `tf.keras.layers.LSTM`, versions 2 and 3.
    #[default]
    Keras,
    /// `tf.nn.rnn_cell.BasicLSTMCell`.
    Basic(ForgetBias),
    /// `tf.nn.rnn_cell.LSTMCell` and `tf.contrib.rnn.LSTMBlockCell`, without peepholes or projection.
    Tf1(ForgetBias),
}

/// The cells of a GRU.
///
/// | cell | variables in the scope of the layer | gates |
/// |---|---|---|
/// | `Keras` | `gru_cell/kernel [in, 3 h]`, `gru_cell/recurrent_kernel [h, 3 h]`, `gru_cell/bias [2, 3 h]` | update, reset, candidate |
/// | `KerasBefore` | the same with `bias [3 h]` | the same |
/// | `Tf1` | `gru_cell/gates/kernel [in + h, 2 h]`, `gru_cell/candidate/kernel [in + h, h]`, and a `bias` each | reset, update |
///
/// The last two reset the state before it is multiplied; Candle's GRU cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum GruCell {
    /// `tf.keras.layers.GRU` with `reset_after=True`, the default.
    #[default]
    Keras,
    /// `tf.keras.layers.GRU` with `reset_after=False`.
    KerasBefore,
    /// `tf.nn.rnn_cell.GRUCell`.
    Tf1,
}

/// The cells of a plain recurrent layer.
///
/// | cell | variables in the scope of the layer |
/// |---|---|
/// | `Keras` | `simple_rnn_cell/kernel [in, h]`, `simple_rnn_cell/recurrent_kernel [h, h]`, `simple_rnn_cell/bias [h]` |
/// | `Tf1` | `basic_rnn_cell/kernel [in + h, h]`, `basic_rnn_cell/bias [h]` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RnnCell {
    /// `tf.keras.layers.SimpleRNN`.
    #[default]
    Keras,
    /// `tf.nn.rnn_cell.BasicRNNCell`.
    Tf1,
}

/// What the cells of TensorFlow 1 add to the forget gate when they run; it is not in the checkpoint. Default: 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForgetBias(u64);

impl ForgetBias {
    /// This number.
    pub fn new(value: f64) -> Self {
        ForgetBias(value.to_bits())
    }

    /// The number.
    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl Default for ForgetBias {
    fn default() -> Self {
        Self::new(1.0)
    }
}

impl std::fmt::Debug for ForgetBias {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value().fmt(f)
    }
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

impl Layer {
    /// What a layer that was declared makes of a module in it: its kind, and what TensorFlow calls it, which is nothing if
    /// its variables are those of the whole. `None` for other modules.
    pub(super) fn part(self, module: &str) -> Option<(Layer, &str)> {
        let part = |of| Some((Layer::SeparablePart { of }, ""));
        match (self, module) {
            (Layer::MultiHeadAttention { heads }, "query" | "key" | "value") => {
                Some((Layer::Heads { heads, into: true }, module))
            }
            (Layer::MultiHeadAttention { heads }, "output" | "attention_output") => {
                Some((Layer::Heads { heads, into: false }, "attention_output"))
            }
            (Layer::SeparableConv1d { multiplier }, "depthwise") => part(SeparablePart::Depthwise1d { multiplier }),
            (Layer::SeparableConv2d { multiplier }, "depthwise") => part(SeparablePart::Depthwise2d { multiplier }),
            (Layer::SeparableConv1d { .. }, "pointwise") => part(SeparablePart::Pointwise1d),
            (Layer::SeparableConv2d { .. }, "pointwise") => part(SeparablePart::Pointwise2d),
            _ => None,
        }
    }

    /// Whether its parameters are no variables one by one.
    pub fn is_recurrent(self) -> bool {
        matches!(self, Layer::Lstm { .. } | Layer::Gru { .. } | Layer::Rnn { .. })
    }
}

impl SeparablePart {
    fn names(self) -> &'static [&'static str] {
        match self {
            SeparablePart::Depthwise1d { .. } | SeparablePart::Depthwise2d { .. } => &["depthwise_kernel"],
            SeparablePart::Pointwise1d | SeparablePart::Pointwise2d => &["pointwise_kernel"],
        }
    }

    fn alone(self) -> Layer {
        match self {
            SeparablePart::Depthwise1d { multiplier } => Layer::DepthwiseConv1d { multiplier },
            SeparablePart::Depthwise2d { multiplier } => Layer::DepthwiseConv2d { multiplier },
            SeparablePart::Pointwise1d => Layer::Conv1d,
            SeparablePart::Pointwise2d => Layer::Conv2d,
        }
    }
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
            // Made of several, or not there at all: see `Compound`.
            (Lstm { .. } | Gru { .. } | Rnn { .. }, _) => &[],
            (OutputWeights, Role::Weight) => &["output_weights"],
            (OutputWeights, Role::Bias) => &["output_bias"],
            (SeparablePart { of }, Role::Weight) => of.names(),
            (DepthwiseConv1d { .. } | DepthwiseConv2d { .. }, Role::Weight) => &["kernel", "depthwise_kernel"],
            (Embedding, Role::Weight) => &["embeddings"],
            (PRelu | SharedPRelu { .. }, Role::Weight) => &["alpha"],
            (RmsNorm, Role::Weight) => &["scale"],
            (BatchNorm | LayerNorm | GroupNorm | InstanceNorm | PartialNorm { .. }, Role::Weight) => &["gamma"],
            (BatchNorm | LayerNorm | GroupNorm | InstanceNorm | PartialNorm { .. } | RmsNorm, Role::Bias) => &["beta"],
            (BatchNorm | PartialNorm { .. }, Role::RunningMean) => &["moving_mean"],
            (BatchNorm | PartialNorm { .. }, Role::RunningVar) => &["moving_variance"],
            (_, Role::RunningMean | Role::RunningVar) => &[],
            (_, Role::Weight) => &["kernel"],
            (_, Role::Bias) => &["bias"],
        }
    }

    /// How TensorFlow lays out this parameter, seen from a framework that stores dense weights in this order.
    pub(super) fn layout(self, role: Role, order: DenseOrder) -> Layout {
        use Layer::*;
        let turned = order == DenseOrder::OutIn;
        if let (Heads { heads, into: true }, Role::Bias) = (self, role) {
            return Layout::Split {
                axis: 0,
                parts: heads,
                permutation: &[0],
            };
        }
        if role != Role::Weight {
            return Layout::Same;
        }
        match self {
            Dense if turned => Layout::Permuted(&[1, 0]),
            OutputWeights if !turned => Layout::Permuted(&[1, 0]),
            PointwiseConv1d | PointwiseConv2d => Layout::Windowed {
                ones: if self == PointwiseConv1d { 1 } else { 2 },
                permutation: if turned { &[1, 0] } else { &[0, 1] },
            },
            Heads { heads, into } => Layout::Split {
                axis: usize::from(into),
                parts: heads,
                permutation: if turned { &[1, 0] } else { &[0, 1] },
            },
            SeparablePart { of } => of.alone().layout(role, order),
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
            SharedPRelu { axes } => Layout::Unsqueezed { ones: axes },
            _ => Layout::Same,
        }
    }
}
