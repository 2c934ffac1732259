//! Candle's recurrent layers.

use std::path::Path;

use candle_core::{DType, Device};
use tfckpt::objects::ObjectLayout;
use tfckpt::optimizers::Convention;
use tfckpt::{Checkpoint, map::NameMap};
use tfckpt_candle::Import;

use crate::candle_net::{LAYERS, Training};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Trains in a directory, going on with what it finds there. The bits of all variables.
fn trained(dir: &Path, until: i64, layout: Option<ObjectLayout>) -> Result<Vec<(String, Vec<u32>)>> {
    let convention = layout.as_ref().and_then(ObjectLayout::optimizer_convention);
    let mut training = Training::new(convention.unwrap_or(Convention::V1))?;
    training.until(&dir.to_string_lossy(), until, layout)?;
    let bits = |(path, var): (String, candle_core::Var)| -> Result<(String, Vec<u32>)> {
        let values: Vec<f32> = var.flatten_all()?.to_vec1()?;
        Ok((path, values.into_iter().map(f32::to_bits).collect()))
    };
    training.vars().into_iter().map(bits).collect()
}

#[test]
fn a_resumed_training_of_recurrent_layers_ends_with_the_same_bits() -> Result {
    let [whole, parts] = [tempfile::tempdir()?, tempfile::tempdir()?];
    let expected = trained(whole.path(), 10, None)?;
    trained(parts.path(), 4, None)?;
    let checkpoint = Checkpoint::open(parts.path())?;
    for (name, dims) in [
        ("lstm/lstm_cell/kernel/Adam", vec![3, 20]),
        ("lstm/lstm_cell/recurrent_kernel/Adam_1", vec![5, 20]),
        ("lstm/lstm_cell/bias/Adam", vec![20]),
        ("lstm/lstm_cell/bias/recurrent", vec![20]),
        // They have other gradients.
        ("lstm/lstm_cell/bias/recurrent/Adam", vec![20]),
        ("bi/backward_lstm/lstm_cell/kernel/Adam", vec![5, 8]),
        ("gru/gru_cell/bias", vec![2, 12]),
        ("gru/gru_cell/bias/Adam", vec![2, 12]),
    ] {
        assert_eq!(checkpoint.variable(name)?.shape().dims(), dims, "{name}");
    }
    for name in [
        "gru/gru_cell/bias/recurrent",
        "bi/forward_lstm/lstm_cell/bias/recurrent/Adam",
    ] {
        assert!(!checkpoint.contains(name), "{name}");
    }
    assert_eq!(trained(parts.path(), 10, None)?, expected);
    Ok(())
}

/// Python has neither of the two biases: they are beside its objects, and so are the moments of the second.
#[test]
fn so_does_one_that_is_saved_as_objects_of_keras() -> Result {
    let keras3 = || ObjectLayout::keras3_sequential(["input"].into_iter().chain(LAYERS));
    let keras2 = || ObjectLayout::keras2(LAYERS);
    let legacy = || keras2().optimizer(Convention::Keras2Legacy);
    let layouts: [(&dyn Fn() -> ObjectLayout, &str); 3] = [
        (&keras3, "model/_functional/_operations/2"),
        (&keras2, "model/layer-1"),
        (&legacy, "model/layer_with_weights-1"),
    ];
    for (layout, bi) in layouts {
        let [whole, parts] = [tempfile::tempdir()?, tempfile::tempdir()?];
        let expected = trained(whole.path(), 10, Some(layout()))?;
        trained(parts.path(), 4, Some(layout()))?;
        let checkpoint = Checkpoint::open(parts.path())?;
        for direction in ["forward", "backward"] {
            let found = checkpoint.find(&format!("bi/{direction}_lstm/lstm_cell/recurrent_kernel"))?;
            let place = format!("{bi}/{direction}_layer/cell/recurrent_kernel");
            let root = checkpoint.objects()?.and_then(|graph| graph.node(0)).ok_or("a graph")?;
            let object = place.split('/').try_fold(root, |object, part| object.child(part));
            let key = object
                .and_then(|object| object.variable())
                .ok_or(place)?
                .key()
                .to_owned();
            assert_eq!(key, found.name());
        }
        assert!(checkpoint.contains("lstm/lstm_cell/bias/input"));
        assert_eq!(trained(parts.path(), 10, Some(layout()))?, expected);
    }
    Ok(())
}

/// A layer that the Python program does not have is an error that names the variable.
#[test]
fn a_layer_without_a_place_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let layout = ObjectLayout::keras2(["lstm", "gru", "dense"]);
    let error = trained(dir.path(), 2, Some(layout)).unwrap_err().to_string();
    assert!(error.contains("bi/forward_lstm/lstm_cell/"), "{error}");
    Ok(())
}

/// While a model is built, nobody knows whether a bias will be asked for.
#[test]
fn a_layer_without_the_biases_of_the_checkpoint_is_refused_once_it_is_built() -> Result {
    let dir = tempfile::tempdir()?;
    trained(dir.path(), 1, None)?;
    let checkpoint = || Checkpoint::open(dir.path());
    let import = Import::new(checkpoint()?, NameMap::keras());
    let vb = import.var_builder(DType::F32, &Device::Cpu);
    candle_nn::lstm(3, 5, candle_nn::rnn::LSTMConfig::default_no_bias(), vb.pp("lstm"))?;
    let error = import.check().unwrap_err().to_string();
    assert!(
        error.contains("`lstm/lstm_cell/bias` [20]") && error.contains("the layer has no biases"),
        "{error}"
    );
    let unused = import.report().unused;
    assert!(unused.iter().any(|name| name == "lstm/lstm_cell/bias"), "{unused:?}");
    // A gate of two biases that is asked for by halves.
    let import = Import::new(checkpoint()?, NameMap::keras());
    let vb = import.var_builder(DType::F32, &Device::Cpu);
    candle_nn::gru(4, 4, candle_nn::rnn::GRUConfig::default_no_bias(), vb.pp("gru"))?;
    let error = import.check().unwrap_err().to_string();
    assert!(error.contains("`gru/gru_cell/bias` [2, 12]"), "{error}");
    // With biases there is nothing to say.
    let import = Import::new(checkpoint()?, NameMap::keras());
    let vb = import.var_builder(DType::F32, &Device::Cpu);
    candle_nn::lstm(3, 5, Default::default(), vb.pp("lstm"))?;
    candle_nn::gru(4, 4, Default::default(), vb.pp("gru"))?;
    import.check()?;
    Ok(())
}
