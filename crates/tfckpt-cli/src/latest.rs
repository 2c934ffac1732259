//! `tfckpt latest`: the prefix of a directory's newest checkpoint.

use std::path::PathBuf;

use tfckpt::{Check, Checkpoint, CheckpointState, Error, Skipped, ValidSearch};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::text::printable;

/// Print the prefix of the latest checkpoint of a directory
///
/// Answers as tf.train.latest_checkpoint does: what the file `checkpoint` of the directory names, if it is there. With
/// --valid, the newest of which every byte is right, also if that file is out of date, damaged or gone, or names the
/// original of a copied directory; what was passed over is told on stderr.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt latest run
  tfckpt latest run --valid                  falls back to the newest that is whole
  tfckpt verify \"$(tfckpt latest run)\"",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    /// The directory that holds the file `checkpoint`
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Check every byte, and fall back to the newest checkpoint that is whole
    #[arg(long)]
    valid: bool,
    /// With --valid, check the index and the lengths of the data files alone
    #[arg(long, requires = "valid")]
    quick: bool,
    /// The name of the state file, as the training gave it
    #[arg(long, value_name = "NAME", default_value = "checkpoint")]
    latest_filename: String,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let latest = match args.valid {
        true => valid(args)?,
        false => state(args)?.and_then(|state| state.latest_checkpoint()),
    };
    match latest {
        Some(prefix) => output::print_path(&prefix),
        None => Err(Failure::new(Exit::NotFound, why_none(args)?)),
    }
}

/// The newest that is whole.
fn valid(args: &Args) -> Result<Option<PathBuf>, Failure> {
    let check = if args.quick { Check::Lengths } else { Check::Bytes };
    let search = ValidSearch::new(&args.directory).latest_filename(&args.latest_filename);
    match search.check(check).latest_valid() {
        Ok(valid) => Ok(valid.map(|valid| {
            tell(&valid.skipped);
            valid.checkpoint.prefix()
        })),
        Err(error) => {
            let Error::NoValidCheckpoint { skipped, .. } = &error else {
                return Err(error.into());
            };
            tell(skipped);
            let text = format!(
                "no checkpoint of `{}` is whole: restore one from a copy, or start again in another directory",
                args.directory.display()
            );
            Err(Failure::new(error.kind().into(), text))
        }
    }
}

fn state(args: &Args) -> Result<Option<CheckpointState>, Failure> {
    Ok(CheckpointState::of(&args.directory, &args.latest_filename)?)
}

/// Tells what was passed over, all of it.
fn tell(skipped: &[Skipped]) {
    for skipped in skipped {
        output::note(&printable(&format!("skipped {skipped}")));
    }
}

fn why_none(args: &Args) -> Result<String, Failure> {
    let directory = args.directory.display();
    if !args.directory.is_dir() {
        return Ok(format!("there is no directory `{directory}`"));
    }
    if args.valid {
        return Ok(format!("no checkpoint in `{directory}`: nothing was ever saved there"));
    }
    let file = printable(&args.latest_filename);
    let Some(state) = state(args)? else {
        return Ok(format!(
            "no checkpoint in `{directory}`: it has no file `{file}`, which names the latest one"
        ));
    };
    let latest = state.model_checkpoint_path;
    let named = latest.display();
    let mut why = format!("no checkpoint in `{directory}`: its file `{file}` names `{named}`, which is gone");
    // The usual reason: the state file holds absolute paths, and the directory was moved.
    let moved = latest.file_name().map(|name| args.directory.join(name));
    if let Some(Ok(moved)) = moved.map(Checkpoint::open) {
        why += &format!("; did you mean `{}`?", moved.prefix().display());
    }
    Ok(why)
}
