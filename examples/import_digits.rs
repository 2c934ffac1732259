//! Two networks that TensorFlow trained on the digits, loaded into Burn and into Candle, compute what they compute in
//! TensorFlow.
//!
//! ```text
//! cargo run --example import_digits
//! ```
//!
//! One was saved by `tf.compat.v1.train.Saver`, whose names are those of its variables. The other is a Keras model
//! saved by `tf.train.Checkpoint`, whose keys are paths through Python objects; its variables are found by the same
//! names, `conv1/kernel`, which the checkpoint has beside the keys.

#[path = "support/mod.rs"]
mod support;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use support::{Digits, PIXELS, data};

/// The networks differ in what follows the first convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// A convolution with a bias.
    Saver,
    /// A convolution without one, and batch normalization.
    Keras,
}

/// Of batch normalization, as Keras has it by default.
const EPSILON: f64 = 1e-3;

impl Network {
    fn folder(self) -> &'static str {
        match self {
            Network::Saver => "saver",
            Network::Keras => "keras",
        }
    }
}

fn main() -> Result<()> {
    let (_, test) = Digits::load()?;
    let expected: Value = serde_json::from_slice(&std::fs::read(data("tf-digits/expected.json"))?)?;
    for network in [Network::Saver, Network::Keras] {
        let expected = &expected[network.folder()];
        let folder = data("tf-digits").join(network.folder());
        compare(
            "Candle",
            network,
            &candle_side::logits(network, &folder, &test)?,
            &test,
            expected,
        )?;
        compare(
            "Burn",
            network,
            &burn_side::logits(network, &folder, &test)?,
            &test,
            expected,
        )?;
    }
    Ok(())
}

/// Prints how near the logits are to TensorFlow's, and fails unless they are near enough.
fn compare(framework: &str, network: Network, logits: &[f32], test: &Digits, expected: &Value) -> Result<()> {
    let theirs: Vec<Vec<f32>> = serde_json::from_value(expected["logits"].clone())?;
    let pairs = theirs.iter().flatten().zip(logits);
    let difference = pairs.map(|(theirs, ours)| (theirs - ours).abs()).fold(0.0, f32::max);
    let right = logits
        .chunks(10)
        .zip(&test.labels)
        .filter(|(row, label)| argmax(row) == usize::from(**label))
        .count();
    let accuracy = right as f64 / test.len() as f64;
    let their_accuracy = expected["accuracy"].as_f64().context("an accuracy")?;
    println!(
        "{framework:<7} {:<6} {right} of {} right, as in TensorFlow; logits differ by at most {difference:.1e}",
        network.folder(),
        test.len()
    );
    ensure!(difference <= 1e-4, "{framework}: the logits differ from TensorFlow's");
    ensure!(
        (accuracy - their_accuracy).abs() < 1e-9,
        "{framework}: TensorFlow's accuracy is {their_accuracy}"
    );
    Ok(())
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0)
}

mod candle_side {
    use std::path::Path;

    use anyhow::Result;
    use candle_core::{DType, Device, Tensor};
    use candle_nn::{BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, Module, ModuleT, VarBuilder};
    use tfckpt::Checkpoint;
    use tfckpt::map::NameMap;

    use super::{Digits, EPSILON, Network, PIXELS};

    struct Net {
        conv1: Conv2d,
        bn1: Option<BatchNorm>,
        conv2: Conv2d,
        dense: Linear,
    }

    impl Net {
        fn new(network: Network, vb: &VarBuilder<'_>) -> candle_core::Result<Self> {
            let same = Conv2dConfig {
                padding: 1,
                ..Default::default()
            };
            let norm = BatchNormConfig {
                eps: EPSILON,
                ..Default::default()
            };
            let (conv1, bn1) = match network {
                Network::Saver => (candle_nn::conv2d(1, 8, 3, same, vb.pp("conv1"))?, None),
                Network::Keras => {
                    let conv1 = candle_nn::conv2d_no_bias(1, 8, 3, same, vb.pp("conv1"))?;
                    (conv1, Some(candle_nn::batch_norm(8, norm, vb.pp("bn1"))?))
                }
            };
            let conv2 = candle_nn::conv2d(8, 16, 3, same, vb.pp("conv2"))?;
            let dense = candle_nn::linear(64, 10, vb.pp("dense"))?;
            Ok(Net {
                conv1,
                bn1,
                conv2,
                dense,
            })
        }

        fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
            let mut x = self.conv1.forward(images)?;
            if let Some(bn1) = &self.bn1 {
                x = bn1.forward_t(&x, false)?;
            }
            let x = x.relu()?.max_pool2d(2)?;
            let x = self.conv2.forward(&x)?.relu()?.max_pool2d(2)?;
            // TensorFlow flattens channels last.
            self.dense.forward(&x.permute((0, 2, 3, 1))?.flatten_from(1)?)
        }
    }

    pub(crate) fn logits(network: Network, folder: &Path, test: &Digits) -> Result<Vec<f32>> {
        let device = Device::Cpu;
        let checkpoint = Checkpoint::open(folder)?;
        let vb = tfckpt_candle::var_builder(checkpoint, NameMap::keras(), DType::F32, &device)?;
        let net = Net::new(network, &vb)?;
        let side = (PIXELS as f64).sqrt() as usize;
        let images = Tensor::from_slice(&test.pixels, (test.len(), 1, side, side), &device)?;
        Ok(net.forward(&images)?.flatten_all()?.to_vec1()?)
    }
}

mod burn_side {
    use std::path::Path;

    use anyhow::Result;
    use burn::module::Module;
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
    use burn::store::ModuleSnapshot;
    use burn::tensor::{Device, Tensor, TensorData, activation::relu};
    use tfckpt_burn::TfCheckpointStore;

    use super::{Digits, EPSILON, Network};

    #[derive(Module, Debug)]
    struct Net {
        conv1: Conv2d,
        bn1: Option<BatchNorm>,
        conv2: Conv2d,
        pool: MaxPool2d,
        dense: Linear,
    }

    impl Net {
        fn new(network: Network, device: &Device) -> Self {
            let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same);
            let keras = network == Network::Keras;
            Net {
                conv1: conv([1, 8]).with_bias(!keras).init(device),
                bn1: keras.then(|| BatchNormConfig::new(8).with_epsilon(EPSILON).init(device)),
                conv2: conv([8, 16]).init(device),
                pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
                dense: LinearConfig::new(64, 10).init(device),
            }
        }

        fn forward(&self, images: Tensor<4>) -> Tensor<2> {
            let mut x = self.conv1.forward(images);
            if let Some(bn1) = &self.bn1 {
                x = bn1.forward(x);
            }
            let x = self.pool.forward(relu(x));
            let x = self.pool.forward(relu(self.conv2.forward(x)));
            // TensorFlow flattens channels last.
            self.dense.forward(x.permute([0, 2, 3, 1]).flatten(1, 3))
        }
    }

    pub(crate) fn logits(network: Network, folder: &Path, test: &Digits) -> Result<Vec<f32>> {
        let device = Device::flex();
        let mut net = Net::new(network, &device);
        net.load_from(&mut TfCheckpointStore::from_file(folder))?;
        let images = TensorData::new(test.pixels.clone(), [test.len(), 1, 8, 8]);
        let logits = net.forward(Tensor::from_data(images, &device));
        Ok(logits.into_data().try_to_vec()?)
    }
}
