//! ALBERT, which Candle has not: the network, with the paths of Hugging Face.

use super::parts::{Tables, attend, hides, layer_norm};
use super::{Kept, Network, Outputs};
use candle_core::{IndexOp, Module, Result, Tensor};
use candle_nn::{LayerNorm, Linear, VarBuilder, linear};

const WIDTH: usize = 16;
const EPSILON: f64 = 1e-12;

pub(crate) struct Albert {
    tables: Tables,
    norm: LayerNorm,
    mapping: Linear,
    groups: Vec<Layer>,
    pooler: Linear,
    transform: Linear,
    transform_norm: LayerNorm,
    decoder: Linear,
    order: Linear,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
    last_norm: LayerNorm,
}

impl Albert {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let (albert, predictions) = (vb.pp("albert"), vb.pp("predictions"));
        let group = |number| Layer::new(albert.pp(format!("encoder.albert_layer_groups.{number}.albert_layers.0")));
        Ok(Albert {
            tables: Tables::new(8, 8, &albert.pp("embeddings"))?,
            norm: layer_norm(8, EPSILON, albert.pp("embeddings.LayerNorm"))?,
            mapping: linear(8, WIDTH, albert.pp("encoder.embedding_hidden_mapping_in"))?,
            groups: (0..2).map(group).collect::<Result<_>>()?,
            pooler: linear(WIDTH, WIDTH, albert.pp("pooler"))?,
            transform: linear(WIDTH, 8, predictions.pp("dense"))?,
            transform_norm: layer_norm(8, EPSILON, predictions.pp("LayerNorm"))?,
            decoder: linear(8, 30, predictions.pp("decoder"))?,
            order: linear(WIDTH, 2, vb.pp("sop_classifier.classifier"))?,
        })
    }
}

impl Network for Albert {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let mask = hides(&kept.ids("input_mask"))?;
        let words = self.tables.words.forward(&kept.ids("input_ids"))?;
        let x = self.tables.add(&words, &kept.ids("token_type_ids"))?;
        let mut x = self.mapping.forward(&self.norm.forward(&x)?)?;
        for layer in 0..4 {
            x = self.groups[layer * 2 / 4].forward(&x, &mask)?;
        }
        let sequence = x.clone();
        let pooled = self.pooler.forward(&x.i((.., 0))?.contiguous()?)?.tanh()?;
        let x = self.transform_norm.forward(&self.transform.forward(&x)?.gelu()?)?;
        Ok(vec![
            ("sequence_output", sequence),
            ("sentence_order_logits", self.order.forward(&pooled)?),
            ("pooled_output", pooled),
            ("masked_lm_logits", self.decoder.forward(&x)?),
        ])
    }
}

impl Layer {
    fn new(vb: VarBuilder) -> Result<Self> {
        let square = |name| linear(WIDTH, WIDTH, vb.pp("attention").pp(name));
        Ok(Layer {
            query: square("query")?,
            key: square("key")?,
            value: square("value")?,
            output: square("dense")?,
            norm: layer_norm(WIDTH, EPSILON, vb.pp("attention.LayerNorm"))?,
            wide: linear(WIDTH, 24, vb.pp("ffn"))?,
            narrow: linear(24, WIDTH, vb.pp("ffn_output"))?,
            last_norm: layer_norm(WIDTH, EPSILON, vb.pp("full_layer_layer_norm"))?,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let [query, key, value] = [&self.query, &self.key, &self.value].map(|layer| layer.forward(x));
        let context = attend(&query?, &key?, &value?, 4, |scores| scores.broadcast_add(mask))?;
        let x = self.norm.forward(&(self.output.forward(&context)? + x)?)?;
        let wide = self.wide.forward(&x)?.gelu()?;
        self.last_norm.forward(&(self.narrow.forward(&wide)? + x)?)
    }
}
