//! A training that passes from framework to framework, each of which takes over weights, moments and counters from a
//! checkpoint of the one before, computes what TensorFlow computes that never stopped.
//!
//! TensorFlow trained the network of `data/make_tf_digits.py` for 360 steps, and left its loss at each of them, and its
//! checkpoints of steps 240 and 360. `tests/interop` has the same with TensorFlow as the last runner.
#![cfg(all(feature = "burn", feature = "candle"))]

#[path = "digits/burn.rs"]
mod burn_network;
#[path = "digits/candle.rs"]
mod candle_network;
#[path = "../examples/support/mod.rs"]
mod support;

use std::path::Path;

use support::Digits;
use tfckpt::Checkpoint;

const BATCH: usize = 50;
/// Of losses, and of weights in proportion to the largest of their tensor.
const TOLERANCE: f64 = 1e-5;

/// What a framework does: takes up the run in a directory and trains until a step. Gives the step that it began at, and
/// the loss of each step.
type Runner = fn(&Path, usize) -> (usize, Vec<f64>);

fn batch(digits: &Digits, step: usize) -> (Vec<f32>, Vec<u8>) {
    let first = step * BATCH % digits.len();
    let (pixels, labels) = digits.slice(first..first + BATCH);
    (pixels.to_vec(), labels.to_vec())
}

/// A directory in which TensorFlow's run has come to step 240.
fn begun() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for suffix in ["index", "data-00000-of-00001"] {
        let name = format!("model.ckpt-240.{suffix}");
        std::fs::copy(support::data("tf-digits/saver").join(&name), dir.path().join(&name)).unwrap();
    }
    std::fs::write(
        dir.path().join("checkpoint"),
        "model_checkpoint_path: \"model.ckpt-240\"\n",
    )
    .unwrap();
    dir
}

