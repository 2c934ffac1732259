//! How TensorFlow stores the cells of recurrent layers.

use super::Gate::{self, Candidate, Forget, Input, Output, Reset, Update};
use super::RecurrentPart::{self, Bias, Kernel, RecurrentBias, RecurrentKernel};
use crate::map::layer::{ForgetBias, GruCell, Layer, LstmCell, RnnCell, Role};

/// How TensorFlow stores a cell.
pub(super) struct Cell {
    pub(super) scope: &'static str,
    pub(super) variables: &'static [Stored],
    /// Whether there are two biases for each gate, as rows.
    pub(super) two_biases: bool,
    pub(super) forget_bias: Option<ForgetBias>,
    /// Leaves that other configurations of the cell have.
    pub(super) refused: &'static [(&'static str, &'static str)],
}

/// A variable of a cell: which parts are in it, above each other, and which gates, side by side.
pub(super) struct Stored {
    pub(super) leaf: &'static str,
    pub(super) parts: &'static [RecurrentPart],
    pub(super) gates: &'static [Gate],
}

/// The scopes of cells, which may be missing in names.
pub(in crate::map) const CELLS: [&str; 5] = [
    "lstm_cell",
    "basic_lstm_cell",
    "gru_cell",
    "simple_rnn_cell",
    "basic_rnn_cell",
];

/// What the variables of such a layer are called in it; `None` if they are called as anybody likes.
pub(in crate::map) fn known_variables(layer: Layer) -> Option<Vec<&'static str>> {
    if let Some(cell) = Cell::of(layer) {
        return Some(cell.leaves(true));
    }
    match layer {
        Layer::Other => None,
        Layer::MultiHeadAttention { .. } => Some(vec![
            "query/kernel",
            "query/bias",
            "key/kernel",
            "key/bias",
            "value/kernel",
            "value/bias",
            "attention_output/kernel",
            "attention_output/bias",
        ]),
        Layer::SeparableConv1d { .. } | Layer::SeparableConv2d { .. } => {
            Some(vec!["depthwise_kernel", "pointwise_kernel", "bias"])
        }
        layer => {
            let roles = [Role::Weight, Role::Bias, Role::RunningMean, Role::RunningVar];
            let names = roles.into_iter().flat_map(|role| layer.keras_names(role));
            Some(names.copied().collect())
        }
    }
}

impl Cell {
    /// What the variables are called in the scope of the cell; a layer may have no biases.
    pub(in crate::map) fn leaves(&self, has_bias: bool) -> Vec<&'static str> {
        let is_there = |stored: &&Stored| has_bias || stored.parts.first() != Some(&Bias);
        let leaves = self.variables.iter().filter(is_there);
        leaves.map(|stored| stored.leaf).collect()
    }

    /// What a layer was taken for, with the order of its gates.
    pub(super) fn described(layer: Layer) -> Option<String> {
        let old = |cell: &str, bias: ForgetBias| format!("as {cell}, gates i, c, f, o, forget bias {}", bias.value());
        Some(match layer {
            Layer::Lstm { cell: LstmCell::Keras } => "as the LSTM of Keras, gates i, f, c, o".to_owned(),
            Layer::Lstm {
                cell: LstmCell::Basic(bias),
            } => old("BasicLSTMCell", bias),
            Layer::Lstm {
                cell: LstmCell::Tf1(bias),
            } => old("LSTMCell or LSTMBlockCell", bias),
            Layer::Gru { cell: GruCell::Keras } => "as the GRU of Keras with reset_after, gates z, r, h".to_owned(),
            Layer::Gru {
                cell: GruCell::KerasBefore,
            } => "as the GRU of Keras without reset_after, gates z, r, h".to_owned(),
            Layer::Gru { cell: GruCell::Tf1 } => "as GRUCell, gates r, z and h".to_owned(),
            Layer::Rnn { cell: RnnCell::Keras } => "as the SimpleRNN of Keras".to_owned(),
            Layer::Rnn { cell: RnnCell::Tf1 } => "as BasicRNNCell".to_owned(),
            _ => return None,
        })
    }

    /// That of a recurrent layer; `None` for others.
    pub(in crate::map) fn of(layer: Layer) -> Option<Cell> {
        const LSTM: &[Gate] = &[Input, Forget, Candidate, Output];
        const OLD_LSTM: &[Gate] = &[Input, Candidate, Forget, Output];
        const GRU: &[Gate] = &[Update, Reset, Candidate];
        macro_rules! stored {
            ($gates:expr, $($leaf:literal: $($part:ident)+),+) => {
                &[$(Stored { leaf: $leaf, parts: &[$($part),+], gates: $gates }),+]
            };
        }
        const PEEPHOLES: &[(&str, &str)] = &[
            ("w_i_diag", "a layer here has no peepholes"),
            ("wci", "a layer here has no peepholes"),
            ("projection/kernel", "a layer here has no projection"),
        ];
        let old_lstm = |scope, forget_bias| Cell {
            scope,
            variables: stored!(OLD_LSTM, "kernel": Kernel RecurrentKernel, "bias": Bias),
            two_biases: false,
            forget_bias: Some(forget_bias),
            refused: PEEPHOLES,
        };
        let keras = |scope, variables, two_biases| Cell {
            scope,
            variables,
            two_biases,
            forget_bias: None,
            refused: &[],
        };
        Some(match layer {
            Layer::Lstm { cell: LstmCell::Keras } => keras(
                "lstm_cell",
                stored!(LSTM, "kernel": Kernel, "recurrent_kernel": RecurrentKernel, "bias": Bias),
                false,
            ),
            Layer::Lstm {
                cell: LstmCell::Basic(bias),
            } => old_lstm("basic_lstm_cell", bias),
            Layer::Lstm {
                cell: LstmCell::Tf1(bias),
            } => old_lstm("lstm_cell", bias),
            Layer::Gru { cell: GruCell::Keras } => keras(
                "gru_cell",
                stored!(GRU, "kernel": Kernel, "recurrent_kernel": RecurrentKernel, "bias": Bias RecurrentBias),
                true,
            ),
            Layer::Gru {
                cell: GruCell::KerasBefore,
            } => keras(
                "gru_cell",
                stored!(GRU, "kernel": Kernel, "recurrent_kernel": RecurrentKernel, "bias": Bias),
                false,
            ),
            Layer::Gru { cell: GruCell::Tf1 } => keras(
                "gru_cell",
                const {
                    const GATES: &[Gate] = &[Reset, Update];
                    const REST: &[Gate] = &[Candidate];
                    &[
                        Stored {
                            leaf: "gates/kernel",
                            parts: &[Kernel, RecurrentKernel],
                            gates: GATES,
                        },
                        Stored {
                            leaf: "gates/bias",
                            parts: &[Bias],
                            gates: GATES,
                        },
                        Stored {
                            leaf: "candidate/kernel",
                            parts: &[Kernel, RecurrentKernel],
                            gates: REST,
                        },
                        Stored {
                            leaf: "candidate/bias",
                            parts: &[Bias],
                            gates: REST,
                        },
                    ]
                },
                false,
            ),
            Layer::Rnn { cell: RnnCell::Keras } => keras(
                "simple_rnn_cell",
                stored!(&[Candidate], "kernel": Kernel, "recurrent_kernel": RecurrentKernel, "bias": Bias),
                false,
            ),
            Layer::Rnn { cell: RnnCell::Tf1 } => keras(
                "basic_rnn_cell",
                stored!(&[Candidate], "kernel": Kernel RecurrentKernel, "bias": Bias),
                false,
            ),
            _ => return None,
        })
    }
}
