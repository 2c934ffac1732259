//! GPT-2, which Candle has not: the network, with the paths of Hugging Face, once with dense layers, and once with weights
//! as they are in its files.

use candle_core::{D, DType, Module, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, VarBuilder, embedding, linear};
use tfckpt::map::NameMap;

use crate::kept::{Kept, attend, layer_norm};

const WIDTH: usize = 16;

/// How a dense layer is made: inputs, outputs, and its parameters.
type Dense = fn(usize, usize, VarBuilder) -> Result<Box<dyn Module>>;

fn as_linear(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Box<dyn Module>> {
    Ok(Box::new(linear(inputs, outputs, vb)?))
}

/// What Hugging Face calls `Conv1D`: the weight is `[in, out]`.
fn as_conv1d(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Box<dyn Module>> {
    let (weight, bias) = (vb.get((inputs, outputs), "weight")?, vb.get(outputs, "bias")?);
    Ok(Box::new(candle_nn::Func::new(move |x| {
        x.broadcast_matmul(&weight)?.broadcast_add(&bias)
    })))
}

struct Gpt2 {
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
    fn new(vb: &VarBuilder, dense: Dense) -> Result<Self> {
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

    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
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
        self.head.forward(&self.norm.forward(&x)?)
    }
}

#[test]
fn gpt2_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("gpt2");
    for (names, dense) in [
        (NameMap::gpt2(), as_linear as Dense),
        (NameMap::gpt2_conv1d(), as_conv1d),
    ] {
        let (import, vb) = kept.import(names);
        let model = Gpt2::new(&vb, dense).unwrap();
        kept.assert_computes("logits", &model.forward(&kept.ids("input_ids")).unwrap());
        assert_eq!(import.report().unused, [""; 0]);
    }
}

/// The weight of a projection is square: nothing but the preset tells which way it is.
#[test]
fn the_wrong_way_round_is_refused_or_seen() {
    let kept = Kept::open("gpt2");
    let (_, vb) = kept.import(NameMap::gpt2_conv1d());
    let error = Gpt2::new(&vb, as_linear)
        .err()
        .expect("c_attn is not square")
        .to_string();
    assert!(error.contains("model/h0/attn/c_attn/w"), "{error}");
}

#[test]
fn gpt2_is_saved_as_openai_stores_it() {
    let kept = Kept::open("gpt2");
    for (names, dense) in [
        (NameMap::gpt2(), as_linear as Dense),
        (NameMap::gpt2_conv1d(), as_conv1d),
    ] {
        let report = kept.assert_saved_as_it_was(&names, |vb| Gpt2::new(&vb, dense));
        assert_eq!(report.loaded.len(), 28 + 1);
    }
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let kept = Kept::open("gpt2");
    let names = NameMap::gpt2().rename("transformer.h.1.ln_1.weight", "model/h1/ln_2/g");
    let model = Gpt2::new(&kept.import(names).1, as_linear).unwrap();
    kept.assert_computes("logits", &model.forward(&kept.ids("input_ids")).unwrap());
}
