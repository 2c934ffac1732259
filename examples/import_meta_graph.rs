//! A network without its code: the digits that TensorFlow trained are loaded from `.meta` and checkpoint alone, predicted,
//! trained on with the graph's own optimizer, and saved for TensorFlow.
//!
//! `cargo run --release --example import_meta_graph -- [--steps 120] [--save DIRECTORY]`

#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use clap::Parser;
use support::{Digits, data};
use tfckpt_session::{Session, import_meta_graph};

#[derive(Debug, Parser)]
struct Options {
    /// Steps to train on.
    #[arg(long, default_value_t = 120)]
    steps: usize,
    /// Where to save; nowhere by default.
    #[arg(long)]
    save: Option<PathBuf>,
}

const BATCH: usize = 50;

fn main() -> Result<()> {
    let options = Options::parse();
    let graph = import_meta_graph(data("tf-digits/saver/model.ckpt-240.meta"))?;
    let session = Session::new(&graph, &Device::Cpu)?;
    let restored = session.restore(data("tf-digits/saver/model.ckpt-240"))?;
    println!("{} variables restored", restored.loaded.len());

    let (train, test) = Digits::load()?;
    println!("{} of {} right", right(&session, &test)?, test.len());

    let training = session.training("loss:0")?;
    let optimizer = training.optimizer();
    let rate = optimizer
        .settings
        .get("learning_rate")
        .context("an optimizer has a learning rate")?;
    println!("training goes on with {}, learning rate {rate}", optimizer.kind);
    let first = session.variable("global_step")?.to_scalar::<i64>()?;
    for step in usize::try_from(first)?..usize::try_from(first)? + options.steps {
        let at = step * BATCH % train.len();
        let (images, labels) = tensors(&train, at..at + BATCH)?;
        let loss = training.step(&session, &[("image:0", &images), ("label:0", &labels)])?;
        if (step + 1) % 40 == 0 {
            println!("step {}: loss {:.6}", step + 1, loss.to_scalar::<f32>()?);
        }
    }
    println!("{} of {} right", right(&session, &test)?, test.len());

    if let Some(directory) = options.save {
        let step = session.variable("global_step")?.to_scalar::<i64>()?;
        let prefix = session.save(directory.join(format!("model.ckpt-{step}")))?;
        println!("saved {}", prefix.display());
    }
    Ok(())
}

fn tensors(digits: &Digits, rows: std::ops::Range<usize>) -> Result<(Tensor, Tensor)> {
    let (pixels, labels) = digits.slice(rows.clone());
    let images = Tensor::from_slice(pixels, (rows.len(), 8, 8, 1), &Device::Cpu)?;
    let labels: Vec<i64> = labels.iter().map(|&label| label.into()).collect();
    Ok((images, Tensor::from_vec(labels, rows.len(), &Device::Cpu)?))
}

/// How many digits the network knows.
fn right(session: &Session, digits: &Digits) -> Result<u64> {
    let (images, labels) = tensors(digits, 0..digits.len())?;
    let probabilities = session.run(&["probabilities:0"], &[("image:0", &images)])?;
    let chosen = probabilities[0].argmax(1)?.to_dtype(DType::I64)?;
    Ok(chosen
        .eq(&labels)?
        .to_dtype(DType::F64)?
        .sum_all()?
        .to_scalar::<f64>()? as u64)
}
