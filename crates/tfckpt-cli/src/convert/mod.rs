//! `tfckpt convert`: between safetensors and TensorFlow, and from any TensorFlow format to that of today; names and
//! bytes unchanged, or by a mapping.

mod dtypes;
mod mapped;
mod rewrite;
mod source;
mod target;
mod to_safetensors;
mod to_tensorflow;

use std::path::{Path, PathBuf};

pub(crate) use source::Source;
use target::Target;
use tfckpt::BundleWriter;

use crate::failure::{Exit, Failure};
use crate::output;
use crate::text::count;

/// Convert between TensorFlow and safetensors, or from one TensorFlow checkpoint to another
///
/// What ends in `.safetensors` is one, anything else is the prefix of a TensorFlow checkpoint. Names and bytes stay as
/// they are; what TensorFlow before 0.12 wrote, and variables in slices, become whole variables of the format of today.
/// One variable at a time is in memory. The destination appears whole, or not at all.
///
/// With `--map` the tensors of SRC are parameters, which become the variables that the mapping makes of them; dense weights
/// are [out, in], as PyTorch and Candle have them. Of a checkpoint, what no rule is for keeps its name. With `--model` as well it
/// goes the other way: the parameters of MODEL are made of the variables of SRC.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt convert run/model.ckpt-100 model.safetensors
  tfckpt convert run model.safetensors               the latest checkpoint in run
  tfckpt convert model.safetensors out/model.ckpt    writes out/model.ckpt.index and its data file
  tfckpt convert old/model.ckpt-7 out/model.ckpt     one whole checkpoint out of slices or old files
  tfckpt convert model.safetensors out/model.ckpt --map map.toml
  tfckpt convert run old.safetensors --map map.toml --model model.safetensors",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    /// Checkpoint (prefix, directory, …) or .safetensors file
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// .safetensors file, or prefix of the checkpoint to write
    #[arg(value_name = "DST")]
    destination: PathBuf,
    /// Replace the destination if it exists
    #[arg(long)]
    force: bool,
    /// Leave out variables that the other format cannot hold (strings, …) and name them, instead of refusing
    #[arg(long)]
    skip_unsupported: bool,
    /// The most bytes of one data file of a checkpoint; a variable is never divided
    #[arg(long, value_name = "N")]
    max_shard_bytes: Option<u64>,
    /// Names and layouts by this mapping, JSON or TOML
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Parameters of the model that is to be made of a checkpoint: .safetensors, or JSON of names and shapes
    #[arg(long, value_name = "MODEL", requires = "map")]
    model: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(map) = &args.map {
        return mapped::run(args, map);
    }
    match (is_safetensors(&args.source), is_safetensors(&args.destination)) {
        (false, true) => to_safetensors::run(args),
        (true, false) => to_tensorflow::run(args),
        (true, true) => Err(Failure::new(
            Exit::Usage,
            "both names end in `.safetensors`: one must be the prefix of a TensorFlow checkpoint, such as `out/model.ckpt`",
        )),
        (false, false) => rewrite::run(args),
    }
}

pub(crate) fn is_safetensors(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// A variable that the other format cannot hold, and why.
struct Unsupported {
    name: String,
    reason: String,
}

impl Args {
    /// Refuses variables that the other format cannot hold, all at once, or names those left out.
    fn settle(&self, format: &str, unsupported: &[Unsupported]) -> Result<(), Failure> {
        if unsupported.is_empty() {
            return Ok(());
        }
        let number = count(unsupported.len() as u64, "variable");
        let lines: String = unsupported
            .iter()
            .map(|variable| format!("\n  {}: {}", variable.name, variable.reason))
            .collect();
        let source = self.source.display();
        if self.skip_unsupported {
            let text = format!("{number} of `{source}` left out, {format} cannot hold them:{lines}");
            output::note(&Failure::new(Exit::Unsupported, text).to_string());
            return Ok(());
        }
        let text = format!(
            "`{source}` has {number} that {format} cannot hold; convert the others with `--skip-unsupported`:{lines}"
        );
        Err(Failure::new(Exit::Unsupported, text))
    }

    /// A writer of the destination.
    fn writer(&self, target: &Target) -> Result<BundleWriter, Failure> {
        let writer = BundleWriter::create(target.storage.clone(), &target.name)?;
        Ok(match self.max_shard_bytes {
            Some(bytes) => writer.with_max_shard_bytes(bytes),
            None => writer,
        })
    }

    /// Tells a person at a terminal what was done.
    fn done(&self, variables: usize, bytes: u64) {
        output::chat(&format!(
            "wrote `{}`: {}, {}",
            self.destination.display(),
            count(variables as u64, "variable"),
            crate::text::bytes(bytes)
        ));
    }
}
