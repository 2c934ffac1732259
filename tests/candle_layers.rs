//! Each layer of Candle computes what TensorFlow computed, and gives TensorFlow its variables back, byte for byte.
#![cfg(feature = "candle")]

#[path = "layers/candle.rs"]
mod cases;
#[path = "layers/shared.rs"]
mod shared;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use cases::{Forward, each, input, output, tied_names};
use shared::{array, difference, in_scope, prefix};
use tfckpt::map::{ForgetBias, GruCell, Layer, LstmCell, NameMap};
use tfckpt::{Checkpoint, Saver};
use tfckpt_candle::{Variables, recording, var_builder};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn model() -> Checkpoint {
    Checkpoint::open(prefix("model")).expect("a fixture")
}

/// A layer that is built from the checkpoint, and one that is restored from it and saved again.
fn compare(name: &str, names: NameMap, forward: &Forward<'_>) -> Result<f64> {
    let cases = Checkpoint::open(prefix("cases"))?;
    let (x, y) = (array(&cases, &format!("{name}/x")), array(&cases, &format!("{name}/y")));
    let x = input(&x)?;
    let vb = var_builder(model(), names.clone(), DType::F32, &Device::Cpu)?;
    let built = difference(&output(&forward(&vb, &x)?)?, &y);

    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    let before = difference(&output(&forward(&vb, &x)?)?, &y);
    let variables = Variables::new(&varmap).layers(&layers).names(names);
    variables.restore(&model())?;
    let restored = difference(&output(&forward(&vb, &x)?)?, &y);
    // Before it was loaded, it computed something else, so that the comparison can fail.
    if before < 1e-3 || built.is_nan() || built > 1e-5 || restored != built {
        return Err(format!("{before:e} before, {restored:e} when restored, {built:e} when built").into());
    }

    let dir = tempfile::tempdir()?;
    Saver::new(dir.path()).save(variables.to_save()?, 1)?;
    let (saved, expected) = (in_scope(&Checkpoint::open(dir.path())?, name), in_scope(&model(), name));
    if saved != expected || expected.is_empty() {
        let list = |all: &[(String, Vec<usize>, Vec<u8>)]| {
            let names = all.iter().map(|(name, dims, _)| format!("{name} {dims:?}"));
            names.collect::<Vec<_>>().join(", ")
        };
        return Err(format!("saved {}; TensorFlow has {}", list(&saved), list(&expected)).into());
    }
    Ok(built)
}

#[test]
fn each_layer_computes_what_tensorflow_computed_and_its_variables_come_back_byte_for_byte() {
    let (mut done, mut failed) = (0, Vec::new());
    each(&mut |name, names, forward| {
        match compare(name, names, forward) {
            Ok(off) => println!("| `{name}` | {off:.1e} |"),
            Err(error) => failed.push(format!("{name}: {error}")),
        }
        done += 1;
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(done, 50);
}

/// Why a layer can neither be built nor restored.
fn refusal(names: NameMap, forward: &dyn Fn(&VarBuilder<'_>) -> candle_core::Result<()>) -> Result<[String; 2]> {
    let vb = var_builder(model(), names.clone(), DType::F32, &Device::Cpu)?;
    let built = forward(&vb).expect_err("it cannot be built").to_string();
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    forward(&vb)?;
    let variables = Variables::new(&varmap).layers(&layers).names(names);
    let restored = variables
        .restore(&model())
        .expect_err("it cannot be restored")
        .to_string();
    Ok([built, restored])
}

#[test]
fn what_cannot_be_represented_is_refused_with_the_reason() -> Result {
    let gru = |name: &'static str| {
        move |vb: &VarBuilder<'_>| candle_nn::gru(7, 11, Default::default(), vb.pp(name)).map(drop)
    };
    for message in refusal(NameMap::keras(), &gru("gru_before"))? {
        assert!(message.contains("reset_after=False"), "{message}");
    }
    for cell in [GruCell::KerasBefore, GruCell::Tf1] {
        let names = NameMap::keras().with_layer("gru_before", Layer::Gru { cell });
        for message in refusal(names, &gru("gru_before"))? {
            assert!(
                message.contains("`gru_before`") && message.contains("Candle's GRU resets"),
                "{message}"
            );
        }
    }
    let one_bias = |vb: &VarBuilder<'_>| {
        let config = candle_nn::rnn::LSTMConfig {
            b_hh_init: None,
            ..Default::default()
        };
        candle_nn::lstm(7, 11, config, vb.pp("basic_lstm")).map(drop)
    };
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    one_bias(&vb)?;
    let cell = LstmCell::Basic(ForgetBias::default());
    let names = NameMap::keras().with_layer("basic_lstm", Layer::Lstm { cell });
    let message = Variables::new(&varmap)
        .layers(&layers)
        .names(names)
        .restore(&model())
        .unwrap_err()
        .to_string();
    assert!(message.contains("needs both of its biases"), "{message}");

    let small = |vb: &VarBuilder<'_>| candle_nn::lstm(7, 10, Default::default(), vb.pp("lstm")).map(drop);
    for message in refusal(NameMap::keras(), &small)? {
        assert!(
            message.contains("needs float32 [7, 40], but `lstm/lstm_cell/kernel` is float32 [7, 44]"),
            "{message}"
        );
    }
    Ok(())
}

#[test]
fn a_wrong_order_of_gates_or_a_forgotten_bias_computes_something_else() {
    let as_cell = |cell| {
        each_named(
            "square_basic_lstm",
            NameMap::keras().with_layer("square_basic_lstm", Layer::Lstm { cell }),
        )
    };
    assert!(as_cell(LstmCell::Basic(ForgetBias::default())).is_ok());
    let without = as_cell(LstmCell::Basic(ForgetBias::new(0.0))).unwrap_err().to_string();
    assert!(without.contains("when built"), "{without}");
}

fn each_named(wanted: &str, names: NameMap) -> Result<f64> {
    let mut result = Err("there is no such case".into());
    each(&mut |name, _, forward| {
        if name == wanted {
            result = compare(name, names.clone(), forward);
        }
    });
    result
}

#[test]
fn parameters_that_share_a_variable_are_stored_once_and_must_be_equal() -> Result {
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    candle_nn::embedding(16, 9, vb.pp("tied.table"))?;
    candle_nn::linear(9, 16, vb.pp("tied.decoder"))?;
    let variables = Variables::new(&varmap).layers(&layers).names(tied_names());
    let error = variables.to_save().unwrap_err().to_string();
    assert!(
        error.contains("`tied.decoder.weight` and `tied.table.weight` are both called `tied/word_embeddings`"),
        "{error}"
    );
    variables.restore(&model())?;
    assert_eq!(variables.to_save()?.len(), 2);
    Ok(())
}

#[test]
fn a_normalization_that_has_no_gamma_in_tensorflow_must_have_one_of_ones() -> Result {
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    candle_nn::batch_norm(11, 1e-3, vb.pp("norm"))?;
    let names = NameMap::keras().with_layer(
        "norm",
        Layer::PartialNorm {
            scale: false,
            center: true,
        },
    );
    let variables = Variables::new(&varmap).layers(&layers).names(names);
    assert_eq!(variables.to_save()?.len(), 3);
    let gamma = varmap.data().lock().unwrap()["norm.weight"].clone();
    gamma.set(&Tensor::full(1.5f32, 11, &Device::Cpu)?)?;
    let error = variables.to_save().unwrap_err().to_string();
    assert!(error.contains("`norm.weight` is not 1 everywhere"), "{error}");
    Ok(())
}
