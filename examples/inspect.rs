//! Lists any TensorFlow checkpoint, and prints one variable of it.
//!
//! ```text
//! cargo run --example inspect -- data/tf-digits/saver
//! cargo run --example inspect -- data/tf-digits/saver dense/bias
//! ```

use anyhow::Result;
use clap::Parser;
use tfckpt::{Checkpoint, DType};

/// Lists a TensorFlow checkpoint, or prints one of its variables.
#[derive(Debug, Parser)]
struct Args {
    /// A prefix, one of its files, a directory with a `checkpoint` file, or a SavedModel.
    checkpoint: std::path::PathBuf,
    /// The variable to print.
    variable: Option<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    match args.variable {
        Some(name) => print(&checkpoint, &name),
        None => list(&checkpoint),
    }
}

fn list(checkpoint: &Checkpoint) -> Result<()> {
    println!("{}", checkpoint.prefix().display());
    for variable in checkpoint.variables() {
        println!(
            "  {:<40} {:<10} {}",
            variable.name(),
            variable.dtype(),
            variable.shape()
        );
    }
    if let Some(step) = checkpoint.global_step()? {
        println!("global_step {step}");
    }
    Ok(())
}

fn print(checkpoint: &Checkpoint, name: &str) -> Result<()> {
    let variable = checkpoint.variable(name)?;
    println!("{name} {} {}", variable.dtype(), variable.shape());
    match variable.dtype() {
        DType::Float32 => println!("{:?}", checkpoint.read::<f32>(name)?),
        DType::Int64 => println!("{:?}", checkpoint.read::<i64>(name)?),
        DType::String => {
            for element in checkpoint.read_strings(name)?.iter() {
                println!("{}", element.escape_ascii());
            }
        }
        _ => println!("{:?}", checkpoint.read_bytes(name)?),
    }
    Ok(())
}
