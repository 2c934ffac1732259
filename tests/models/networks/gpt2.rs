//! GPT-2, which Candle has not: the network, with the paths of Hugging Face, once with dense layers, and once with weights
//! as they are in its files.

use super::parts::{attend, layer_norm};
use super::{Kept, Network, Outputs};
use candle_core::{D, DType, Module, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, VarBuilder, embedding, linear};

const WIDTH: usize = 16;

/// How a dense layer is made: inputs, outputs, and its parameters.
pub(crate) type Dense = fn(usize, usize, VarBuilder) -> Result<Box<dyn Module>>;

pub(crate) fn as_linear(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Box<dyn Module>> {
    Ok(Box::new(linear(inputs, outputs, vb)?))
}

/// What Hugging Face calls `Conv1D`: the weight is `[in, out]`.
pub(crate) fn as_conv1d(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Box<dyn Module>> {
    let (weight, bias) = (vb.get((inputs, outputs), "weight")?, vb.get(outputs, "bias")?);
    Ok(Box::new(candle_nn::Func::new(move |x| {
        x.broadcast_matmul(&weight)?.broadcast_add(&bias)
    })))
}

pub(crate) struct Gpt2 {
    words: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Box<dyn Module>,
}

struct Block {
    norm_1: LayerNorm,
    attention: Box<dyn Module>,
    projection: Box<dyn Module>,
    norm_2: LayerNorm,
    wide: Box<dyn Module>,
    narrow: Box<dyn Module>,
}

impl Gpt2 {
    pub(crate) fn new(vb: &VarBuilder, dense: Dense) -> Result<Self> {
        let gpt = vb.pp("transformer");
        let block = |number| -> Result<Block> {
            let vb = gpt.pp(format!("h.{number}"));
            Ok(Block {
                norm_1: layer_norm(WIDTH, 1e-5, vb.pp("ln_1"))?,
                attention: dense(WIDTH, 3 * WIDTH, vb.pp("attn.c_attn"))?,
                projection: dense(WIDTH, WIDTH, vb.pp("attn.c_proj"))?,
                norm_2: layer_norm(WIDTH, 1e-5, vb.pp("ln_2"))?,
                wide: dense(WIDTH, 4 * WIDTH, vb.pp("mlp.c_fc"))?,
                narrow: dense(4 * WIDTH, WIDTH, vb.pp("mlp.c_proj"))?,
            })
        };
        Ok(Gpt2 {
            words: embedding(40, WIDTH, gpt.pp("wte"))?,
            positions: embedding(24, WIDTH, gpt.pp("wpe"))?,
            blocks: (0..2).map(block).collect::<Result<_>>()?,
            norm: layer_norm(WIDTH, 1e-5, gpt.pp("ln_f"))?,
            head: Box::new(candle_nn::linear_no_bias(WIDTH, 40, vb.pp("lm_head"))?),
        })
    }
}

impl Network for Gpt2 {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let ids = &kept.ids("input_ids");
        let length = ids.dim(1)?;
        let positions = Tensor::arange(0u32, length as u32, ids.device())?;
        let mut x = self
            .words
            .forward(ids)?
            .broadcast_add(&self.positions.forward(&positions)?)?;
        let seen = Tensor::tril2(length, DType::F32, ids.device())?;
        let hides = ((seen - 1.0)? * 1e10)?;
        for block in &self.blocks {
            let qkv = block.attention.forward(&block.norm_1.forward(&x)?)?;
            let part = |number| qkv.narrow(D::Minus1, number * WIDTH, WIDTH);
            let context = attend(&part(0)?, &part(1)?, &part(2)?, 4, |scores| {
                scores.broadcast_add(&hides)
            })?;
            x = (x + block.projection.forward(&context)?)?;
            let wide = block.wide.forward(&block.norm_2.forward(&x)?)?.gelu()?;
            x = (x + block.narrow.forward(&wide)?)?;
        }
        Ok(vec![("logits", self.head.forward(&self.norm.forward(&x)?)?)])
    }
}
