//! The command `tfckpt`: lists, verifies, repairs and converts TensorFlow checkpoints, without TensorFlow.
//!
//! Results go to stdout, messages and progress to stderr. What scripts may rely on: the exit codes, the JSON
//! documents (by their `schema_version`), and that nothing is overwritten without `--force`.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod convert;
mod failure;
mod graph;
mod latest;
mod ls;
mod map;
mod model;
mod output;
mod repair;
mod retention;
mod text;
mod verify;
mod wait;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ColorChoice, Parser, Subcommand};

use crate::failure::{Exit, Failure};

/// List, verify, repair and convert TensorFlow checkpoints.
#[derive(Debug, Parser)]
#[command(
    name = "tfckpt",
    version,
    color = ColorChoice::Never,
    help_template = HELP,
    before_help = "Examples:
  tfckpt ls run/model.ckpt-100               the variables of a checkpoint
  tfckpt ls run --json | jq .global_step     a directory means its latest checkpoint
  tfckpt verify run/model.ckpt-100           check every byte against its checksum
  tfckpt latest run --valid                  the newest checkpoint that is whole
  tfckpt repair run --dry-run                what a crash left, and what can be done about it
  tfckpt retention run --max-to-keep 3       what would be kept, and why
  tfckpt convert run model.safetensors       from TensorFlow, and back by swapping the two
  tfckpt map draft model.safetensors run     which variable each parameter may be
  tfckpt convert run m.safetensors --map map.toml --model model.json
  tfckpt graph run/model.ckpt-100.meta       variables, signatures and operations of a graph

A checkpoint is named by its prefix, the part that its files PREFIX.index and
PREFIX.data-00000-of-00001 share; one of these files, its directory (for the latest
in it) or a SavedModel will do as well.",
    after_help = EXIT_CODES,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ls(ls::Args),
    Latest(latest::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Retention(retention::Args),
    Wait(wait::Args),
    Convert(convert::Args),
    Map(map::Args),
    Graph(graph::Args),
}

/// What a command is for, then examples, then the rest.
pub(crate) const HELP: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

pub(crate) const EXIT_CODES: &str = "Exit codes:
  0    done, and all is well
  1    differences: a mapping does not fit
  2    wrong usage, or the destination exists already
  3    no such checkpoint, file or directory
  4    a file is corrupt
  5    the operating system failed: permissions, disk full, …
  6    the file is sound, but holds what cannot be read or converted
  130  interrupted";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let result = match cli.command {
        Command::Ls(args) => ls::run(&args),
        Command::Latest(args) => latest::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Retention(args) => retention::run(&args),
        Command::Wait(args) => wait::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Map(args) => return ended(map::run(&args)),
        Command::Graph(args) => graph::run(&args),
    };
    ended(result.map(|()| Exit::Ok))
}

/// The exit code, after a failure was told.
fn ended(result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::message(&failure.to_string());
            failure.exit().into()
        }
    }
}

/// Prints what clap has to say: help and version to stdout, mistakes to stderr in the manner of all our messages.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return match output::print(|out| out.write_all(text.as_bytes())) {
            Ok(()) => Exit::Ok.into(),
            Err(failure) => failure.exit().into(),
        };
    }
    match error.kind() {
        // Called without arguments: the help is no complaint.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => output::plain(text.trim_end()),
        _ => output::message(text.strip_prefix("error: ").unwrap_or(&text).trim_end()),
    }
    Exit::Usage.into()
}
