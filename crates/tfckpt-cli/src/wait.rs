//! `tfckpt wait`: until a directory has a new checkpoint.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tfckpt::checkpoints_iterator;

use crate::failure::{Exit, Failure};
use crate::output;

/// Wait for a new checkpoint, and print its prefix
///
/// Answers at once if the latest checkpoint of the directory is another one than --after. It goes by the file
/// `checkpoint`, as tf.train.wait_for_new_checkpoint does, and takes no checkpoint that is not whole. The directory need
/// not exist yet.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt wait run
  tfckpt wait run --after model.ckpt-100 --timeout 600
  last=; while last=$(tfckpt wait run --after \"$last\" --timeout 3600); do ./evaluate \"$last\"; done",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    /// The directory of checkpoints
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The checkpoint that is known already: its prefix, or its name within the directory
    #[arg(long, value_name = "PREFIX")]
    after: Option<OsString>,
    /// How long to wait; exit with 3 then [default: without end]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// The name of the state file, as the training gave it
    #[arg(long, value_name = "NAME", default_value = "checkpoint")]
    latest_filename: String,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut checkpoints = checkpoints_iterator(&args.directory)
        .latest_filename(&args.latest_filename)
        .timeout(args.timeout);
    // A script has none in front of the first, and passes on an empty text.
    let after = args.after.as_deref().map(Path::new);
    if let Some(after) = after.filter(|after| !after.as_os_str().is_empty()) {
        let is_name = after.components().count() == 1;
        checkpoints = match is_name {
            true => checkpoints.after(args.directory.join(after)),
            false => checkpoints.after(after),
        };
    }
    match checkpoints.next() {
        Some(prefix) => output::print_path(&prefix?),
        None => {
            let mut text = format!("no new checkpoint in `{}`", args.directory.display());
            if let Some(problem) = checkpoints.problem() {
                text += &format!(": {problem}");
            }
            Err(Failure::new(Exit::NotFound, text))
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
