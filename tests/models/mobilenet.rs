//! MobileNet v1 and v2.

use tfckpt::map::NameMap;

use crate::networks::mobilenet::MobileNet;
use crate::networks::{Kept, Network};

#[test]
fn mobilenet_v1_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("mobilenet_v1");
    let (import, vb) = kept.import(NameMap::mobilenet_v1());
    let outputs = MobileNet::v1(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
    assert_eq!(import.report().unused, [""; 0]);
}

#[test]
fn mobilenet_v2_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("mobilenet_v2");
    let (import, vb) = kept.import(NameMap::mobilenet_v2());
    let outputs = MobileNet::v2(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
    let report = import.report();
    let is_slot = |name: &String| {
        ["RMSProp", "RMSProp_1", "ExponentialMovingAverage"]
            .iter()
            .any(|slot| name.ends_with(slot))
    };
    assert!(report.is_complete() && report.unused.iter().all(is_slot), "{report}");
}

#[test]
fn mobilenets_are_saved_as_slim_stores_them() {
    let report = Kept::open("mobilenet_v1").assert_saved_as_it_was(&NameMap::mobilenet_v1(), |vb| MobileNet::v1(&vb));
    assert_eq!(report.loaded.len(), 47);
    let report = Kept::open("mobilenet_v2").assert_saved_as_it_was(&NameMap::mobilenet_v2(), |vb| MobileNet::v2(&vb));
    assert_eq!(report.loaded.len(), 67);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_statistics_of_another_layer_are_seen_in_the_outputs() {
    let kept = Kept::open("mobilenet_v1");
    let mean = "mobilenet_v1.layer.2.normalization.running_mean";
    let other = "MobilenetV1/Conv2d_1_pointwise/BatchNorm/moving_mean";
    let (_, vb) = kept.import(NameMap::mobilenet_v1().rename(mean, other));
    let outputs = MobileNet::v1(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_layer_is_seen_in_the_outputs_of_v2() {
    let kept = Kept::open("mobilenet_v2");
    let scale = "mobilenet_v2.layer.1.conv_3x3.normalization.weight";
    let other = "MobilenetV2/expanded_conv_2/expand/BatchNorm/gamma";
    let (_, vb) = kept.import(NameMap::mobilenet_v2().rename(scale, other));
    let outputs = MobileNet::v2(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
}
