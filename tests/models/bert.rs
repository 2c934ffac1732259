//! BERT, with the networks of candle-transformers.

use candle_core::{IndexOp, Module, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertForMaskedLM, BertModel, Config, HiddenAct};
use tfckpt::map::{Loaded, NameMap, Rule};

use crate::kept::Kept;

fn config(hidden_act: HiddenAct, layers: usize) -> Config {
    Config {
        vocab_size: 30,
        hidden_size: 16,
        num_hidden_layers: layers,
        num_attention_heads: 4,
        intermediate_size: 24,
        hidden_act,
        max_position_embeddings: 12,
        ..Config::default()
    }
}

fn kept() -> Kept {
    Kept::with_prefix("bert", "bert_model.ckpt")
}

/// The network, and what is made of the first word.
struct Pooled {
    bert: BertModel,
    pooler: candle_nn::Linear,
}

impl Pooled {
    fn new(vb: &VarBuilder, hidden_act: HiddenAct, layers: usize) -> Result<Self> {
        Ok(Pooled {
            bert: BertModel::load(vb.pp("bert"), &config(hidden_act, layers))?,
            pooler: candle_nn::linear(16, 16, vb.pp("bert.pooler.dense"))?,
        })
    }

    fn forward(&self, kept: &Kept) -> Result<[Tensor; 2]> {
        let (ids, types, mask) = (
            kept.ids("input_ids"),
            kept.ids("token_type_ids"),
            kept.ids("input_mask"),
        );
        let x = self.bert.forward(&ids, &types, Some(&mask))?;
        let pooled = self.pooler.forward(&x.i((.., 0))?.contiguous()?)?.tanh()?;
        Ok([x, pooled])
    }
}

#[test]
fn bert_computes_what_it_computes_in_tensorflow_with_either_gelu() {
    let kept = kept();
    for (name, act) in [("tanh", HiddenAct::GeluApproximate), ("erf", HiddenAct::Gelu)] {
        let (_, vb) = kept.import(NameMap::bert());
        let model = Pooled::new(&vb, act, 2).unwrap();
        let next = candle_nn::linear(16, 2, vb.pp("cls.seq_relationship")).unwrap();
        let [x, pooled] = model.forward(&kept).unwrap();
        kept.assert_computes(&format!("{name}/sequence_output"), &x);
        kept.assert_computes(&format!("{name}/pooled_output"), &pooled);
        kept.assert_computes(&format!("{name}/next_sentence_logits"), &next.forward(&pooled).unwrap());

        let (_, vb) = kept.import(NameMap::bert());
        let model = BertForMaskedLM::load(vb, &config(act, 2)).unwrap();
        let [ids, types, mask] = ["input_ids", "token_type_ids", "input_mask"].map(|name| kept.ids(name));
        let logits = model.forward(&ids, &types, Some(&mask)).unwrap();
        kept.assert_computes(&format!("{name}/masked_lm_logits"), &logits);
    }
}

/// A network without `bert.` in its paths, and one that is a part of another.
#[test]
fn paths_may_begin_otherwise() {
    let kept = kept();
    let [ids, types] = ["input_ids", "token_type_ids"].map(|name| kept.ids(name));
    for (names, part) in [
        (NameMap::bert(), ""),
        (NameMap::bert().model_scope("encoder.text"), "encoder.text"),
    ] {
        let (_, vb) = kept.import(names);
        let vb = if part.is_empty() { vb } else { vb.pp(part) };
        let model = BertModel::load(vb, &config(HiddenAct::Gelu, 2)).unwrap();
        let x = model.forward(&ids, &types, Some(&kept.ids("input_mask"))).unwrap();
        kept.assert_computes("erf/sequence_output", &x);
    }
}

#[test]
fn the_report_says_what_a_training_left_beside_the_network() {
    let (import, vb) = kept().import(NameMap::bert());
    BertModel::load(vb.pp("bert"), &config(HiddenAct::Gelu, 2)).unwrap();
    let report = import.report();
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.loaded.len(), 37);
    let unused = |name: &str| report.unused.iter().any(|unused| unused == name);
    for name in [
        "global_step",
        "bert/pooler/dense/kernel",
        "cls/seq_relationship/output_weights",
        "bert/embeddings/word_embeddings/adam_m",
    ] {
        assert!(unused(name), "{name}: {report}");
    }
    assert_eq!(report.unused.len(), 139 - 37);
}

