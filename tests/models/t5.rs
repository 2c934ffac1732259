//! T5, with the networks of candle-transformers.

use candle_core::{Result, Tensor};
use candle_nn::Activation;
use candle_transformers::models::t5::{
    ActivationWithOptionalGating, Config, T5EncoderModel, T5ForConditionalGeneration,
};
use tfckpt::map::NameMap;

use crate::kept::Kept;

fn config(gated: bool) -> Config {
    let activation = if gated { Activation::NewGelu } else { Activation::Relu };
    Config {
        vocab_size: 32,
        d_model: 16,
        d_kv: 4,
        d_ff: 24,
        num_layers: 2,
        num_heads: 3,
        feed_forward_proj: ActivationWithOptionalGating { gated, activation },
        tie_word_embeddings: !gated,
        // Or the decoder goes on with what it was given before.
        use_cache: false,
        ..Config::default()
    }
}

/// Candle gives the logits of the last word alone: those of `length` words are asked for one by one.
fn logits(model: &mut T5ForConditionalGeneration, kept: &Kept, length: usize) -> Result<Tensor> {
    let encoded = model.encode(&kept.ids("input_ids"))?;
    let targets = kept.ids("decoder_input_ids");
    let one = |length| model.decode(&targets.narrow(1, 0, length)?.contiguous()?, &encoded);
    Tensor::stack(&(1..=length).map(one).collect::<Result<Vec<_>>>()?, 1)
}

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
        let mut model = T5ForConditionalGeneration::load(vb, &config(gated)).unwrap();
        let ours = logits(&mut model, &kept, 9).unwrap();
        // With tied embeddings, Candle multiplies by the root of `d_model` where TensorFlow divides by it.
        let ours = if gated { ours } else { (ours / 16.0).unwrap() };
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
    let mut model = T5ForConditionalGeneration::load(vb, &config(true)).unwrap();
    let ours = logits(&mut model, &kept, 20).unwrap();
    let difference = difference(&first(&kept, 20), &ours);
    println!("mt5 logits of 20 words: {difference:.1e}");
    assert!(difference > 1e-3, "{difference:.1e}");
}

#[test]
fn t5_is_saved_as_mesh_tensorflow_stores_it() {
    for (name, names, gated, count) in [("t5", NameMap::t5(), false, 47), ("mt5", NameMap::mt5(), true, 52)] {
        let report =
            Kept::open(name).assert_saved_as_it_was(&names, |vb| T5ForConditionalGeneration::load(vb, &config(gated)));
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
