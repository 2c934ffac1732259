//! ALBERT.

use tfckpt::map::NameMap;

use crate::networks::albert::Albert;
use crate::networks::{Kept, Network};

#[test]
fn albert_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("albert");
    let (import, vb) = kept.import(NameMap::albert());
    let outputs = Albert::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
    assert_eq!(import.report().unused, [""; 0]);
}

#[test]
fn albert_is_saved_as_google_stores_it() {
    let report = Kept::open("albert").assert_saved_as_it_was(&NameMap::albert(), |vb| Albert::new(&vb));
    assert_eq!(report.loaded.len(), 48 + 1);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let layer = "encoder.albert_layer_groups.1.albert_layers.0.attention.LayerNorm.weight";
    let other = "bert/encoder/transformer/group_1/inner_group_0/LayerNorm_1/gamma";
    let kept = Kept::open("albert");
    let (_, vb) = kept.import(NameMap::albert().rename(format!("albert.{layer}"), other));
    let outputs = Albert::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
}
