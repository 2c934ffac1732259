//! Object-based checkpoints: written for the Python objects that a description tells of, and read by human names.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;
use tfckpt::objects::ObjectLayout;
use tfckpt::optimizers::Convention;
use tfckpt::{Checkpoint, DType, Saver, Variable};

/// A layout, and the variables for it.
#[derive(Debug, Deserialize)]
struct Spec {
    layout: String,
    #[serde(default)]
    layers: Vec<String>,
    root: Option<String>,
    /// `v1`, `keras2_legacy`, `keras2` or `keras3`.
    optimizer: Option<String>,
    learning_rate: Option<f32>,
    #[serde(default)]
    hyperparameters: BTreeMap<String, f32>,
    iterations: Option<i64>,
    step: Option<String>,
    save_counter: Option<i64>,
    #[serde(default)]
    places: BTreeMap<String, String>,
    variables: Vec<VariableSpec>,
}

#[derive(Debug, Deserialize)]
struct VariableSpec {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes_hex: String,
}

impl Spec {
    fn read(path: &str) -> Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    fn layout(&self) -> Result<ObjectLayout> {
        let mut layout = match self.layout.as_str() {
            "module" => ObjectLayout::module("model"),
            "keras3_sequential" => ObjectLayout::keras3_sequential(&self.layers),
            "keras3_functional" => ObjectLayout::keras3_functional(&self.layers),
            "keras3_subclassed" => ObjectLayout::keras3_subclassed(),
            "keras2" => ObjectLayout::keras2(&self.layers),
            other => bail!("unknown layout `{other}`"),
        };
        layout = layout.save_counter(self.save_counter);
        if let Some(root) = &self.root {
            layout = layout.root(root);
        }
        if let Some(step) = &self.step {
            layout = layout.step(step);
        }
        if let Some(rate) = self.learning_rate {
            layout = layout.learning_rate(rate);
        }
        if let Some(count) = self.iterations {
            layout = layout.iterations(count);
        }
        for (name, value) in &self.hyperparameters {
            layout = layout.hyperparameter(name, *value);
        }
        for (name, path) in &self.places {
            layout = layout.place(name, path);
        }
        Ok(match self.optimizer.as_deref() {
            None => layout,
            Some("v1") => layout.optimizer(Convention::V1),
            Some("keras2_legacy") => layout.optimizer(Convention::Keras2Legacy),
            Some("keras2") => layout.optimizer(Convention::Keras2),
            Some("keras3") => layout.optimizer(Convention::Keras3),
            Some(other) => bail!("unknown optimizer `{other}`"),
        })
    }

    fn variables(&self) -> Result<Vec<Variable<'static>>> {
        let variable = |spec: &VariableSpec| {
            let dtype = DType::from_name(&spec.dtype).with_context(|| format!("dtype {}", spec.dtype))?;
            let bytes = hex::decode(&spec.bytes_hex)?;
            Ok(Variable::from_bytes(
                spec.name.as_str(),
                dtype,
                spec.shape.clone(),
                bytes,
            ))
        };
        self.variables.iter().map(variable).collect()
    }
}

/// Writes one checkpoint, as `tf.train.Checkpoint.write` does.
pub(crate) fn write(spec: &str, prefix: &str) -> Result<()> {
    let spec = Spec::read(spec)?;
    let written = spec.layout()?.write(prefix, spec.variables()?)?;
    println!("{}", json!({ "variables": written.variables }));
    Ok(())
}

/// Saves checkpoints with these numbers, as a `tf.train.CheckpointManager` does.
pub(crate) fn save(spec: &str, directory: &str, steps: &[&str]) -> Result<()> {
    let spec = Spec::read(spec)?;
    let mut saver = Saver::new(directory)
        .basename("ckpt")
        .max_to_keep(2)
        .objects(spec.layout()?);
    for step in steps {
        saver.save(spec.variables()?, step.parse()?)?;
    }
    println!("{}", serde_json::to_string(&tfckpt::latest_checkpoint(directory)?)?);
    Ok(())
}

/// What is found by each of these names: its key and its bytes, or why nothing is found.
pub(crate) fn find(path: &str, names: &str) -> Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    let names: Vec<String> = serde_json::from_slice(&std::fs::read(names)?)?;
    let mut found = BTreeMap::new();
    for name in names {
        let answer = match checkpoint.find(&name) {
            Ok(info) => json!({
                "key": info.name(),
                "dtype": info.dtype().name(),
                "shape": info.shape().dims(),
                "bytes_hex": hex::encode(checkpoint.read_bytes(&name)?),
            }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        found.insert(name, answer);
    }
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
