//! ELECTRA: the discriminator, the generators, and heads of tasks.

use candle_core::Result;
use candle_nn::VarBuilder;
use tfckpt::map::NameMap;

use crate::networks::electra::{Answers, Base, Classes, Generator, Projecting, WideGenerator};
use crate::networks::{Kept, Network};

/// What is computed with these names, compared with the outputs that begin so.
fn assert_computes<N: Network>(kept: &Kept, names: NameMap, of: &str, build: impl FnOnce(&VarBuilder) -> Result<N>) {
    let (import, vb) = kept.import(names);
    let outputs = build(&vb).unwrap().forward(kept).unwrap();
    kept.assert_computes_all(of, &outputs);
    assert!(import.report().is_complete());
}

#[test]
fn a_small_electra_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("electra_small");
    assert_computes(&kept, NameMap::electra(), "", |vb| Projecting::new(vb));
    assert_computes(&kept, NameMap::electra_generator(), "generator/", |vb| {
        Generator::new(vb, 12)
    });
}

#[test]
fn a_base_electra_is_a_bert_of_candle() {
    let kept = Kept::open("electra_base");
    assert_computes(&kept, NameMap::electra(), "", |vb| Base::new(vb));
    assert_computes(&kept, NameMap::electra_generator(), "generator/", |vb| {
        Generator::new(vb, 16)
    });
}

/// With `untied_generator_embeddings`.
#[test]
fn a_generator_may_have_embeddings_of_its_own() {
    let kept = Kept::open("electra_untied");
    assert_computes(&kept, NameMap::electra(), "", |vb| Base::new(vb));
    let names = NameMap::electra_untied_generator;
    assert_computes(&kept, names(), "generator/", |vb| WideGenerator::new(vb, 8, 2));
    let report = kept.assert_saved_as_it_was(&names(), |vb| WideGenerator::new(&vb, 8, 2));
    assert_eq!(report.loaded.len(), 5 + 16 + 4 + 2);
}

/// With `untied_generator` off.
#[test]
fn a_generator_may_be_the_discriminator() {
    let kept = Kept::open("electra_tied");
    assert_computes(&kept, NameMap::electra(), "", |vb| Base::new(vb));
    let names = NameMap::electra_tied_generator;
    assert_computes(&kept, names(), "generator/", |vb| WideGenerator::new(vb, 16, 4));
    let report = kept.assert_saved_as_it_was(&names(), |vb| WideGenerator::new(&vb, 16, 4));
    assert_eq!(report.loaded.len(), 5 + 16 + 4 + 2);
}

#[test]
fn heads_of_tasks_have_the_names_of_the_tasks() {
    let kept = Kept::open("electra_tasks");
    let task = NameMap::electra_task;
    assert_computes(&kept, task("mnli"), "mnli/", |vb| Classes::new(vb));
    assert_computes(&kept, task("squad"), "squad/", |vb| Answers::new(vb));
    let report = kept.assert_saved_as_it_was(&task("mnli"), |vb| Classes::new(&vb));
    assert_eq!(report.loaded.len(), 5 + 16 + 2);
    let report = kept.assert_saved_as_it_was(&task("squad"), |vb| Answers::new(&vb));
    assert_eq!(report.loaded.len(), 5 + 16 + 10);
    // A task that it was not tuned for is not taken for another one.
    let (_, vb) = kept.import(task("cola"));
    let error = Classes::new(&vb).err().expect("there is no such task").to_string();
    assert!(error.contains("task_specific/cola/dense/kernel"), "{error}");
}

#[test]
fn electra_is_saved_as_google_stores_it() {
    let kept = Kept::open("electra_small");
    let report = kept.assert_saved_as_it_was(&NameMap::electra(), |vb| Projecting::new(&vb));
    assert_eq!(report.loaded.len(), 27);
    let report = kept.assert_saved_as_it_was(&NameMap::electra_generator(), |vb| Generator::new(&vb, 12));
    assert_eq!(report.loaded.len(), 27 + 2);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let kept = Kept::open("electra_small");
    let scale = "electra.encoder.layer.0.attention.output.LayerNorm.weight";
    let names = NameMap::electra().rename(scale, "electra/encoder/layer_0/output/LayerNorm/gamma");
    assert_computes(&kept, names, "", |vb| Projecting::new(vb));
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs_of_a_generator() {
    let kept = Kept::open("electra_small");
    let scale = "electra.encoder.layer.0.attention.output.LayerNorm.weight";
    let other = "generator/encoder/layer_0/output/LayerNorm/gamma";
    let names = NameMap::electra_generator().rename(scale, other);
    assert_computes(&kept, names, "generator/", |vb| Generator::new(vb, 12));
}

#[test]
#[should_panic(expected = "differs by")]
fn the_embeddings_of_the_other_network_are_seen_in_the_outputs() {
    let kept = Kept::open("electra_untied");
    let names = NameMap::electra_untied_generator().rename(
        "electra.embeddings.LayerNorm.weight",
        "generator/encoder/layer_0/output/LayerNorm/gamma",
    );
    assert_computes(&kept, names, "generator/", |vb| WideGenerator::new(vb, 8, 2));
}

#[test]
#[should_panic(expected = "differs by")]
fn the_head_of_another_question_is_seen_in_the_outputs() {
    let kept = Kept::open("electra_tasks");
    let names = NameMap::electra_task("squad").rename("qa.end.weight", "task_specific/squad/dense_3/kernel");
    assert_computes(&kept, names, "squad/", |vb| Answers::new(vb));
}
