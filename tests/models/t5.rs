//! T5, its two versions.

use candle_core::Tensor;
use candle_transformers::models::t5::T5EncoderModel;
use tfckpt::map::NameMap;

use crate::networks::Kept;
use crate::networks::t5::{T5, config};

/// The first words of what TensorFlow gave.
fn first(kept: &Kept, length: usize) -> Tensor {
    kept.output("logits").narrow(1, 0, length).unwrap()
}

fn difference(a: &Tensor, b: &Tensor) -> f32 {
    let numbers = |tensor: &Tensor| -> Vec<f32> { tensor.flatten_all().unwrap().to_vec1().unwrap() };
    let (a, b) = (numbers(a), numbers(b));
    let largest = a.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let worse = |worst: f32, off: f32| if off <= worst { worst } else { off };
    a.iter().zip(&b).map(|(a, b)| (a - b).abs() / largest).fold(0.0, worse)
}

#[test]
fn the_encoder_computes_what_it_computes_in_tensorflow() {
    for (name, names, gated) in [("t5", NameMap::t5(), false), ("mt5", NameMap::mt5(), true)] {
        let kept = Kept::open(name);
        let (import, vb) = kept.import(names);
        let mut model = T5EncoderModel::load(vb, &config(gated)).unwrap();
        kept.assert_computes("encoder_output", &model.forward(&kept.ids("input_ids")).unwrap());
        assert!(import.report().is_complete());
    }
}

/// Up to a distance of 8; see the next test.
#[test]
fn the_decoder_computes_what_it_computes_in_tensorflow() {
    for (name, names, gated) in [("t5", NameMap::t5(), false), ("mt5", NameMap::mt5(), true)] {
        let kept = Kept::open(name);
        let (import, vb) = kept.import(names);
        let ours = T5::new(&vb, gated).unwrap().logits(&kept, 9).unwrap();
        let difference = difference(&first(&kept, 9), &ours);
        println!("{name} logits: {difference:.1e}");
        assert!(difference <= 1e-5, "{difference:.1e}");
        let report = import.report();
        assert!(
            report
                .unused
                .iter()
                .all(|name| name.contains("_slot_") || name == "global_step"),
            "{report}"
        );
    }
}

/// What Candle 0.11.1 computes otherwise. When this fails, Candle was mended, and `docs/models.md` is to be, too.
#[test]
fn the_decoder_of_candle_takes_far_words_for_others() {
    let kept = Kept::open("mt5");
    let (_, vb) = kept.import(NameMap::mt5());
    let ours = T5::new(&vb, true).unwrap().logits(&kept, 20).unwrap();
    let difference = difference(&first(&kept, 20), &ours);
    println!("mt5 logits of 20 words: {difference:.1e}");
    assert!(difference > 1e-3, "{difference:.1e}");
}

#[test]
fn t5_is_saved_as_mesh_tensorflow_stores_it() {
    for (name, names, gated, count) in [("t5", NameMap::t5(), false, 47), ("mt5", NameMap::mt5(), true, 52)] {
        let report = Kept::open(name).assert_saved_as_it_was(&names, |vb| T5::new(&vb, gated));
        assert_eq!(report.loaded.len(), count, "{report}");
    }
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let kept = Kept::open("t5");
    let scale = "encoder.block.1.layer.1.layer_norm.weight";
    let names = NameMap::t5().rename(scale, "encoder/block_001/layer_000/layer_norm/scale");
    let mut model = T5EncoderModel::load(kept.import(names).1, &config(false)).unwrap();
    kept.assert_computes("encoder_output", &model.forward(&kept.ids("input_ids")).unwrap());
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs_of_mt5() {
    let kept = Kept::open("mt5");
    let scale = "decoder.block.1.layer.1.layer_norm.weight";
    let names = NameMap::mt5().rename(scale, "decoder/block_001/layer_002/rms_norm/scale");
    let ours = T5::new(&kept.import(names).1, true).unwrap().logits(&kept, 9).unwrap();
    let difference = difference(&first(&kept, 9), &ours);
    assert!(difference <= 1e-5, "differs by {difference:.1e}");
}
