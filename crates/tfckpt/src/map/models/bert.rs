//! BERT, as google-research/bert stores it.

use super::{Layer, NameMap, Rule, head, name, scope};

/// # BERT
impl NameMap {
    /// The names of Google's BERT, `bert/encoder/layer_0/attention/self/query/kernel`, for Candle's `BertModel` and
    /// `BertForMaskedLM` of candle-transformers, for networks with the paths of Hugging Face, and for Burn networks made of
    /// a `TransformerEncoder`. Paths may begin with `bert.` or not.
    ///
    /// | Candle, Hugging Face | Burn | TensorFlow |
    /// |---|---|---|
    /// | `embeddings.word_embeddings.weight` | the same | `bert/embeddings/word_embeddings` |
    /// | `embeddings.LayerNorm` | `embeddings.layer_norm` | `bert/embeddings/LayerNorm` |
    /// | `encoder.layer.0.attention.self.query` | `encoder.layers.0.mha.query` | `bert/encoder/layer_0/attention/self/query` |
    /// | `encoder.layer.0.attention.output.dense` | `encoder.layers.0.mha.output` | `bert/encoder/layer_0/attention/output/dense` |
    /// | `encoder.layer.0.attention.output.LayerNorm` | `encoder.layers.0.norm_1` | `bert/encoder/layer_0/attention/output/LayerNorm` |
    /// | `encoder.layer.0.intermediate.dense` | `encoder.layers.0.pwff.linear_inner` | `bert/encoder/layer_0/intermediate/dense` |
    /// | `encoder.layer.0.output.dense` | `encoder.layers.0.pwff.linear_outer` | `bert/encoder/layer_0/output/dense` |
    /// | `encoder.layer.0.output.LayerNorm` | `encoder.layers.0.norm_2` | `bert/encoder/layer_0/output/LayerNorm` |
    /// | `pooler.dense` | the same | `bert/pooler/dense` |
    /// | `cls.predictions.transform` | the same | `cls/predictions/transform` |
    /// | `cls.predictions.decoder` | the same | `bert/embeddings/word_embeddings`, `cls/predictions/output_bias` |
    /// | `cls.seq_relationship` | the same | `cls/seq_relationship/output_weights`, `…/output_bias` |
    /// | `classifier` (run_classifier.py) | the same | `output_weights`, `output_bias` |
    /// | `qa_outputs` (run_squad.py) | the same | `cls/squad/output_weights`, `…/output_bias` |
    ///
    /// Three things are not in the file: the GELU, which is the approximation with tanh in Google's code today, as
    /// `HiddenAct::GeluApproximate`, and exact in its first version, as `HiddenAct::Gelu`; the epsilon of the layer normalizations,
    /// 1e-12; and the number of attention heads.
    pub fn bert() -> Self {
        let mut rules = embeddings("bert/embeddings");
        rules.extend(encoder("bert/encoder"));
        rules.extend([
            scope("pooler.dense", "bert/pooler/dense"),
            scope("cls.predictions.transform", "cls/predictions/transform"),
        ]);
        rules.extend(predictions("cls.predictions"));
        rules.extend(heads());
        NameMap::keras().model_scope("bert").rules(rules)
    }
}

/// Tables and their normalization, in `place`.
pub(super) fn embeddings(place: &str) -> Vec<Rule> {
    let tables = "embeddings.{table:word|position|token_type}_embeddings.weight";
    vec![
        name(tables, &format!("{place}/{{table}}_embeddings")).layer(Layer::Embedding),
        scope("embeddings.{norm:LayerNorm|layer_norm}", &format!("{place}/LayerNorm")).layer(Layer::LayerNorm),
    ]
}

/// Layers in `place`: those of Candle, and those of Burn's `TransformerEncoder`.
pub(super) fn encoder(place: &str) -> Vec<Rule> {
    let layer = format!("{place}/layer_{{i}}");
    let burn = |part: &str, name: &str| scope(&format!("encoder.layers.{{i}}.{part}"), &format!("{layer}/{name}"));
    vec![
        scope("encoder.layer.{i}", &layer),
        burn("mha.{part:query|key|value}", "attention/self/{part}"),
        burn("mha.output", "attention/output/dense"),
        burn("norm_1", "attention/output/LayerNorm"),
        burn("pwff.linear_inner", "intermediate/dense"),
        burn("pwff.linear_outer", "output/dense"),
        burn("norm_2", "output/LayerNorm"),
    ]
}

/// What predicts masked words: its weights are the word embeddings.
pub(super) fn predictions(module: &str) -> [Rule; 2] {
    let decoder = name(&format!("{module}.decoder.weight"), "bert/embeddings/word_embeddings");
    [
        decoder.layer(Layer::OutputWeights),
        name(
            &format!("{module}.{{bias:decoder.bias|bias}}"),
            "cls/predictions/output_bias",
        ),
    ]
}

/// Heads whose weights are stored `[out, in]`.
pub(super) fn heads() -> Vec<Rule> {
    let of = |module, place: &str| {
        let names = ["weights", "bias"].map(|name| format!("{place}output_{name}"));
        head(module, Layer::OutputWeights, names.each_ref().map(String::as_str))
    };
    let heads = [
        of("cls.seq_relationship", "cls/seq_relationship/"),
        of("classifier", ""),
        of("qa_outputs", "cls/squad/"),
    ];
    heads.into_iter().flatten().collect()
}
