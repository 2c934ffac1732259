//! `tfckpt latest`: the prefix of a directory's newest checkpoint.

use std::path::PathBuf;

use tfckpt::{Checkpoint, checkpoint_state, latest_checkpoint};

use crate::failure::{Exit, Failure};
use crate::output;

/// Print the prefix of the latest checkpoint of a directory
///
/// Answers as tf.train.latest_checkpoint does: what the file `checkpoint` of the directory names, if it is there.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt latest run
  tfckpt verify \"$(tfckpt latest run)\"",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    /// The directory that holds the file `checkpoint`
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match latest_checkpoint(&args.directory)? {
        Some(prefix) => output::print(|out| {
            // The path as it is, whether or not it is text: scripts pass it on.
            out.write_all(prefix.as_os_str().as_encoded_bytes())?;
            out.write_all(b"\n")
        }),
        None => Err(Failure::new(Exit::NotFound, why_none(args)?)),
    }
}

fn why_none(args: &Args) -> Result<String, Failure> {
    let directory = args.directory.display();
    if !args.directory.is_dir() {
        return Ok(format!("there is no directory `{directory}`"));
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
