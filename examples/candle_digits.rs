//! A Candle training run that survives anything: TensorFlow checkpoints as it goes, and exact resume.
//!
//!     cargo run --example candle_digits
//!
//! Kill it at any moment, or press Ctrl-C, and start it again: it goes on within the epoch, and ends with the very weights
//! of a run that was never stopped. TensorFlow restores its checkpoints as they are.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use candle_core::{D, DType, Device, Module, ModuleT, Tensor, Var};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, Linear, Optimizer, VarBuilder, VarMap};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{Digits, PIXELS};
use tfckpt_candle::training::{CheckpointRng, Epochs};
use tfckpt_candle::{Adam, Dropout, ParamsAdam, Run};

mod support;

/// Trains a small convolutional network on handwritten digits, with checkpoints.
#[derive(Debug, Parser)]
struct Options {
    /// Where the checkpoints are; a run that is there already goes on.
    #[arg(long, default_value = "target/candle_digits")]
    dir: PathBuf,
    /// Passes over the training images, those of earlier runs included.
    #[arg(long, default_value_t = 16)]
    epochs: u64,
    /// Steps from one checkpoint to the next.
    #[arg(long, default_value_t = 100)]
    every_steps: u64,
    /// Seconds from one checkpoint to the next, if the steps take longer.
    #[arg(long, default_value_t = 600.0)]
    every_seconds: f64,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let (train, test) = Digits::load()?;

    let varmap = VarMap::new();
    let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
    let mut rng = CheckpointRng::seed_from_u64(7);
    let model = Model::new(&vb, &rng)?;
    initialize(&varmap)?;
    let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;

    let epochs = Epochs::new(train.len(), BATCH).shuffle(7).stop_after(options.epochs);
    let bar = progress(epochs.batches())?;
    let mut run = Run::new(&options.dir, &varmap, &optimizer)
        .layers(&layers)
        .epochs(epochs)
        .track_rng("rng", &rng)
        .max_to_keep(5)
        .every_steps(options.every_steps)
        .every_seconds(options.every_seconds)
        .stop_on_signals()?;
    match run.restore_or_initialize()? {
        0 => println!("starting in {}", options.dir.display()),
        step => println!("resumed at step {step} from {}", options.dir.display()),
    }

    while let Some(batch) = run.next_batch() {
        let (images, labels) = shifted(&train, &batch.rows, &mut rng)?;
        let loss = candle_nn::loss::cross_entropy(&model.forward_t(&images, true)?, &labels)?;
        optimizer.set_learning_rate(learning_rate(batch.epoch));
        optimizer.backward_step(&loss)?;
        if batch.is_last {
            let accuracy = accuracy(&model, &test)?;
            run.metric("val_accuracy", accuracy);
            bar.suspend(|| println!("epoch {:2}  accuracy {:.2} %", batch.epoch + 1, 100.0 * accuracy));
        }
        if let Some(saved) = run.after_step()? {
            bar.suspend(|| println!("saved {}", saved.prefix.display()));
        }
        bar.set_position(run.global_step().unsigned_abs());
        bar.set_message(format!("loss {:.4}", loss.to_scalar::<f32>()?));
    }
    run.finish()?;
    bar.finish_and_clear();

    if let Some(signal) = run.stopped_by() {
        println!(
            "{signal}: step {} is saved, the same command goes on",
            run.global_step()
        );
    } else if let Some(best) = run.metrics().highest("val_accuracy") {
        println!(
            "best accuracy {:.2} %, at step {}",
            100.0 * best.value,
            best.global_step
        );
        println!("test accuracy {:.2} %", 100.0 * accuracy(&model, &test)?);
    }
    Ok(ExitCode::from(run.exit_code()))
}

/// A progress bar, unless stderr is a file.
fn progress(steps: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} step {pos} of {len}  {msg}  {eta} left")?;
    Ok(ProgressBar::new(steps).with_style(style))
}

const BATCH: usize = 50;

/// Pixels along each side of an image.
const SIDE: i32 = 8;

/// Two convolutions, dropout and a dense layer. The names of its variables in the checkpoints: `conv1/kernel`, `bn1/gamma`, …
struct Model {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    dropout: Dropout,
    dense: Linear,
}

impl Model {
    fn new(vb: &VarBuilder, rng: &CheckpointRng) -> candle_core::Result<Self> {
        let same = Conv2dConfig {
            padding: 1,
            ..Default::default()
        };
        Ok(Model {
            conv1: candle_nn::conv2d_no_bias(1, 16, 3, same, vb.pp("conv1"))?,
            bn1: candle_nn::batch_norm(16, 1e-3, vb.pp("bn1"))?,
            conv2: candle_nn::conv2d(16, 32, 3, same, vb.pp("conv2"))?,
            dropout: Dropout::new(0.1, rng),
            dense: candle_nn::linear(2 * 2 * 32, 10, vb.pp("dense"))?,
        })
    }
}

