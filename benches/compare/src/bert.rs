//! The shape of BERT-base: 199 variables in layers as Candle and Burn have them.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Device;
use candle_core::Result;
use candle_nn::VarBuilder;
use serde::Deserialize;

/// How large the network is; BERT-base has 12 layers of 768 and a vocabulary of 30,522.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    layers: usize,
    hidden: usize,
    vocabulary: usize,
    positions: usize,
}

/// The layers of Candle's network. They are built as a user builds them; nothing is computed with them.
#[derive(Debug)]
pub(crate) struct CandleBert {
    pub(crate) embeddings: Vec<candle_nn::Embedding>,
    pub(crate) linears: Vec<candle_nn::Linear>,
    pub(crate) norms: Vec<candle_nn::LayerNorm>,
}

impl CandleBert {
    pub(crate) fn new(size: Size, vb: &VarBuilder<'_>) -> Result<Self> {
        let Size { layers, hidden, .. } = size;
        let (rows, wide) = (size.embeddings(), 4 * hidden);
        let embeddings = rows.map(|(name, rows)| candle_nn::embedding(rows, hidden, vb.pp(name)));
        let mut bert = CandleBert {
            embeddings: embeddings.into_iter().collect::<Result<_>>()?,
            linears: vec![candle_nn::linear(hidden, hidden, vb.pp("pooler"))?],
            norms: vec![candle_nn::layer_norm(hidden, 1e-12, vb.pp("norm"))?],
        };
        for layer in 0..layers {
            let vb = vb.pp("layers").pp(layer);
            for name in ["query", "key", "value", "attention_output"] {
                bert.linears.push(candle_nn::linear(hidden, hidden, vb.pp(name))?);
            }
            bert.linears
                .push(candle_nn::linear(hidden, wide, vb.pp("intermediate"))?);
            bert.linears.push(candle_nn::linear(wide, hidden, vb.pp("output"))?);
            for name in ["attention_norm", "output_norm"] {
                bert.norms.push(candle_nn::layer_norm(hidden, 1e-12, vb.pp(name))?);
            }
        }
        Ok(bert)
    }

    /// All parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &candle_core::Tensor> {
        let embeddings = self.embeddings.iter().map(candle_nn::Embedding::embeddings);
        let linears = self
            .linears
            .iter()
            .flat_map(|linear| [Some(linear.weight()), linear.bias()]);
        let norms = self.norms.iter().flat_map(|norm| [Some(norm.weight()), norm.bias()]);
        embeddings.chain(linears.chain(norms).flatten())
    }
}

/// The same network in Burn, by the same names.
#[derive(Module, Debug)]
pub(crate) struct BurnBert {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: Vec<BurnLayer>,
    pooler: Linear,
}

#[derive(Module, Debug)]
pub(crate) struct BurnLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

impl BurnBert {
    pub(crate) fn new(size: Size, device: &Device) -> Self {
        let Size { layers, hidden, .. } = size;
        let [words, positions, types] = size
            .embeddings()
            .map(|(_, rows)| EmbeddingConfig::new(rows, hidden).init(device));
        let linear = |from: usize, to: usize| LinearConfig::new(from, to).init(device);
        let norm = || LayerNormConfig::new(hidden).with_epsilon(1e-12).init(device);
        let layer = |_| BurnLayer {
            query: linear(hidden, hidden),
            key: linear(hidden, hidden),
            value: linear(hidden, hidden),
            attention_output: linear(hidden, hidden),
            attention_norm: norm(),
            intermediate: linear(hidden, 4 * hidden),
            output: linear(4 * hidden, hidden),
            output_norm: norm(),
        };
        BurnBert {
            words,
            positions,
            types,
            norm: norm(),
            layers: (0..layers).map(layer).collect(),
            pooler: linear(hidden, hidden),
        }
    }
}

impl Size {
    fn embeddings(self) -> [(&'static str, usize); 3] {
        [("words", self.vocabulary), ("positions", self.positions), ("types", 2)]
    }
}
