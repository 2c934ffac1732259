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
