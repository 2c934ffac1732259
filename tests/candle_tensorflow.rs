//! A run that real TensorFlow began goes on in Candle, and computes what TensorFlow computed.
#![cfg(feature = "candle")]

#[path = "digits/candle.rs"]
mod network;
#[path = "../examples/support/mod.rs"]
mod support;

use anyhow::Result;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Optimizer, VarMap};
use network::Network;
use serde_json::Value;
use support::{Digits, data};
use tfckpt::Checkpoint;
use tfckpt::map::NameMap;
use tfckpt_candle::{Adam, Import, ParamsAdam, Run, recording, var_builder};

const BATCH: usize = 50;

fn tensors(digits: &Digits, rows: std::ops::Range<usize>) -> Result<(Tensor, Tensor)> {
    let (pixels, labels) = digits.slice(rows.clone());
    let images = Tensor::from_slice(pixels, (rows.len(), 1, 8, 8), &Device::Cpu)?;
    let labels: Vec<u32> = labels.iter().map(|&label| label.into()).collect();
    Ok((images, Tensor::from_vec(labels, rows.len(), &Device::Cpu)?))
}

fn expected() -> Result<Value> {
    let expected: Value = serde_json::from_slice(&std::fs::read(data("tf-digits/expected.json"))?)?;
    Ok(expected["saver"].clone())
}

fn checkpoint(step: usize) -> Result<Checkpoint> {
    Ok(Checkpoint::open(data(&format!("tf-digits/saver/model.ckpt-{step}")))?)
}

/// Compares the logits of the first test images, and the accuracy, with TensorFlow's.
fn assert_predicts_like_tensorflow(model: &Network, tolerance: f64) -> Result<()> {
    let (_, test) = Digits::load()?;
    let (images, labels) = tensors(&test, 0..test.len())?;
    let (logits, expected) = (model.logits(&images)?, expected()?);
    let right = logits
        .argmax(D::Minus1)?
        .eq(&labels)?
        .to_dtype(DType::F64)?
        .mean_all()?
        .to_scalar::<f64>()?;
    assert!((right - expected["accuracy"].as_f64().unwrap()).abs() < 1e-9);
    let mut largest = 0f64;
    for (ours, theirs) in logits
        .to_vec2::<f32>()?
        .iter()
        .zip(expected["logits"].as_array().unwrap())
    {
        for (&ours, theirs) in ours.iter().zip(theirs.as_array().unwrap()) {
            largest = largest.max((f64::from(ours) - theirs.as_f64().unwrap()).abs());
        }
    }
    println!("largest difference of a logit: {largest:e}");
    assert!(largest < tolerance, "{largest}");
    Ok(())
}

#[test]
fn a_model_that_tensorflow_trained_predicts_the_same() -> Result<()> {
    let vb = var_builder(checkpoint(360)?, NameMap::keras(), DType::F32, &Device::Cpu)?;
    assert_predicts_like_tensorflow(&Network::new(&vb)?, 1e-4)
}

#[test]
fn a_run_that_tensorflow_began_goes_on_with_the_same_losses() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (train, _) = Digits::load()?;
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    let model = Network::new(&vb)?;
    let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    let mut run = Run::new(dir.path(), &varmap, &optimizer).layers(&layers);

    let report = run.restore(&checkpoint(240)?)?;
    assert_eq!((report.loaded.len(), report.unused.len()), (6 * 3 + 2, 0));
    assert_eq!(optimizer.iterations()?, 240);

    let expected = expected()?;
    let mut largest = 0f64;
    for step in run.global_step() as usize..360 {
        let at = step * BATCH % train.len();
        let (images, labels) = tensors(&train, at..at + BATCH)?;
        let loss = candle_nn::loss::cross_entropy(&model.logits(&images)?, &labels)?;
        optimizer.backward_step(&loss)?;
        run.after_step()?;
        let (ours, theirs) = (
            f64::from(loss.to_scalar::<f32>()?),
            expected["losses"][step].as_f64().unwrap(),
        );
        largest = largest.max((ours / theirs - 1.0).abs());
    }
    println!("largest relative difference of a loss: {largest:e}");
    assert!(largest < 1e-5, "{largest}");
    assert_predicts_like_tensorflow(&model, 1e-4)?;

    // What we save has the very names, dtypes and shapes of what TensorFlow saved, and one counter of our own.
    let saved = run.save()?.unwrap();
    let index = |checkpoint: &Checkpoint| -> Vec<_> {
        checkpoint
            .variables()
            .map(|v| (v.name().into_owned(), v.dtype(), v.shape().clone()))
            .collect()
    };
    let (mut ours, theirs) = (index(&Checkpoint::open(saved.prefix)?), index(&checkpoint(360)?));
    ours.retain(|(name, ..)| name != "Adam/iterations");
    assert_eq!(ours, theirs);
    Ok(())
}

#[test]
fn a_model_for_fine_tuning_starts_from_tensorflows_values() -> Result<()> {
    let import = Import::new(checkpoint(360)?, NameMap::keras());
    let varmap = VarMap::new();
    let (vb, _) = import.init_from_checkpoint(&varmap, DType::F32, &Device::Cpu);
    assert_predicts_like_tensorflow(&Network::new(&vb)?, 1e-4)?;
    assert_eq!(varmap.all_vars().len(), 6);
    assert!(import.report().is_complete());
    Ok(())
}
