//! The codec: files out of descriptions, descriptions out of files.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tfckpt::io::LocalDir;
use tfckpt::{
    BundleWriter, Checkpoint, DType, Error, MetaGraph, Saver, Shape, Slice, Variable, VariableKind, merge_checkpoints,
};

/// A variable on its way to or from Python. Names and bytes are hexadecimal, so that any of them can be told.
#[derive(Debug, Serialize, Deserialize)]
struct Spec {
    name_hex: String,
    dtype: String,
    shape: Vec<usize>,
    /// The elements, little-endian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_hex: Option<String>,
    /// The elements of a `string` variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strings_hex: Option<Vec<String>>,
    /// Of one slice of a partitioned variable, whose own shape then is the slice's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape_and_slice: Option<String>,
    /// Instead of the bytes, when describing a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl Spec {
    /// The variable, or the slice of one.
    fn variable(&self) -> Result<Variable<'static>> {
        let name = hex::decode(&self.name_hex)?;
        let shape = self.shape.clone();
        let variable = match (&self.bytes_hex, &self.strings_hex) {
            (Some(bytes), None) => {
                let dtype = DType::from_name(&self.dtype).with_context(|| format!("dtype {}", self.dtype))?;
                Variable::from_bytes(name, dtype, shape, hex::decode(bytes)?)
            }
            (None, Some(strings)) => {
                let strings: Vec<Vec<u8>> = strings.iter().map(hex::decode).collect::<Result<_, _>>()?;
                Variable::strings(name, shape, strings)
            }
            _ => bail!("a variable has either bytes or strings"),
        };
        Ok(match &self.shape_and_slice {
            Some(text) => {
                let (whole, slice) = Slice::parse_shape_and_slice(text)?;
                variable.slice_of(whole, slice)
            }
            None => variable,
        })
    }
}

/// Writes the variables of a JSON file, in their order, into data files of at most so many bytes.
pub(crate) fn write(spec: &str, prefix: &str, max_shard_bytes: u64) -> Result<()> {
    let specs: Vec<Spec> = serde_json::from_slice(&std::fs::read(spec)?)?;
    let prefix = Path::new(prefix);
    let storage = Arc::new(LocalDir::create(prefix.parent().context("a prefix with a directory")?)?);
    let name = prefix
        .file_name()
        .and_then(|name| name.to_str())
        .context("a prefix with a name")?;
    let mut writer = BundleWriter::create(storage, name)?.with_max_shard_bytes(max_shard_bytes);
    for spec in &specs {
        writer.add(spec.variable()?)?;
    }
    let written = writer.finish()?;
    println!(
        "{}",
        serde_json::json!({ "variables": written.variables, "data_bytes": written.data_bytes })
    );
    Ok(())
}

/// Describes every variable of a checkpoint.
pub(crate) fn dump(path: &str) -> Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    let mut specs = Vec::new();
    for info in checkpoint.variables() {
        let mut spec = Spec {
            name_hex: hex::encode(info.key()),
            dtype: info.dtype().name().to_owned(),
            shape: info.shape().dims().to_vec(),
            bytes_hex: None,
            strings_hex: None,
            shape_and_slice: None,
            sha256: None,
        };
        match info.dtype() {
            DType::String => {
                spec.strings_hex = Some(checkpoint.read_strings(info.key())?.iter().map(hex::encode).collect());
            }
            _ => spec.sha256 = Some(hex::encode(Sha256::digest(checkpoint.read_bytes(info.key())?))),
        }
        specs.push(spec);
    }
    println!("{}", serde_json::to_string(&specs)?);
    Ok(())
}

/// Saves the variables of a JSON file at step 42, with a graph of resource or reference variables. Names that start
/// with `slot` are not trainable.
pub(crate) fn graph(spec: &str, directory: &str, kind: &str) -> Result<()> {
    let specs: Vec<Spec> = serde_json::from_slice(&std::fs::read(spec)?)?;
    let variables = specs.iter().map(|spec| {
        let variable = spec.variable()?;
        Ok(match variable.key().starts_with(b"slot") {
            true => variable.non_trainable(),
            false => variable,
        })
    });
    let kind = match kind {
        "ref" => VariableKind::Ref,
        _ => VariableKind::Resource,
    };
    let mut saver = Saver::new(directory).max_to_keep(3).variable_kind(kind);
    let saved = saver.save(variables.collect::<Result<Vec<_>>>()?, 42)?;
    // What TensorFlow reads is what we read.
    let graph = MetaGraph::open(format!("{}.meta", saved.prefix.display()))?;
    let keys: Vec<_> = graph
        .variables()
        .iter()
        .map(|variable| variable.checkpoint_key.as_deref())
        .collect();
    println!("{}", serde_json::to_string(&keys)?);
    Ok(())
}

/// Which part of which variable.
#[derive(Debug, Deserialize)]
struct Part {
    name_hex: String,
    shape_and_slice: String,
}

/// Reads the parts of variables that a JSON file names.
pub(crate) fn parts(path: &str, parts: &str) -> Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    let parts: Vec<Part> = serde_json::from_slice(&std::fs::read(parts)?)?;
    let read = |part: &Part| -> Result<String> {
        let (whole, slice) = Slice::parse_shape_and_slice(&part.shape_and_slice)?;
        let name = hex::decode(&part.name_hex)?;
        let stored: &Shape = checkpoint.variable(&name)?.shape();
        anyhow::ensure!(*stored == whole, "{stored} is stored");
        Ok(hex::encode(Sha256::digest(checkpoint.read_slice_bytes(&name, &slice)?)))
    };
    let hashes = parts.iter().map(read).collect::<Result<Vec<String>>>()?;
    println!("{}", serde_json::to_string(&hashes)?);
    Ok(())
}

/// Merges checkpoints.
pub(crate) fn merge(destination: &str, parts: &[&str]) -> Result<()> {
    let merged = merge_checkpoints(parts, destination)?;
    println!("{}", serde_json::json!({ "num_shards": merged.num_shards }));
    Ok(())
}

/// What becomes of reading each of these variables: `OK`, or the kind of the error.
pub(crate) fn outcomes(path: &str, names: &[&str]) -> Result<()> {
    let kind = |error: Error| format!("{:?}", error.kind());
    let outcome = |checkpoint: &Checkpoint, name: &str| match checkpoint.read_bytes(name) {
        Ok(_) => "OK".to_owned(),
        Err(error) => kind(error),
    };
    let outcomes: Vec<String> = match Checkpoint::open(path) {
        Ok(checkpoint) => names.iter().map(|name| outcome(&checkpoint, name)).collect(),
        Err(error) => vec![kind(error); names.len()],
    };
    println!("{}", serde_json::to_string(&outcomes)?);
    Ok(())
}
