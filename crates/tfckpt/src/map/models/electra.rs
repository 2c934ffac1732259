//! ELECTRA, as google-research/electra stores it.

use super::bert::{embeddings, encoder};
use super::{Layer, NameMap, head, scope};

/// # ELECTRA
impl NameMap {
    /// The names of Google's ELECTRA, its discriminator, for networks with the paths of Hugging Face, which may begin with
    /// `electra.` or not. Where nothing is projected, in the base and large sizes, Candle's `BertModel` is the network, and
    /// so is Burn's `TransformerEncoder`, with the paths of [`bert`](Self::bert).
    ///
    /// | Hugging Face | TensorFlow |
    /// |---|---|
    /// | `embeddings.word_embeddings.weight` | `electra/embeddings/word_embeddings` |
    /// | `embeddings_project` | `electra/embeddings_project` |
    /// | `encoder.layer.0.…` | `electra/encoder/layer_0/…` |
    /// | `discriminator_predictions.dense` | `discriminator_predictions/dense` |
    /// | `discriminator_predictions.dense_prediction` | `discriminator_predictions/dense_1` |
    ///
    /// The GELU is exact, `HiddenAct::Gelu`, and epsilon 1e-12.
    pub fn electra() -> Self {
        let mut rules = embeddings("electra/embeddings");
        rules.push(scope("embeddings_project", "electra/embeddings_project"));
        rules.extend(encoder("electra/encoder"));
        rules.extend([
            scope(
                "discriminator_predictions.dense_prediction",
                "discriminator_predictions/dense_1",
            ),
            scope("discriminator_predictions.dense", "discriminator_predictions/dense"),
        ]);
        NameMap::keras().model_scope("electra").rules(rules)
    }

    /// The generator that an ELECTRA was trained with: as [`electra`](Self::electra), from the same checkpoint. It shares
    /// the embeddings of the discriminator.
    ///
    /// | Hugging Face | TensorFlow |
    /// |---|---|
    /// | `embeddings.word_embeddings.weight` | `electra/embeddings/word_embeddings` |
    /// | `embeddings_project` | `generator/embeddings_project` |
    /// | `encoder.layer.0.…` | `generator/encoder/layer_0/…` |
    /// | `generator_predictions.dense`, `….LayerNorm` | `generator_predictions/dense`, `…/LayerNorm` |
    /// | `generator_lm_head` | `electra/embeddings/word_embeddings`, `generator_predictions/output_bias` |
    pub fn electra_generator() -> Self {
        let mut rules = embeddings("electra/embeddings");
        rules.push(scope("embeddings_project", "generator/embeddings_project"));
        rules.extend(encoder("generator/encoder"));
        rules.push(scope("generator_predictions", "generator_predictions"));
        let words = [
            "electra/embeddings/word_embeddings",
            "generator_predictions/output_bias",
        ];
        rules.extend(head("generator_lm_head", Layer::OutputWeights, words));
        NameMap::keras().model_scope("electra").rules(rules)
    }
}
