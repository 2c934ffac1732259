//! A Burn network learns handwritten digits, and saves TensorFlow checkpoints as it goes.
//!
//! ```text
//! cargo run --example burn_digits
//! ```
//!
//! Kill it at any moment and run it again: it goes on from the last checkpoint as if it had never stopped. Nothing but
//! the lines marked with `<--` differs from a training without TensorFlow checkpoints.

#[path = "support/epochs.rs"]
mod epochs;
#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, ensure};
use burn::data::dataloader::{DataLoaderBuilder, Dataset, batcher::Batcher};
use burn::data::dataset::DatasetError;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::AdamWConfig;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{ClassificationOutput, InferenceStep, SupervisedTraining, TrainOutput, TrainStep};
use clap::Parser;
use epochs::Epochs;
use support::Digits;
use tfckpt_burn::TfCheckpoints;

/// Trains a Burn network on handwritten digits, with TensorFlow checkpoints.
#[derive(Debug, Parser)]
struct Args {
    /// Where the checkpoints go.
    #[arg(long, default_value = "target/burn_digits")]
    dir: PathBuf,
    /// How often the training images are gone through.
    #[arg(long, default_value_t = 12)]
    epochs: usize,
    /// Steps from one checkpoint to the next; there is one at the end of each epoch, too.
    #[arg(long, default_value_t = 100)]
    every_steps: u64,
}

const BATCH: usize = 30;

fn main() -> Result<()> {
    let args = Args::parse();
    let (train, test) = Digits::load()?;
    let steps = args.epochs * train.len() / BATCH;
    let device = Device::flex();
    device.seed(7);

    let tf = TfCheckpoints::new(&args.dir) // <--
        .max_to_keep(3)
        .every_steps(args.every_steps)
        .on_event(|event| println!("{event}"));
    let data = |digits: Digits| {
        DataLoaderBuilder::new(ToTensors)
            .batch_size(BATCH)
            .build(Rows(Arc::new(digits)))
    };
    let training = SupervisedTraining::new(args.dir.join("burn"), tf.resume(data(train)), data(test.clone())) // <--
        .metrics((LossMetric::new(), AccuracyMetric::new()))
        .renderer(Box::new(Epochs::default()))
        .num_epochs(args.epochs);
    let rate = CosineAnnealingLrSchedulerConfig::new(1e-2, steps)
        .init()
        .map_err(anyhow::Error::msg)?;
    let result = tf.launch(
        training,
        Net::new(&device),
        AdamWConfig::new().with_weight_decay(0.5).init(),
        rate,
    )?; // <--
    if let Some(error) = result.error {
        anyhow::bail!("the training stopped: {error}");
    }

    let accuracy = accuracy(&result.model, &test);
    println!(
        "step {}: {:.1} % of the test images right",
        tf.global_step(),
        100.0 * accuracy
    );
    ensure!(args.epochs < 12 || accuracy >= 0.95, "fewer than 95 % right");
    Ok(())
}

/// Two convolutions and a dense layer.
#[derive(Module, Debug)]
struct Net {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    pool: MaxPool2d,
    dense: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same);
        Net {
            conv1: conv([1, 24]).init(device),
            norm1: BatchNormConfig::new(24).init(device),
            conv2: conv([24, 48]).init(device),
            norm2: BatchNormConfig::new(48).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dense: LinearConfig::new(192, 10).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.norm1.forward(self.conv1.forward(images))));
        let x = self.pool.forward(relu(self.norm2.forward(self.conv2.forward(x))));
        self.dense.forward(x.flatten(1, 3))
    }

    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.forward(batch.images);
        let loss = CrossEntropyLossConfig::new()
            .init(&output.device())
            .forward(output.clone(), batch.labels.clone());
        ClassificationOutput::new(loss, output, batch.labels)
    }
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let item = self.classify(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

/// Images `[n, 1, 8, 8]` and labels `[n]`.
#[derive(Debug, Clone)]
struct Batch {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

#[derive(Debug, Clone)]
struct ToTensors;

impl Batcher<(Vec<f32>, u8), Batch> for ToTensors {
    fn batch(&self, items: Vec<(Vec<f32>, u8)>, device: &Device) -> Batch {
        let n = items.len();
        let labels: Vec<i32> = items.iter().map(|(_, label)| i32::from(*label)).collect();
        let pixels: Vec<f32> = items.into_iter().flat_map(|(pixels, _)| pixels).collect();
        Batch {
            images: Tensor::from_data(TensorData::new(pixels, [n, 1, 8, 8]), device),
            labels: Tensor::from_data(TensorData::new(labels, [n]), device),
        }
    }
}

/// The digits as Burn's data loader wants them.
struct Rows(Arc<Digits>);

impl Dataset<(Vec<f32>, u8)> for Rows {
    fn get(&self, index: usize) -> Result<(Vec<f32>, u8), DatasetError> {
        let (pixels, labels) = self.0.slice(index..index + 1);
        Ok((pixels.to_vec(), labels[0]))
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

fn accuracy(net: &Net, test: &Digits) -> f64 {
    let images = TensorData::new(test.pixels.clone(), [test.len(), 1, 8, 8]);
    let logits = net.forward(Tensor::from_data(images, &Device::flex()));
    let guesses: Vec<i64> = logits.argmax(1).into_data().iter::<i64>().collect();
    let right = guesses
        .iter()
        .zip(&test.labels)
        .filter(|(guess, label)| **guess == i64::from(**label))
        .count();
    right as f64 / test.len() as f64
}
