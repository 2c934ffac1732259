//! BERT.

use candle_transformers::models::bert::{BertForMaskedLM, BertModel, HiddenAct};
use tfckpt::map::{Loaded, NameMap, Rule};

use crate::networks::bert::{FineTuned, Pooled, Pretrained, config, inputs};
use crate::networks::{Kept, Network};

fn kept() -> Kept {
    Kept::open("bert")
}

#[test]
fn bert_computes_what_it_computes_in_tensorflow_with_either_gelu() {
    let kept = kept();
    for (of, act) in [("tanh/", HiddenAct::GeluApproximate), ("erf/", HiddenAct::Gelu)] {
        let (_, vb) = kept.import(NameMap::bert());
        let outputs = Pretrained::new(&vb, act, 2).unwrap().forward(&kept).unwrap();
        assert_eq!(outputs.len(), 4);
        kept.assert_computes_all(of, &outputs);
    }
}

/// A network without `bert.` in its paths, and one that is a part of another.
#[test]
fn paths_may_begin_otherwise() {
    let kept = kept();
    let [ids, types, mask] = inputs(&kept);
    for (names, part) in [
        (NameMap::bert(), ""),
        (NameMap::bert().model_scope("encoder.text"), "encoder.text"),
    ] {
        let (_, vb) = kept.import(names);
        let vb = if part.is_empty() { vb } else { vb.pp(part) };
        let model = BertModel::load(vb, &config(HiddenAct::Gelu, 2)).unwrap();
        let x = model.forward(&ids, &types, Some(&mask)).unwrap();
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
    let outputs = FineTuned::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
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
    let report = kept.assert_saved_as_it_was(&NameMap::bert(), |vb| FineTuned::new(&vb));
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
    let [ids, types, mask] = inputs(&kept);
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
        let x = model.forward(&ids, &types, Some(&mask)).unwrap();
        kept.assert_computes_otherwise("erf/sequence_output", &x);
    }
    let (_, vb) = kept.import(NameMap::bert());
    let model = BertModel::load(vb.pp("bert"), &config(HiddenAct::GeluApproximate, 2)).unwrap();
    let x = model.forward(&ids, &types, Some(&mask)).unwrap();
    let difference = kept.difference("erf/sequence_output", &x);
    println!("bert with the other GELU: {difference:.1e}");
    assert!(difference > 1e-4, "{difference:.1e}");
}