/// TensorFlow's losses.
fn expected() -> Vec<f64> {
    let text = std::fs::read(support::data("tf-digits/expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let losses = expected["saver"]["losses"].as_array().unwrap();
    losses.iter().map(|loss| loss.as_f64().unwrap()).collect()
}

/// Lets one after the other run until a step, and compares each loss with TensorFlow's.
fn relay(legs: &[(Runner, usize)]) -> tempfile::TempDir {
    let (dir, expected) = (begun(), expected());
    let mut start = 240;
    for (number, (run, until)) in legs.iter().enumerate() {
        let (began, losses) = run(dir.path(), *until);
        assert_eq!((began, losses.len()), (start, until - start), "leg {number}");
        let mut largest = 0.0f64;
        for (step, (loss, known)) in losses.iter().zip(&expected[start..]).enumerate() {
            let off = (loss / known - 1.0).abs();
            // A NaN is not within anything.
            assert!(
                off <= TOLERANCE,
                "leg {number}, step {}: {loss}, not {known}",
                start + step + 1
            );
            largest = largest.max(off);
        }
        println!("leg {number}, steps {start} to {until}: off by {largest:.1e}");
        start = *until;
    }
    dir
}

/// Compares all variables of a float dtype with TensorFlow's own, 120 steps after it was left.
fn assert_ends_as_tensorflow(dir: &Path) {
    let ours = Checkpoint::open(dir).unwrap();
    let theirs = Checkpoint::open(support::data("tf-digits/saver/model.ckpt-360")).unwrap();
    assert_eq!(ours.global_step().unwrap(), Some(360));
    let mut compared = 0;
    for info in theirs.variables().filter(|info| info.dtype() == tfckpt::DType::Float32) {
        let name = info.name();
        let (found, known) = (
            ours.read::<f32>(info.key()).unwrap(),
            theirs.read::<f32>(info.key()).unwrap(),
        );
        let largest = known.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let off = found.iter().zip(&known).map(|(a, b)| (a - b).abs() / largest);
        // A NaN stays.
        let off = off.fold(
            0.0,
            |most: f32, off| if off > most || off.is_nan() { off } else { most },
        );
        // Second moments are squares, of which the relative error is twice that of what was squared.
        let tolerance = if name.contains("/Adam") { 1e-4 } else { TOLERANCE };
        println!("{name}: off by {off:.1e}");
        assert!(
            f64::from(off) <= tolerance && found.len() == known.len(),
            "{name}: off by {off}"
        );
        compared += 1;
    }
    assert_eq!(compared, 6 * 3 + 2, "weights, moments and powers");
}

mod burn_runner {
    use burn::lr_scheduler::constant::ConstantLr;
    use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
    use burn::nn::loss::CrossEntropyLossConfig;
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Int, Tensor, TensorData};
    use tfckpt_burn::TfCheckpoints;
    use tfckpt_burn::optim::Adam;

    use super::burn_network::Network;
    use super::*;

    pub(super) fn run(dir: &Path, until: usize) -> (usize, Vec<f64>) {
        let (train, _) = Digits::load().unwrap();
        let device = Device::flex().autodiff();
        let mut network = Network::new(&device);
        let mut optimizer = Adam::v1().init();
        let mut rate: ModuleLrScheduler = ConstantLr::from(1e-3).into();
        let criterion = CrossEntropyLossConfig::new().init(&device);
        let checkpoints = TfCheckpoints::new(dir);
        let start = checkpoints.restore_or_initialize(&mut network, &mut optimizer, &mut rate);
        let start = start.unwrap() as usize;
        let mut losses = Vec::new();
        for step in start..until {
            let (pixels, labels) = batch(&train, step);
            let images = Tensor::from_data(TensorData::new(pixels, [BATCH, 1, 8, 8]), &device);
            let labels: Tensor<1, Int> = Tensor::from_data(TensorData::new(labels, [BATCH]), &device);
            let loss = criterion.forward(network.logits(images), labels);
            losses.push(f64::from(loss.clone().into_scalar::<f32>()));
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(rate.step(), network, gradients);
            checkpoints.after_step(&network, &optimizer, &rate).unwrap();
        }
        checkpoints.finish(&network, &optimizer, &rate).unwrap();
        (start, losses)
    }
}

mod candle_runner {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::{Optimizer, VarMap};
    use tfckpt_candle::{Adam, ParamsAdam, Run, recording};

    use super::candle_network::Network;
    use super::*;

    pub(super) fn run(dir: &Path, until: usize) -> (usize, Vec<f64>) {
        train(dir, until).unwrap()
    }

    fn train(dir: &Path, until: usize) -> anyhow::Result<(usize, Vec<f64>)> {
        let (train, _) = Digits::load()?;
        let varmap = VarMap::new();
        let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
        let network = Network::new(&vb)?;
        let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;
        let mut run = Run::new(dir, &varmap, &optimizer).layers(&layers);
        let start = run.restore_or_initialize()? as usize;
        let mut losses = Vec::new();
        for step in start..until {
            let (pixels, labels) = batch(&train, step);
            let images = Tensor::from_vec(pixels, (BATCH, 1, 8, 8), &Device::Cpu)?;
            let labels = Tensor::from_vec(labels, BATCH, &Device::Cpu)?.to_dtype(DType::U32)?;
            let loss = candle_nn::loss::cross_entropy(&network.logits(&images)?, &labels)?;
            losses.push(f64::from(loss.to_scalar::<f32>()?));
            optimizer.backward_step(&loss)?;
            run.after_step()?;
        }
        run.finish()?;
        Ok((start, losses))
    }
}

use burn_runner::run as burn;
use candle_runner::run as candle;

#[test]
fn burn_goes_on_from_tensorflow() {
    let dir = relay(&[(burn, 360)]);
    assert_ends_as_tensorflow(dir.path());
}

#[test]
fn candle_goes_on_from_tensorflow() {
    let dir = relay(&[(candle, 360)]);
    assert_ends_as_tensorflow(dir.path());
}

#[test]
fn candle_goes_on_from_burn_which_went_on_from_tensorflow_and_burn_from_candle() {
    let dir = relay(&[(burn, 280), (candle, 320), (burn, 360)]);
    assert_ends_as_tensorflow(dir.path());
}

#[test]
fn burn_goes_on_from_candle_which_went_on_from_tensorflow_and_candle_from_burn() {
    let dir = relay(&[(candle, 280), (burn, 320), (candle, 360)]);
    assert_ends_as_tensorflow(dir.path());
}
