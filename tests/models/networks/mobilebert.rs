//! MobileBERT, which Candle has not: the network, with the paths of Hugging Face.

use super::parts::{Tables, attend, layer_norm};
use super::{Kept, Network, Outputs};
use candle_core::{DType, IndexOp, Module, Result, Tensor};
use candle_nn::{LayerNorm, Linear, VarBuilder, linear, linear_no_bias};

const WIDTH: usize = 32;
const NARROW: usize = 16;
const EMBEDDING: usize = 8;

/// A scale and a shift, and no normalization.
struct NoNorm {
    weight: Tensor,
    bias: Tensor,
}

impl NoNorm {
    fn new(size: usize, vb: VarBuilder) -> Result<Self> {
        let (weight, bias) = (vb.get(size, "weight")?, vb.get(size, "bias")?);
        Ok(NoNorm { weight, bias })
    }
}

impl Module for NoNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// A dense layer and what it is added to, scaled and shifted.
struct Output {
    dense: Linear,
    norm: NoNorm,
}

impl Output {
    fn new(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Output {
            dense: linear(inputs, outputs, vb.pp("dense"))?,
            norm: NoNorm::new(outputs, vb.pp("LayerNorm"))?,
        })
    }

    fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let x = self.dense.forward(x)?;
        match residual {
            Some(residual) => self.norm.forward(&(x + residual)?),
            None => self.norm.forward(&x),
        }
    }
}

struct FeedForward {
    wide: Linear,
    output: Output,
}

impl FeedForward {
    fn new(vb: &VarBuilder) -> Result<Self> {
        Ok(FeedForward {
            wide: linear(NARROW, 24, vb.pp("intermediate.dense"))?,
            output: Output::new(24, NARROW, vb.pp("output"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.output.forward(&self.wide.forward(x)?.relu()?, Some(x))
    }
}

struct Layer {
    input: Output,
    shared: Output,
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Output,
    networks: Vec<FeedForward>,
    output: Output,
}

impl Layer {
    fn new(vb: VarBuilder) -> Result<Self> {
        let attention = vb.pp("attention.self");
        let mut networks = Vec::new();
        for number in 0..2 {
            networks.push(FeedForward::new(&vb.pp(format!("ffn.{number}")))?);
        }
        networks.push(FeedForward::new(&vb)?);
        Ok(Layer {
            input: Output::new(WIDTH, NARROW, vb.pp("bottleneck.input"))?,
            shared: Output::new(WIDTH, NARROW, vb.pp("bottleneck.attention"))?,
            query: linear(NARROW, NARROW, attention.pp("query"))?,
            key: linear(NARROW, NARROW, attention.pp("key"))?,
            value: linear(WIDTH, NARROW, attention.pp("value"))?,
            attended: Output::new(NARROW, NARROW, vb.pp("attention.output"))?,
            networks,
            output: Output::new(NARROW, WIDTH, vb.pp("output.bottleneck"))?,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (narrow, shared) = (self.input.forward(x, None)?, self.shared.forward(x, None)?);
        let (query, key) = (self.query.forward(&shared)?, self.key.forward(&shared)?);
        // What is masked has a score of -6, whatever it was.
        let masked = |scores: Tensor| scores.broadcast_mul(mask)?.broadcast_add(&((mask - 1.0)? * 6.0)?);
        let context = attend(&query, &key, &self.value.forward(x)?, 4, masked)?;
        let mut narrow = self.attended.forward(&context, Some(&narrow))?;
        for network in &self.networks {
            narrow = network.forward(&narrow)?;
        }
        self.output.forward(&narrow, Some(x))
    }
}

pub(crate) struct MobileBert {
    tables: Tables,
    transformation: Linear,
    norm: NoNorm,
    layers: Vec<Layer>,
    transform: Linear,
    transform_norm: LayerNorm,
    decoder: Linear,
    extra: Linear,
    next: Linear,
}

impl MobileBert {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let (embeddings, predictions) = (vb.pp("mobilebert.embeddings"), vb.pp("cls.predictions"));
        let layer = |number| Layer::new(vb.pp(format!("mobilebert.encoder.layer.{number}")));
        Ok(MobileBert {
            tables: Tables::new(EMBEDDING, WIDTH, &embeddings)?,
            transformation: linear(3 * EMBEDDING, WIDTH, embeddings.pp("embedding_transformation"))?,
            norm: NoNorm::new(WIDTH, embeddings.pp("LayerNorm"))?,
            layers: (0..2).map(layer).collect::<Result<_>>()?,
            transform: linear(WIDTH, WIDTH, predictions.pp("transform.dense"))?,
            transform_norm: layer_norm(WIDTH, 1e-12, predictions.pp("transform.LayerNorm"))?,
            decoder: linear(EMBEDDING, 30, predictions.pp("decoder"))?,
            extra: linear_no_bias(30, WIDTH - EMBEDDING, predictions.pp("dense"))?,
            next: linear(WIDTH, 2, vb.pp("cls.seq_relationship"))?,
        })
    }
}

impl Network for MobileBert {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let mask = kept
            .ids("input_mask")
            .to_dtype(DType::F32)?
            .unsqueeze(1)?
            .unsqueeze(1)?;
        let words = self.tables.words.forward(&kept.ids("input_ids"))?;
        let length = words.dim(1)?;
        let next = words.narrow(1, 1, length - 1)?.pad_with_zeros(1, 0, 1)?;
        let last = words.narrow(1, 0, length - 1)?.pad_with_zeros(1, 1, 0)?;
        let words = self.transformation.forward(&Tensor::cat(&[&next, &words, &last], 2)?)?;
        let mut x = self
            .norm
            .forward(&self.tables.add(&words, &kept.ids("token_type_ids"))?)?;
        for layer in &self.layers {
            x = layer.forward(&x, &mask)?;
        }
        let sequence = x.clone();
        let next = self.next.forward(&x.i((.., 0))?.contiguous()?)?;
        let x = self.transform_norm.forward(&self.transform.forward(&x)?.relu()?)?;
        // The words are the first columns of the weights, and what they have not the others.
        let of_words = self.decoder.forward(&x.narrow(2, 0, EMBEDDING)?.contiguous()?)?;
        let others = x.narrow(2, EMBEDDING, WIDTH - EMBEDDING)?.contiguous()?;
        let logits = (of_words + others.broadcast_matmul(self.extra.weight())?)?;
        Ok(vec![
            ("sequence_output", sequence),
            ("next_sentence_logits", next),
            ("masked_lm_logits", logits),
        ])
    }
}
