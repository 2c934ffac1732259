//! A Burn network learns handwritten digits, and saves TensorFlow checkpoints as it goes.
//!
//! ```text
//! cargo run --example burn_digits
//! ```
//!
//! Kill it at any moment, or press Ctrl-C, and run it again: it goes on within the epoch as if it had never stopped. Nothing
//! but the lines marked with `<--` differs from a training without TensorFlow checkpoints.

#[path = "support/epochs.rs"]
mod epochs;
#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use burn::data::dataloader::{DataLoaderBuilder, Dataset, batcher::Batcher};
use burn::data::dataset::DatasetError;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::AdamWConfig;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{ClassificationOutput, InferenceStep, SupervisedTraining, TrainOutput, TrainStep};
use clap::Parser;
use epochs::Renderer;
use indicatif::{ProgressBar, ProgressStyle};
use support::Digits;
use tfckpt_burn::training::Epochs;
use tfckpt_burn::{Event, TfCheckpoints};

/// Trains a Burn network on handwritten digits, with TensorFlow checkpoints.
#[derive(Debug, Parser)]
struct Options {
    /// Where the checkpoints are; a run that is there already goes on.
    #[arg(long, default_value = "target/burn_digits")]
    dir: PathBuf,
    /// Passes over the training images, those of earlier runs included.
    #[arg(long, default_value_t = 16)]
    epochs: usize,
    /// Steps from one checkpoint to the next; there is one at the end of each epoch, too.
    #[arg(long, default_value_t = 100)]
    every_steps: u64,
    /// Seconds from one checkpoint to the next, if the steps take longer.
    #[arg(long, default_value_t = 600.0)]
    every_seconds: f64,
}

const BATCH: usize = 50;

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let (train, test) = Digits::load()?;
    let steps = options.epochs * train.len() / BATCH;
    let device = Device::flex();
    device.seed(7);

    let style = ProgressStyle::with_template("{bar:40} image {pos} of {len}  {msg}  {eta} left")?;
    let bar = ProgressBar::no_length().with_style(style); // unless stderr is a file
    let (told, dir) = (bar.clone(), options.dir.display().to_string());
    let tf = TfCheckpoints::new(&options.dir) // <--
        .epochs(Epochs::new(train.len(), BATCH).shuffle(7))
        .seed_each_step(7)
        .max_to_keep(3)
        .every_steps(options.every_steps)
        .every_seconds(options.every_seconds)
        .stop_on_signals()?
        .on_event(move |event| match event {
            Event::Saved(saved) => told.suspend(|| println!("saved {}", saved.prefix.display())),
            Event::Restored { global_step, .. } => println!("resumed at step {global_step} from {dir}"),
            _ => {}
        });
    let batches = tf.loader(Rows(Arc::new(train)), ToTensors); // <--
    let valid = DataLoaderBuilder::new(ToTensors)
        .batch_size(BATCH)
        .build(Rows(Arc::new(test.clone())));
    let training = SupervisedTraining::new(&options.dir, batches, valid)
        .metrics((LossMetric::new(), AccuracyMetric::new()))
        .with_metric_logger(InMemoryMetricLogger::default())
        .with_application_logger(None)
        .renderer(Box::new(Renderer::new(bar)))
        .num_epochs(options.epochs);
    let rate = CosineAnnealingLrSchedulerConfig::new(1e-2, steps)
        .init()
        .map_err(anyhow::Error::msg)?;
    let optimizer = AdamWConfig::new().with_weight_decay(0.5).init();
    let result = tf.launch(training, Net::new(&device), optimizer, rate)?; // <--
    if let Some(error) = result.error {
        anyhow::bail!("the training stopped: {error}");
    }
    if let Some(interruption) = result.interrupted {
        println!("{}, the same command goes on", interruption.reason.unwrap_or_default());
        return Ok(ExitCode::from(tf.exit_code())); // <--
    }

    let accuracy = accuracy(&result.model, &test);
    println!("test accuracy {:.2} %", 100.0 * accuracy);
    ensure!(options.epochs < 12 || accuracy >= 0.95, "fewer than 95 % right");
    Ok(ExitCode::from(tf.exit_code()))
}

/// Two convolutions, dropout and a dense layer.
#[derive(Module, Debug)]
struct Net {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    pool: MaxPool2d,
    dropout: Dropout,
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
            dropout: DropoutConfig::new(0.1).init(),
            dense: LinearConfig::new(192, 10).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.norm1.forward(self.conv1.forward(images))));
        let x = self.pool.forward(relu(self.norm2.forward(self.conv2.forward(x))));
        self.dense.forward(self.dropout.forward(x.flatten(1, 3)))
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
