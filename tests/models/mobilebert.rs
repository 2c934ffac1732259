//! MobileBERT.

use tfckpt::map::NameMap;

use crate::networks::mobilebert::MobileBert;
use crate::networks::{Kept, Network};

#[test]
fn mobilebert_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("mobilebert");
    let (import, vb) = kept.import(NameMap::mobilebert());
    let outputs = MobileBert::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
    assert_eq!(import.report().unused, [""; 0]);
}

#[test]
fn mobilebert_is_saved_as_google_stores_it() {
    let kept = Kept::open("mobilebert");
    let report = kept.assert_saved_as_it_was(&NameMap::mobilebert(), |vb| MobileBert::new(&vb));
    assert_eq!(report.loaded.len(), 95 + 1);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_layer_is_seen_in_the_outputs() {
    let kept = Kept::open("mobilebert");
    let scale = "mobilebert.encoder.layer.1.ffn.0.output.LayerNorm.weight";
    let other = "bert/encoder/layer_1/ffn_layer_1/output/FakeLayerNorm/gamma";
    let (_, vb) = kept.import(NameMap::mobilebert().rename(scale, other));
    let outputs = MobileBert::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
}
