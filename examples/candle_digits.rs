//! A Candle training run that survives anything: TensorFlow checkpoints as it goes, and exact resume.
//!
//!     cargo run --example candle_digits
//!
//! Kill it at any moment and start it again: it goes on from its last checkpoint, and ends with the very weights of
//! a run that was never killed. TensorFlow restores its checkpoints as they are.

use std::path::PathBuf;

use anyhow::Result;
use candle_core::{D, DType, Device, Module, ModuleT, Tensor, Var};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, Linear, Optimizer, VarBuilder, VarMap};
use clap::Parser;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use support::{Digits, PIXELS};
use tfckpt_candle::{Adam, ParamsAdam, Run};

mod support;

/// Trains a small convolutional network on handwritten digits, with checkpoints.
#[derive(Debug, Parser)]
struct Options {
    /// Where the checkpoints are; a run that is there already goes on.
    #[arg(long, default_value = "target/candle_digits")]
    dir: PathBuf,
    /// Passes over the training images, those of earlier runs included.
    #[arg(long, default_value_t = 16)]
    epochs: usize,
    /// Steps from one checkpoint to the next.
    #[arg(long, default_value_t = 100)]
    every_steps: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let (train, test) = Digits::load()?;
    let device = Device::Cpu;

    let varmap = VarMap::new();
    let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &device);
    let model = Model::new(&vb)?;
    initialize(&varmap)?;
    let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;

    let mut run = Run::new(&options.dir, &varmap, &optimizer)
        .layers(&layers)
        .max_to_keep(5)
        .every_steps(options.every_steps);
    let start = run.restore_or_initialize()? as usize;
    match start {
        0 => println!("starting in {}", options.dir.display()),
        _ => println!("resumed at step {start} from {}", options.dir.display()),
    }

    let steps_per_epoch = train.len() / BATCH;
    let mut losses = Vec::new();
    for step in start..options.epochs * steps_per_epoch {
        let (epoch, batch) = (step / steps_per_epoch, step % steps_per_epoch);
        let (images, labels) = batch_of(&train, epoch, batch)?;
        let loss = candle_nn::loss::cross_entropy(&model.forward_t(&images, true)?, &labels)?;
        optimizer.set_learning_rate(learning_rate(epoch));
        optimizer.backward_step(&loss)?;
        if let Some(saved) = run.after_step()? {
            println!("saved {}", saved.prefix.display());
        }
        losses.push(loss.to_scalar::<f32>()?);
        if batch + 1 == steps_per_epoch {
            println!(
                "epoch {:2}  loss {:.6}",
                epoch + 1,
                losses.iter().sum::<f32>() / losses.len() as f32
            );
            losses.clear();
        }
    }
    run.save()?;
    println!("test accuracy {:.2} %", 100.0 * accuracy(&model, &test)?);
    Ok(())
}

const BATCH: usize = 50;

/// Pixels along each side of an image.
const SIDE: i32 = 8;

/// Two convolutions and a dense layer. The names of its variables in the checkpoints: `conv1/kernel`, `bn1/gamma`, …
struct Model {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    dense: Linear,
}

impl Model {
    fn new(vb: &VarBuilder) -> candle_core::Result<Self> {
        let same = Conv2dConfig {
            padding: 1,
            ..Default::default()
        };
        Ok(Model {
            conv1: candle_nn::conv2d_no_bias(1, 16, 3, same, vb.pp("conv1"))?,
            bn1: candle_nn::batch_norm(16, 1e-3, vb.pp("bn1"))?,
            conv2: candle_nn::conv2d(16, 32, 3, same, vb.pp("conv2"))?,
            dense: candle_nn::linear(2 * 2 * 32, 10, vb.pp("dense"))?,
        })
    }
}

impl ModuleT for Model {
    fn forward_t(&self, images: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let x = max_pool(&self.bn1.forward_t(&self.conv1.forward(images)?, train)?.relu()?)?;
        let x = max_pool(&self.conv2.forward(&x)?.relu()?)?;
        // Flattened in TensorFlow's order, so that the kernel of the dense layer means the same there.
        self.dense.forward(&x.permute((0, 2, 3, 1))?.flatten_from(1)?)
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

/// The learning rate halves every four epochs. It follows from the step, so that there is nothing to save.
fn learning_rate(epoch: usize) -> f64 {
    4e-3 * 0.5f64.powi(epoch as i32 / 4)
}

/// A batch of an epoch: the images in an order of the epoch's own, each shifted by up to a pixel. All of it follows
/// from the numbers of epoch and batch, so that a resumed run sees what it would have seen.
fn batch_of(train: &Digits, epoch: usize, batch: usize) -> Result<(Tensor, Tensor)> {
    let mut random = StdRng::seed_from_u64(epoch as u64);
    let mut order: Vec<usize> = (0..train.len()).collect();
    order.shuffle(&mut random);
    let shifts: Vec<(i32, i32)> = order
        .iter()
        .map(|_| (random.random_range(-1..=1), random.random_range(-1..=1)))
        .collect();
    let rows = batch * BATCH..(batch + 1) * BATCH;
    gather(train, &order[rows.clone()], |i| shifts[rows.start + i])
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
