//! ELECTRA, as google-research/electra stores it.

use super::bert::{embeddings, encoder};
use super::{Layer, NameMap, Rule, head, scope};

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
        let mut rules = discriminator();
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
        rules.extend(words("electra/embeddings/word_embeddings"));
        NameMap::keras().model_scope("electra").rules(rules)
    }

    /// The generator of an ELECTRA that was trained with `untied_generator_embeddings`: as
    /// [`electra_generator`](Self::electra_generator), but with embeddings of its own, `generator/embeddings`, which are as
    /// wide as it is. Nothing is projected, so that Candle's `BertModel` is the network.
    ///
    /// With `untied_generator` off, generator and discriminator are one network: [`electra`](Self::electra) with the head of
    /// the generator, which is found in the checkpoint by [`electra_tied_generator`](Self::electra_tied_generator).
    pub fn electra_untied_generator() -> Self {
        let mut rules = embeddings("generator/embeddings");
        rules.extend(encoder("generator/encoder"));
        rules.extend(words("generator/embeddings/word_embeddings"));
        NameMap::keras().model_scope("electra").rules(rules)
    }

    /// The generator of an ELECTRA that was trained without `untied_generator`, or as a masked language model alone: the
    /// encoder is that of [`electra`](Self::electra), the head that of [`electra_generator`](Self::electra_generator).
    pub fn electra_tied_generator() -> Self {
        let mut rules = discriminator();
        rules.extend(words("electra/embeddings/word_embeddings"));
        NameMap::keras().model_scope("electra").rules(rules)
    }

    /// An ELECTRA that was fine-tuned, with the head of one of the tasks that it was tuned for, by the name that the task
    /// has there: `mnli`, `sts`, `chunk`, `squad`. The network itself is named as by [`electra`](Self::electra).
    ///
    /// | model | TensorFlow |
    /// |---|---|
    /// | `classifier`: classes or a number of the first word, classes of each word | `task_specific/mnli/dense` |
    /// | `qa.start`: where an answer begins | `task_specific/squad/dense` |
    /// | `qa.end_hidden`, `qa.end`: where it ends, of the first word of the answer and each word | `…/qa_hidden`, `…/dense_1` |
    /// | `qa.answerable_hidden`, `qa.answerable`: whether there is one | `…/dense_2`, `…/dense_3` |
    ///
    /// The head of answers is that of the default configuration: `joint_prediction`, `answerable_classifier` and
    /// `answerable_uses_start_logits`. Hugging Face's heads are other ones.
    pub fn electra_task(task: &str) -> Self {
        let mut rules = discriminator();
        let heads = [
            ("classifier", "dense"),
            ("qa.start", "dense"),
            ("qa.end_hidden", "qa_hidden"),
            ("qa.end", "dense_1"),
            ("qa.answerable_hidden", "dense_2"),
            ("qa.answerable", "dense_3"),
        ];
        // What cannot be written in a rule cannot be a scope in TensorFlow either: such a head is missing, and reported so.
        let of_task =
            |(module, layer): (&str, &str)| Rule::scope(module, &format!("task_specific/{task}/{layer}")).ok();
        rules.extend(heads.into_iter().filter_map(of_task));
        NameMap::keras().model_scope("electra").rules(rules)
    }
}

/// The network that is kept: embeddings, perhaps projected, and the encoder.
fn discriminator() -> Vec<Rule> {
    let mut rules = embeddings("electra/embeddings");
    rules.push(scope("embeddings_project", "electra/embeddings_project"));
    rules.extend(encoder("electra/encoder"));
    rules
}

/// The head of a generator, whose weights are a table of words.
fn words(table: &str) -> Vec<Rule> {
    let mut rules = vec![scope("generator_predictions", "generator_predictions")];
    let names = [table, "generator_predictions/output_bias"];
    rules.extend(head("generator_lm_head", Layer::OutputWeights, names));
    rules
}
