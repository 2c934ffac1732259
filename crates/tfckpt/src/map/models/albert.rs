//! ALBERT, as google-research/albert stores it.

use super::bert::{embeddings, heads, predictions};
use super::{Layer, NameMap, head, scope};

/// # ALBERT
impl NameMap {
    /// The names of Google's ALBERT, for networks with the paths of Hugging Face, which may begin with `albert.` or not.
    ///
    /// | Hugging Face | TensorFlow |
    /// |---|---|
    /// | `embeddings.word_embeddings.weight` | `bert/embeddings/word_embeddings` |
    /// | `encoder.embedding_hidden_mapping_in` | `bert/encoder/embedding_hidden_mapping_in` |
    /// | `encoder.albert_layer_groups.0.albert_layers.0`: | `bert/encoder/transformer/group_0/inner_group_0`: |
    /// | `….attention.query`, `key`, `value` | `…/attention_1/self/query`, `key`, `value` |
    /// | `….attention.dense` | `…/attention_1/output/dense` |
    /// | `….attention.LayerNorm` | `…/LayerNorm` |
    /// | `….ffn` | `…/ffn_1/intermediate/dense` |
    /// | `….ffn_output` | `…/ffn_1/intermediate/output/dense` |
    /// | `….full_layer_layer_norm` | `…/LayerNorm_1` |
    /// | `pooler` | `bert/pooler/dense` |
    /// | `predictions.dense`, `predictions.LayerNorm` | `cls/predictions/transform/dense`, `…/LayerNorm` |
    /// | `predictions.decoder` | `bert/embeddings/word_embeddings`, `cls/predictions/output_bias` |
    /// | `sop_classifier.classifier` | `cls/seq_relationship/output_weights`, `…/output_bias` |
    /// | `classifier`, `qa_outputs` | as [`bert`](Self::bert) |
    ///
    /// The layers of a group are one set of variables: layer `n` of `layers` is in group `n * groups / layers`. Epsilon is
    /// 1e-12, and the GELU is that with tanh.
    pub fn albert() -> Self {
        let from = "encoder.albert_layer_groups.{g}.albert_layers.{l}";
        let to = "bert/encoder/transformer/group_{g}/inner_group_{l}";
        let part = |part: &str, name: &str| scope(&format!("{from}.{part}"), &format!("{to}/{name}"));
        let mut rules = embeddings("bert/embeddings");
        rules.extend([
            scope(
                "encoder.embedding_hidden_mapping_in",
                "bert/encoder/embedding_hidden_mapping_in",
            ),
            part("attention.{part:query|key|value}", "attention_1/self/{part}"),
            part("attention.dense", "attention_1/output/dense"),
            part("attention.LayerNorm", "LayerNorm"),
            part("ffn", "ffn_1/intermediate/dense"),
            part("ffn_output", "ffn_1/intermediate/output/dense"),
            part("full_layer_layer_norm", "LayerNorm_1"),
            scope("pooler", "bert/pooler/dense"),
            scope("predictions.{part:dense|LayerNorm}", "cls/predictions/transform/{part}"),
        ]);
        rules.extend(predictions("predictions"));
        let order = [
            "cls/seq_relationship/output_weights",
            "cls/seq_relationship/output_bias",
        ];
        rules.extend(head("sop_classifier.classifier", Layer::OutputWeights, order));
        rules.extend(heads());
        NameMap::keras().model_scope("albert").rules(rules)
    }
}
