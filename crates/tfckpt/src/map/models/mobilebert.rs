//! MobileBERT, as google-research/mobilebert stores it.

use super::bert::{heads, predictions};
use super::{Layer, NameMap, name, or, scope};

/// # MobileBERT
impl NameMap {
    /// The names of Google's MobileBERT, for networks with the paths of Hugging Face, which may begin with `mobilebert.` or
    /// not.
    ///
    /// | Hugging Face | TensorFlow |
    /// |---|---|
    /// | `embeddings.word_embeddings.weight` | `bert/embeddings/word_embeddings` |
    /// | `embeddings.embedding_transformation` | `bert/embeddings/embedding_transformation` |
    /// | `encoder.layer.0.bottleneck.input.dense` | `bert/encoder/layer_0/bottleneck/input/dense` |
    /// | `encoder.layer.0.ffn.1.output.dense` | `bert/encoder/layer_0/ffn_layer_1/output/dense` |
    /// | `encoder.layer.0.output.bottleneck.dense` | `bert/encoder/layer_0/output/bottleneck/dense` |
    /// | `….LayerNorm` in all of these | `…/FakeLayerNorm`; `…/LayerNorm` is read as well |
    /// | `cls.predictions.transform.LayerNorm` | `cls/predictions/transform/LayerNorm` |
    /// | `cls.predictions.dense.weight` | `cls/predictions/extra_output_weights` |
    /// | `cls.predictions.decoder`, other heads | as [`bert`](Self::bert) |
    ///
    /// A `FakeLayerNorm` is `x * gamma + beta` and normalizes nothing. Google's code masks by setting scores to -6, not to
    /// -10000: masked words are attended to a little.
    pub fn mobilebert() -> Self {
        let tables = "embeddings.{table:word|position|token_type}_embeddings.weight";
        let norm = |module: &str, place: &str| {
            let rule = scope(&format!("{module}.LayerNorm"), &format!("{place}/FakeLayerNorm"));
            or(rule, &format!("{place}/LayerNorm")).layer(Layer::LayerNorm)
        };
        let mut rules = vec![
            name(tables, "bert/embeddings/{table}_embeddings").layer(Layer::Embedding),
            norm("embeddings", "bert/embeddings"),
            scope(
                "embeddings.embedding_transformation",
                "bert/embeddings/embedding_transformation",
            ),
            norm(
                "encoder.layer.{i}.ffn.{j}.output",
                "bert/encoder/layer_{i}/ffn_layer_{j}/output",
            ),
            scope("encoder.layer.{i}.ffn.{j}", "bert/encoder/layer_{i}/ffn_layer_{j}"),
            norm("encoder.layer.{i}.{part:**}", "bert/encoder/layer_{i}/{part}"),
            scope("encoder.layer.{i}", "bert/encoder/layer_{i}"),
            scope("pooler.dense", "bert/pooler/dense"),
            scope("cls.predictions.transform", "cls/predictions/transform"),
            name("cls.predictions.dense.weight", "cls/predictions/extra_output_weights").layer(Layer::Dense),
        ];
        rules.extend(predictions("cls.predictions"));
        rules.extend(heads());
        NameMap::keras().model_scope("mobilebert").rules(rules)
    }
}
