//! T5, as Mesh TensorFlow stores it.

use super::{Layer, NameMap, name, or};
use crate::layout::Layout;

/// # T5
impl NameMap {
    /// The names of T5, for Candle's `T5EncoderModel` and `T5ForConditionalGeneration` of candle-transformers, whose paths are
    /// those of Hugging Face.
    ///
    /// | Candle, Hugging Face | TensorFlow |
    /// |---|---|
    /// | `shared.weight` | `shared/embedding` |
    /// | `encoder.block.0.layer.0.SelfAttention.q.weight` | `encoder/block_000/layer_000/SelfAttention/q` |
    /// | `….SelfAttention.relative_attention_bias.weight [buckets, heads]` | `…/SelfAttention/relative_attention_bias [heads, buckets]` |
    /// | `encoder.block.0.layer.0.layer_norm.weight` | `encoder/block_000/layer_000/layer_norm/scale`, or `…/rms_norm/scale` |
    /// | `encoder.block.0.layer.1.DenseReluDense.wi.weight` | `encoder/block_000/layer_001/DenseReluDense/wi/kernel` |
    /// | `decoder.block.0.layer.1.EncDecAttention.q.weight` | `decoder/block_000/layer_001/EncDecAttention/q` |
    /// | `encoder.final_layer_norm.weight` | `encoder/final_layer_norm/scale`, or `encoder/rms_norm/scale` |
    /// | `lm_head.weight` (T5 1.1) | `decoder/logits/kernel` |
    ///
    /// Candle 0.11.1 computes two things otherwise than TensorFlow, whatever the weights are: with tied embeddings its logits
    /// are `d_model` times those of TensorFlow, and its decoder takes distances from 9 on, of 32 buckets, for others. The
    /// encoder is TensorFlow's.
    pub fn t5() -> Self {
        Self::t5_with(["layer_norm", "rms_norm"], ["final_layer_norm", "rms_norm"])
    }

    /// As [`t5`](Self::t5), with the names of mT5 written, whose normalizations are called `rms_norm`.
    pub fn mt5() -> Self {
        Self::t5_with(["rms_norm", "layer_norm"], ["rms_norm", "final_layer_norm"])
    }

    fn t5_with(norms: [&str; 2], last_norms: [&str; 2]) -> Self {
        let (from, to) = (
            "{stack:encoder|decoder}.block.{b}.layer.{l}",
            "{stack}/block_{b:03}/layer_{l:03}",
        );
        let part = |part: &str, text: &str| name(&format!("{from}.{part}.weight"), &format!("{to}/{text}"));
        let norm = |pattern: &str, place: &str, norms: [&str; 2]| {
            let [first, second] = norms.map(|norm| format!("{place}/{norm}/scale"));
            or(name(pattern, &first), &second).layer(Layer::RmsNorm)
        };
        NameMap::keras().rules([
            name("shared.weight", "shared/embedding").layer(Layer::Embedding),
            part(
                "SelfAttention.relative_attention_bias",
                "SelfAttention/relative_attention_bias",
            )
            .layer(Layer::Embedding)
            .layout(Layout::Permuted(&[1, 0])),
            part(
                "{attention:SelfAttention|EncDecAttention}.{x:q|k|v|o}",
                "{attention}/{x}",
            )
            .layer(Layer::Dense),
            part("DenseReluDense.{x:*}", "DenseReluDense/{x}/kernel").layer(Layer::Dense),
            norm(&format!("{from}.layer_norm.weight"), to, norms),
            norm("{stack:encoder|decoder}.final_layer_norm.weight", "{stack}", last_norms),
            name("lm_head.weight", "decoder/logits/kernel").layer(Layer::Dense),
        ])
    }
}
