//! ResNet v1 and v2.

use crate::networks::resnet::{V1, V2, names_v1, names_v2};
use crate::networks::{Kept, Network};

#[test]
fn resnet_v1_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("resnet_v1");
    let (import, vb) = kept.import(names_v1());
    let outputs = V1::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
    assert_eq!(import.report().unused, ["global_step", "resnet_v1_50/mean_rgb"]);
}

#[test]
fn resnet_v2_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("resnet_v2");
    let (import, vb) = kept.import(names_v2());
    let outputs = V2::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
    assert_eq!(import.report().unused, [""; 0]);
}

#[test]
fn resnets_are_saved_as_slim_stores_them() {
    let names = names_v1();
    let report = Kept::open("resnet_v1").assert_saved_as_it_was(&names, |vb| V1::new(&vb));
    assert_eq!(report.loaded.len(), 112);
    let names = names_v2();
    let report = Kept::open("resnet_v2").assert_saved_as_it_was(&names, |vb| V2::new(&vb));
    assert_eq!(report.loaded.len(), 110);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let kept = Kept::open("resnet_v2");
    let names = names_v2();
    let other = "resnet_v2_50/block2/unit_2/bottleneck_v2/conv1/BatchNorm/gamma";
    let (_, vb) = kept.import(names.rename("stages.1.blocks.1.norm3.weight", other));
    let outputs = V2::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_mean_of_another_normalization_is_seen_in_the_outputs_of_v1() {
    let kept = Kept::open("resnet_v1");
    let other = "resnet_v1_50/block2/unit_2/bottleneck_v1/conv1/BatchNorm/moving_mean";
    let (_, vb) = kept.import(names_v1().rename("layer2.1.bn2.running_mean", other));
    let outputs = V1::new(&vb).unwrap().forward(&kept).unwrap();
    kept.assert_computes_all("", &outputs);
}
