//! EfficientNet, with the network of candle-transformers: its first two stages.

use candle_core::Module;
use candle_transformers::models::efficientnet::{EfficientNet, MBConvConfig};
use tfckpt::map::NameMap;

use crate::kept::Kept;

fn names() -> NameMap {
    NameMap::efficientnet("efficientnet-b0", &[1, 2])
}

fn stages() -> Vec<MBConvConfig> {
    MBConvConfig::b0().into_iter().take(2).collect()
}

#[test]
fn efficientnet_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("efficientnet");
    let (import, vb) = kept.import(names());
    let model = EfficientNet::new(vb, stages(), 5).unwrap();
    kept.assert_computes("logits", &model.forward(&kept.images()).unwrap());
    assert_eq!(import.report().unused, [""; 0]);
}

#[test]
fn efficientnet_is_saved_as_google_stores_it() {
    let report = Kept::open("efficientnet").assert_saved_as_it_was(&names(), |vb| EfficientNet::new(vb, stages(), 5));
    assert_eq!(report.loaded.len(), 64);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let kept = Kept::open("efficientnet");
    let other = "efficientnet-b0/blocks_2/tpu_batch_normalization/gamma";
    let (_, vb) = kept.import(names().rename("features.2.1.block.1.1.weight", other));
    let model = EfficientNet::new(vb, stages(), 5).unwrap();
    kept.assert_computes("logits", &model.forward(&kept.images()).unwrap());
}
