//! The kinds of layers, as they are written.

use super::entry::Entry;
use crate::map::layer::{ForgetBias, GruCell, Layer, LstmCell, RnnCell};

impl Entry {
    /// The kind of layer that it declares, if it does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn to_layer(&self) -> Result<Option<Layer>, String> {
        let of_recurrent = [
            (self.cell.is_some(), "cell"),
            (self.forget_bias.is_some(), "forget_bias"),
            (self.reset_after.is_some(), "reset_after"),
        ];
        let layer = self.layer.as_deref().map(|name| self.layer_of(name)).transpose()?;
        let is_recurrent = layer.is_some_and(Layer::is_recurrent);
        match of_recurrent.iter().find(|(is_there, _)| *is_there && !is_recurrent) {
            Some((_, key)) => Err(format!(
                "`{key}` goes with a `layer` that is `lstm`, `gru` or `simple_rnn`"
            )),
            None => Ok(layer),
        }
    }

    fn layer_of(&self, name: &str) -> Result<Layer, String> {
        let multiplier = || self.multiplier.ok_or_else(|| format!("`{name}` needs a `multiplier`"));
        let heads = || self.heads.ok_or_else(|| format!("`{name}` needs `heads`"));
        Ok(match name {
            "dense" => Layer::Dense,
            "output_weights" => Layer::OutputWeights,
            "pointwise_conv1d" => Layer::PointwiseConv1d,
            "pointwise_conv2d" => Layer::PointwiseConv2d,
            "conv1d" => Layer::Conv1d,
            "conv2d" => Layer::Conv2d,
            "conv3d" => Layer::Conv3d,
            "depthwise_conv1d" => Layer::DepthwiseConv1d {
                multiplier: multiplier()?,
            },
            "depthwise_conv2d" => Layer::DepthwiseConv2d {
                multiplier: multiplier()?,
            },
            "separable_conv1d" => Layer::SeparableConv1d {
                multiplier: multiplier()?,
            },
            "separable_conv2d" => Layer::SeparableConv2d {
                multiplier: multiplier()?,
            },
            "conv1d_transpose" => Layer::ConvTranspose1d,
            "conv2d_transpose" => Layer::ConvTranspose2d,
            "conv3d_transpose" => Layer::ConvTranspose3d,
            "batch_norm" => Layer::BatchNorm,
            "layer_norm" => Layer::LayerNorm,
            "group_norm" => Layer::GroupNorm,
            "instance_norm" => Layer::InstanceNorm,
            "rms_norm" => Layer::RmsNorm,
            "embedding" => Layer::Embedding,
            "prelu" => Layer::PRelu,
            "multi_head_attention" => Layer::MultiHeadAttention { heads: heads()? },
            "lstm" => Layer::Lstm {
                cell: self.lstm_cell()?,
            },
            "gru" => Layer::Gru { cell: self.gru_cell()? },
            "simple_rnn" => Layer::Rnn { cell: self.rnn_cell()? },
            "other" => Layer::Other,
            _ => return Err(format!("there is no layer `{name}` that a mapping can declare")),
        })
    }

    fn lstm_cell(&self) -> Result<LstmCell, String> {
        self.without_reset_after("lstm")?;
        let forget_bias = self.forget_bias.map_or_else(ForgetBias::default, ForgetBias::new);
        match self.cell.as_deref() {
            None | Some("keras") if self.forget_bias.is_some() => {
                Err("an LSTM of Keras has its forget bias in `bias`: leave out `forget_bias`".to_owned())
            }
            None | Some("keras") => Ok(LstmCell::Keras),
            Some("basic_lstm_cell") => Ok(LstmCell::Basic(forget_bias)),
            Some("lstm_cell" | "block_lstm") => Ok(LstmCell::Tf1(forget_bias)),
            Some(other) => Err(format!(
                "an LSTM has no cell `{other}`: it is `keras`, `basic_lstm_cell`, `lstm_cell` or `block_lstm`"
            )),
        }
    }

    fn gru_cell(&self) -> Result<GruCell, String> {
        self.without_forget_bias("gru")?;
        match (self.cell.as_deref(), self.reset_after) {
            (None | Some("keras"), None | Some(true)) => Ok(GruCell::Keras),
            (None | Some("keras"), Some(false)) => Ok(GruCell::KerasBefore),
            (Some("gru_cell"), None | Some(false)) => Ok(GruCell::Tf1),
            (Some("gru_cell"), Some(true)) => Err("a `gru_cell` resets before: `reset_after` is false".to_owned()),
            (Some(other), _) => Err(format!("a GRU has no cell `{other}`: it is `keras` or `gru_cell`")),
        }
    }

    fn rnn_cell(&self) -> Result<RnnCell, String> {
        self.without_forget_bias("simple_rnn")?;
        self.without_reset_after("simple_rnn")?;
        match self.cell.as_deref() {
            None | Some("keras") => Ok(RnnCell::Keras),
            Some("basic_rnn_cell") => Ok(RnnCell::Tf1),
            Some(other) => Err(format!(
                "a plain recurrent layer has no cell `{other}`: it is `keras` or `basic_rnn_cell`"
            )),
        }
    }

    fn without_forget_bias(&self, layer: &str) -> Result<(), String> {
        match self.forget_bias {
            None => Ok(()),
            Some(_) => Err(format!("a `{layer}` has no `forget_bias`")),
        }
    }

    fn without_reset_after(&self, layer: &str) -> Result<(), String> {
        match self.reset_after {
            None => Ok(()),
            Some(_) => Err(format!("a `{layer}` has no `reset_after`")),
        }
    }
}
