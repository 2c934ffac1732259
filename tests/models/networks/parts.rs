//! What several networks are made of.

use candle_core::{DType, Module, Result, Tensor};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, LayerNorm, Linear, ModuleT, VarBuilder};

/// A layer normalization of so many numbers.
pub(crate) fn layer_norm(size: usize, epsilon: f64, vb: VarBuilder) -> Result<LayerNorm> {
    candle_nn::layer_norm(size, epsilon, vb)
}

/// Attention of many heads over `[batch, time, width]` each; `mask` is added to the scores.
pub(crate) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    mask: impl Fn(Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let split = |x: &Tensor| -> Result<Tensor> {
        let (batch, time, width) = x.dims3()?;
        x.reshape((batch, time, heads, width / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (query, key, value) = (split(query)?, split(key)?, split(value)?);
    let scale = (query.dim(3)? as f64).sqrt();
    let scores = mask((query.matmul(&key.t()?)? / scale)?)?;
    let weights = candle_nn::ops::softmax(&scores, 3)?;
    weights.matmul(&value)?.transpose(1, 2)?.contiguous()?.flatten_from(2)
}

/// What is added to scores `[batch, heads, query, key]` so that words that are 0 in `mask [batch, key]` are not attended to.
pub(crate) fn hides(mask: &Tensor) -> Result<Tensor> {
    let mask = mask.to_dtype(DType::F32)?.unsqueeze(1)?.unsqueeze(1)?;
    (mask - 1.0)? * 10000.0
}

/// Tables of words, positions and types, as BERT and its descendants have them.
pub(crate) struct Tables {
    pub(crate) words: candle_nn::Embedding,
    positions: candle_nn::Embedding,
    types: candle_nn::Embedding,
}

impl Tables {
    pub(crate) fn new(words: usize, width: usize, vb: &VarBuilder) -> Result<Self> {
        Ok(Tables {
            words: candle_nn::embedding(30, words, vb.pp("word_embeddings"))?,
            positions: candle_nn::embedding(12, width, vb.pp("position_embeddings"))?,
            types: candle_nn::embedding(2, width, vb.pp("token_type_embeddings"))?,
        })
    }

    /// The words, once they are as wide as the others, with positions and types.
    pub(crate) fn add(&self, words: &Tensor, types: &Tensor) -> Result<Tensor> {
        let positions = Tensor::arange(0u32, words.dim(1)? as u32, words.device())?;
        (words + self.types.forward(types)?)?.broadcast_add(&self.positions.forward(&positions)?)
    }
}

/// A convolution that pads as TensorFlow's `SAME`: at the right and the bottom more than at the left and the top, where it
/// cannot be the same.
pub(crate) struct SameConv {
    conv: Conv2d,
    size: usize,
}

impl SameConv {
    pub(crate) fn new(channels: [usize; 2], size: usize, stride: usize, groups: usize, vb: VarBuilder) -> Result<Self> {
        let config = Conv2dConfig {
            stride,
            groups,
            ..Default::default()
        };
        let [inputs, outputs] = channels;
        let conv = candle_nn::conv2d_no_bias(inputs, outputs, size, config, vb)?;
        Ok(SameConv { conv, size })
    }
}

impl Module for SameConv {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let stride = self.conv.config().stride;
        let pad = |x: Tensor, axis: usize| -> Result<Tensor> {
            let length = x.dim(axis)?;
            let all = ((length.div_ceil(stride) - 1) * stride + self.size).saturating_sub(length);
            x.pad_with_zeros(axis, all / 2, all - all / 2)
        };
        self.conv.forward(&pad(pad(x.clone(), 2)?, 3)?)
    }
}

/// A convolution and its batch normalization.
pub(crate) struct Normed<C> {
    pub(crate) conv: C,
    pub(crate) norm: BatchNorm,
}

impl<C: Module> Module for Normed<C> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.forward_t(&self.conv.forward(x)?, false)
    }
}

/// The mean over height and width, through a dense layer.
pub(crate) fn classify(x: &Tensor, dense: &Linear) -> Result<Tensor> {
    dense.forward(&x.mean(3)?.mean(2)?)
}