impl ModuleT for Model {
    fn forward_t(&self, images: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let x = max_pool(&self.bn1.forward_t(&self.conv1.forward(images)?, train)?.relu()?)?;
        let x = max_pool(&self.conv2.forward(&x)?.relu()?)?;
        // Flattened in TensorFlow's order, so that the kernel of the dense layer means the same there.
        let x = x.permute((0, 2, 3, 1))?.flatten_from(1)?;
        self.dense.forward(&self.dropout.forward_t(&x, train)?)
    }
}

/// The maximum of each 2 x 2 window; the first of several gets the gradient, as in TensorFlow. (`Tensor::max_pool2d`
/// of Candle 0.11.1 finds the same maxima, but passes a quarter of the gradient to a single one.)
fn max_pool(x: &Tensor) -> candle_core::Result<Tensor> {
    let (n, channels, height, width) = x.dims4()?;
    let windows = x
        .reshape(&[n, channels, height / 2, 2, width / 2, 2][..])?
        .permute([0, 1, 2, 4, 3, 5])?;
    let windows = windows.contiguous()?.reshape((n, channels, height / 2, width / 2, 4))?;
    windows.gather(&windows.argmax_keepdim(4)?, 4)?.squeeze(4)
}

/// The learning rate halves every four epochs. It follows from the epoch, so that there is nothing to save.
fn learning_rate(epoch: u64) -> f64 {
    4e-3 * 0.5f64.powi(epoch as i32 / 4)
}

/// These images, each shifted by up to a pixel.
fn shifted(train: &Digits, rows: &[usize], rng: &mut CheckpointRng) -> Result<(Tensor, Tensor)> {
    let mut shift = || rng.random_range(-1..=1);
    let shifts: Vec<(i32, i32)> = rows.iter().map(|_| (shift(), shift())).collect();
    gather(train, rows, |i| shifts[i])
}

/// These images `[n, 1, 8, 8]`, shifted down and right, and their labels.
fn gather(digits: &Digits, rows: &[usize], shift: impl Fn(usize) -> (i32, i32)) -> Result<(Tensor, Tensor)> {
    let (mut pixels, mut labels) = (Vec::with_capacity(rows.len() * PIXELS), Vec::new());
    for (i, &row) in rows.iter().enumerate() {
        let (image, label) = digits.slice(row..row + 1);
        let (down, right) = shift(i);
        let pixel = |y: i32, x: i32| match (0..SIDE).contains(&y) && (0..SIDE).contains(&x) {
            true => image[(y * SIDE + x) as usize],
            false => 0.0,
        };
        pixels.extend((0..SIDE * SIDE).map(|at| pixel(at / SIDE - down, at % SIDE - right)));
        labels.push(u32::from(label[0]));
    }
    let images = Tensor::from_vec(pixels, (rows.len(), 1, SIDE as usize, SIDE as usize), &Device::Cpu)?;
    Ok((images, Tensor::from_vec(labels, rows.len(), &Device::Cpu)?))
}

/// The same weights in every run; Candle's own generator cannot be seeded on the CPU.
fn initialize(varmap: &VarMap) -> Result<()> {
    let mut random = StdRng::seed_from_u64(7);
    let vars = varmap.data().lock().unwrap();
    let mut weights: Vec<(&String, &Var)> = vars.iter().filter(|(_, var)| var.rank() > 1).collect();
    weights.sort_by_key(|(name, _)| *name);
    for (_, weight) in weights {
        let fan_in = weight.elem_count() / weight.dim(0)?;
        let bound = (6.0 / fan_in as f32).sqrt();
        let values = (0..weight.elem_count())
            .map(|_| random.random_range(-bound..bound))
            .collect();
        weight.set(&Tensor::from_vec(values, weight.shape(), &Device::Cpu)?)?;
    }
    for (_, bias) in vars.iter().filter(|(name, _)| name.ends_with(".bias")) {
        bias.set(&bias.zeros_like()?)?;
    }
    Ok(())
}

fn accuracy(model: &Model, test: &Digits) -> Result<f64> {
    let (images, labels) = gather(test, &(0..test.len()).collect::<Vec<_>>(), |_| (0, 0))?;
    let guesses = model.forward_t(&images, false)?.argmax(D::Minus1)?;
    let right = guesses.eq(&labels)?.to_dtype(DType::F64)?.mean_all()?;
    Ok(right.to_scalar()?)
}
