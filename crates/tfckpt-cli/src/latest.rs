//! `tfckpt latest`: the prefix of a directory's newest checkpoint.

use std::path::PathBuf;

use tfckpt::{Check, Checkpoint, Error, Skipped, ValidSearch, checkpoint_state, latest_checkpoint};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::text::printable;

/// Print the prefix of the latest checkpoint of a directory
///
/// Answers as tf.train.latest_checkpoint does: what the file `checkpoint` of the directory names, if it is there. With
/// --valid, the newest of which every byte is right, also if that file is out of date, damaged or gone; what was passed
/// over is told on stderr.
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
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let latest = match args.valid {
        true => valid(args)?,
        false => latest_checkpoint(&args.directory)?,
    };
    match latest {
        Some(prefix) => output::print_path(&prefix),
        None => Err(Failure::new(Exit::NotFound, why_none(args)?)),
    }
}

/// The newest that is whole.
fn valid(args: &Args) -> Result<Option<PathBuf>, Failure> {
    let check = if args.quick { Check::Lengths } else { Check::Bytes };
    match ValidSearch::new(&args.directory).check(check).latest_valid() {
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
    let Some(state) = checkpoint_state(&args.directory)? else {
        return Ok(format!(
            "no checkpoint in `{directory}`: it has no file `checkpoint`, which names the latest one"
        ));
    };
    let named = state.model_checkpoint_path.display();
    let mut why = format!("no checkpoint in `{directory}`: its file `checkpoint` names `{named}`, which is gone");
    // The usual reason: the state file holds absolute paths, and the directory was moved.
    if let Ok(moved) = Checkpoint::open(&args.directory) {
        why += &format!("; did you mean `{}`?", moved.prefix().display());
    }
    Ok(why)
}