#[test]
fn heads_of_a_fine_tuned_bert_are_stored_out_by_in() {
    let kept = Kept::open("bert_classifier");
    let (import, vb) = kept.import(NameMap::bert());
    let model = Pooled::new(&vb, HiddenAct::GeluApproximate, 1).unwrap();
    let [x, pooled] = model.forward(&kept).unwrap();
    let classifier = candle_nn::linear(16, 3, vb.pp("classifier")).unwrap();
    kept.assert_computes("logits", &classifier.forward(&pooled).unwrap());
    let answers = candle_nn::linear(16, 2, vb.pp("qa_outputs")).unwrap();
    let logits = answers.forward(&x).unwrap().reshape(((), 2)).unwrap();
    kept.assert_computes("squad_logits", &logits);
    assert_eq!(import.report().unused, [""; 0]);
}

#[test]
fn bert_is_saved_as_google_stores_it() {
    let report = kept().assert_saved_as_it_was(&NameMap::bert(), |vb| {
        candle_nn::linear(16, 2, vb.pp("cls.seq_relationship"))?;
        Pooled::new(&vb, HiddenAct::Gelu, 2)
    });
    assert_eq!(report.loaded.len(), 41);
    let kept = Kept::open("bert_classifier");
    let report = kept.assert_saved_as_it_was(&NameMap::bert(), |vb| {
        candle_nn::linear(16, 3, vb.pp("classifier"))?;
        candle_nn::linear(16, 2, vb.pp("qa_outputs"))?;
        Pooled::new(&vb, HiddenAct::Gelu, 1)
    });
    assert_eq!(report.loaded.len(), 27);
}

#[test]
fn weights_that_are_those_of_the_words_are_stored_once() {
    let report = kept().assert_saved_as_it_was(&NameMap::bert(), |vb| {
        BertForMaskedLM::load(vb, &config(HiddenAct::Gelu, 2))
    });
    let of_words = |loaded: &&Loaded| loaded.name == "bert/embeddings/word_embeddings";
    assert_eq!(report.loaded.iter().filter(of_words).count(), 2);
}

/// What these tests are worth: mistakes that keep all shapes are seen in the outputs.
#[test]
fn mistakes_that_keep_all_shapes_are_seen_in_the_outputs() {
    let kept = kept();
    let swapped = |part: &str, other: &str| {
        let path = format!("encoder.layer.{{i}}.{part}.weight");
        Rule::name(&path, &format!("bert/encoder/layer_{{i}}/{other}")).unwrap()
    };
    let mistakes = [
        swapped("attention.self.query", "attention/self/key/kernel"),
        swapped("attention.output.dense", "attention/self/value/kernel"),
        swapped("attention.output.LayerNorm", "output/LayerNorm/gamma"),
    ];
    let turned = swapped("attention.self.query", "attention/self/query/kernel").layout(tfckpt::map::Layout::Same);
    let [ids, types] = ["input_ids", "token_type_ids"].map(|name| kept.ids(name));
    for mistake in mistakes.into_iter().chain([turned]) {
        // The first rule that matches counts.
        let names = NameMap::keras().model_scope("bert").rules([mistake]);
        let names = names.rules([
            Rule::name(
                "embeddings.{table:word|position|token_type}_embeddings.weight",
                "bert/embeddings/{table}_embeddings",
            )
            .unwrap(),
            Rule::scope("embeddings.LayerNorm", "bert/embeddings/LayerNorm").unwrap(),
            Rule::scope("encoder.layer.{i}", "bert/encoder/layer_{i}").unwrap(),
        ]);
        let (_, vb) = kept.import(names);
        let model = BertModel::load(vb.pp("bert"), &config(HiddenAct::Gelu, 2)).unwrap();
        let x = model.forward(&ids, &types, Some(&kept.ids("input_mask"))).unwrap();
        kept.assert_computes_otherwise("erf/sequence_output", &x);
    }
    let (_, vb) = kept.import(NameMap::bert());
    let model = BertModel::load(vb.pp("bert"), &config(HiddenAct::GeluApproximate, 2)).unwrap();
    let x = model.forward(&ids, &types, Some(&kept.ids("input_mask"))).unwrap();
    let difference = kept.difference("erf/sequence_output", &x);
    println!("bert with the other GELU: {difference:.1e}");
    assert!(difference > 1e-4, "{difference:.1e}");
}
