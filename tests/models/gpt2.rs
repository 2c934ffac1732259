//! GPT-2.

use tfckpt::map::NameMap;

use crate::networks::gpt2::{Dense, Gpt2, as_conv1d, as_linear};
use crate::networks::{Kept, Network};

#[test]
fn gpt2_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("gpt2");
    for (names, dense) in [
        (NameMap::gpt2(), as_linear as Dense),
        (NameMap::gpt2_conv1d(), as_conv1d),
    ] {
        let (import, vb) = kept.import(names);
        let mut model = Gpt2::new(&vb, dense).unwrap();
        kept.assert_computes_all("", &model.forward(&kept).unwrap());
        assert_eq!(import.report().unused, [""; 0]);
    }
}

/// The weight of a projection is square: nothing but the preset tells which way it is.
#[test]
fn the_wrong_way_round_is_refused_or_seen() {
    let kept = Kept::open("gpt2");
    let (_, vb) = kept.import(NameMap::gpt2_conv1d());
    let error = Gpt2::new(&vb, as_linear)
        .err()
        .expect("c_attn is not square")
        .to_string();
    assert!(error.contains("model/h0/attn/c_attn/w"), "{error}");
}

#[test]
fn gpt2_is_saved_as_openai_stores_it() {
    let kept = Kept::open("gpt2");
    for (names, dense) in [
        (NameMap::gpt2(), as_linear as Dense),
        (NameMap::gpt2_conv1d(), as_conv1d),
    ] {
        let report = kept.assert_saved_as_it_was(&names, |vb| Gpt2::new(&vb, dense));
        assert_eq!(report.loaded.len(), 28 + 1);
    }
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let kept = Kept::open("gpt2");
    let names = NameMap::gpt2().rename("transformer.h.1.ln_1.weight", "model/h1/ln_2/g");
    let mut model = Gpt2::new(&kept.import(names).1, as_linear).unwrap();
    kept.assert_computes_all("", &model.forward(&kept).unwrap());
}
