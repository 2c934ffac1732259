//! A BERT that Google trained, or anyone with Google's code, in the `BertModel` of candle-transformers.
//!
//! ```text
//! cargo run --example import_bert                                       # a tiny one that is in the repository
//! cargo run --example import_bert -- uncased_L-12_H-768_A-12/bert_model.ckpt
//! ```
//!
//! The sizes of the network are read off the shapes in the checkpoint, before any variable is read. Only the number of
//! attention heads and the kind of GELU are not in the file: they come from a `bert_config.json` beside it, or from here.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use candle_core::{D, DType, Device, Tensor};
use candle_transformers::models::bert::{BertModel, Config, HiddenAct};
use clap::Parser;
use serde_json::Value;
use tfckpt::Checkpoint;
use tfckpt::map::NameMap;
use tfckpt_candle::Import;

#[derive(Debug, Parser)]
struct Args {
    /// The prefix of a checkpoint, or a directory.
    #[arg(default_value = "tests/fixtures/models/bert/bert_model.ckpt")]
    checkpoint: PathBuf,
    /// Attention heads. Default: as `bert_config.json` says, or one for each 64 of the width, as Google's have.
    #[arg(long)]
    heads: Option<usize>,
    /// The exact GELU, as in the first version of Google's code, in place of the approximation with tanh.
    #[arg(long)]
    erf: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let config = config(&checkpoint, &args)?;
    println!(
        "BERT: {} layers of width {} with {} heads, {} words, {} positions",
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.vocab_size,
        config.max_position_embeddings
    );

    let import = Import::new(checkpoint, NameMap::bert());
    let vb = import.var_builder(DType::F32, &Device::Cpu);
    let model = BertModel::load(vb.pp("bert"), &config)?;
    let report = import.report();
    println!(
        "{} variables loaded, {} missing",
        report.loaded.len(),
        report.missing.len()
    );
    println!("{}", report.leftovers());

    for table in ["word", "position", "token_type"] {
        let rows = vb.get_unchecked(&format!("bert.embeddings.{table}_embeddings.weight"))?;
        let norms = rows.sqr()?.sum(D::Minus1)?.sqrt()?.to_vec1::<f32>()?;
        let (least, most) = norms
            .iter()
            .fold((f32::MAX, 0f32), |(a, b), &norm| (a.min(norm), b.max(norm)));
        let mean = norms.iter().sum::<f32>() / norms.len() as f32;
        println!("norms of {table} embeddings: {least:.3} to {most:.3}, on average {mean:.3}");
    }

    // The first words of the vocabulary, whatever they are.
    let count = config.vocab_size.min(config.max_position_embeddings).min(8);
    let ids = Tensor::arange(0u32, count as u32, &Device::Cpu)?.unsqueeze(0)?;
    let output = model.forward(&ids, &ids.zeros_like()?, None)?;
    let norm = output.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?;
    ensure!(norm.is_finite(), "the output is not finite");
    println!(
        "output {:?} of the first {count} words has norm {norm:.3}",
        output.dims()
    );
    Ok(())
}

/// The configuration that the shapes of the variables tell, and what they do not tell.
fn config(checkpoint: &Checkpoint, args: &Args) -> Result<Config> {
    let dims = |name: &str, axis: usize| -> Result<usize> {
        let shape = checkpoint.variable(name)?.shape();
        shape
            .dims()
            .get(axis)
            .copied()
            .with_context(|| format!("`{name}` is {shape}"))
    };
    let layers = (0..)
        .take_while(|layer| checkpoint.contains(format!("bert/encoder/layer_{layer}/output/dense/kernel")))
        .count();
    let hidden_size = dims("bert/embeddings/word_embeddings", 1)?;
    let told = beside(&args.checkpoint)?;
    let told_heads = told["num_attention_heads"]
        .as_u64()
        .and_then(|heads| usize::try_from(heads).ok());
    Ok(Config {
        vocab_size: dims("bert/embeddings/word_embeddings", 0)?,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads: args.heads.or(told_heads).unwrap_or((hidden_size / 64).max(1)),
        intermediate_size: dims("bert/encoder/layer_0/intermediate/dense/kernel", 1)?,
        hidden_act: match args.erf {
            true => HiddenAct::Gelu,
            false => HiddenAct::GeluApproximate,
        },
        max_position_embeddings: dims("bert/embeddings/position_embeddings", 0)?,
        type_vocab_size: dims("bert/embeddings/token_type_embeddings", 0)?,
        ..Config::default()
    })
}

/// The `bert_config.json` that Google puts beside its checkpoints; null if there is none.
fn beside(checkpoint: &Path) -> Result<Value> {
    let folder = match checkpoint.is_dir() {
        true => checkpoint,
        false => checkpoint.parent().unwrap_or(Path::new(".")),
    };
    match std::fs::read(folder.join("bert_config.json")) {
        Ok(text) => serde_json::from_slice(&text).context("bert_config.json"),
        Err(_) => Ok(Value::Null),
    }
}
