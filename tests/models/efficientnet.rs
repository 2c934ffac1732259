//! EfficientNet.

use crate::networks::efficientnet::{Efficient, names};
use crate::networks::{Kept, Network};

#[test]
fn efficientnet_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("efficientnet");
    let (import, vb) = kept.import(names());
    let outputs = Efficient::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
    assert_eq!(import.report().unused, [""; 0]);
}

#[test]
fn efficientnet_is_saved_as_google_stores_it() {
    let report = Kept::open("efficientnet").assert_saved_as_it_was(&names(), |vb| Efficient::new(&vb));
    assert_eq!(report.loaded.len(), 64);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let kept = Kept::open("efficientnet");
    let other = "efficientnet-b0/blocks_2/tpu_batch_normalization/gamma";
    let (_, vb) = kept.import(names().rename("features.2.1.block.1.1.weight", other));
    let outputs = Efficient::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
}
