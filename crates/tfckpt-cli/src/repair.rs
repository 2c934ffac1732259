//! `tfckpt repair`: a directory of checkpoints after a crash, put right.

use std::path::PathBuf;

use serde::Serialize;
use tfckpt::{Broken, Fate, Kept, Repair, Repaired, Skipped, StateFile};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::text::{count, printable};

/// Put a directory of checkpoints right after a crash
///
/// Checks every byte, writes the file `checkpoint` anew so that it lists what is whole and lies in the directory, by
/// relative paths, and removes what dead writers left. Broken checkpoints are reported, and stay unless --delete-broken
/// is given. Nothing may save into the directory meanwhile.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt repair run --dry-run                say what would be done
  tfckpt repair run
  tfckpt repair run --delete-broken",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    /// The directory of checkpoints
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Change nothing, and say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Delete checkpoints that are damaged, and data files of a run that have no index
    #[arg(long)]
    delete_broken: bool,
    /// The name of the state file, as the training gave it
    #[arg(long, value_name = "NAME", default_value = "checkpoint")]
    latest_filename: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let repair = Repair::new(&args.directory)
        .latest_filename(&args.latest_filename)
        .dry_run(args.dry_run)
        .delete_broken(args.delete_broken);
    let report = repair.run()?;
    match args.json {
        true => output::print_json(&Document::of(&report))?,
        false => output::print(|out| {
            let text = report.to_string().replace("(`delete_broken`)", "(`--delete-broken`)");
            text.lines().try_for_each(|line| writeln!(out, "{}", printable(line)))
        })?,
    }
    let directory = args.directory.display();
    if report.state == StateFile::NothingToList {
        let text = format!("no checkpoint of `{directory}` is whole: restore one from a copy");
        return Err(Failure::new(Exit::Corrupt, text));
    }
    match report.still_broken().count() as u64 {
        0 => Ok(()),
        broken => {
            let text = format!("{} of `{directory}` broken", count(broken, "checkpoint"));
            Err(Failure::new(Exit::Corrupt, text))
        }
    }
}

/// The JSON document. Fields may be added; a change of meaning raises `schema_version`.
#[derive(Debug, Serialize)]
struct Document {
    schema_version: u32,
    directory: String,
    dry_run: bool,
    /// Whether all was well already.
    sound: bool,
    /// `right`, `written`, `nothing_to_list` or `absent`.
    state_file: &'static str,
    state_file_error: Option<String>,
    /// The checkpoints that the state file lists, the newest last.
    listed: Vec<String>,
    dropped: Vec<Dropped>,
    /// Whole ones that the history keeps for reasons of their own: pins, and the best.
    kept: Vec<KeptCheckpoint>,
    broken: Vec<BrokenCheckpoint>,
    leftovers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Dropped {
    path: String,
    error: String,
}

#[derive(Debug, Serialize)]
struct KeptCheckpoint {
    name: String,
    /// In words.
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BrokenCheckpoint {
    prefix: String,
    files: Vec<String>,
    bytes: u64,
    error: String,
    /// `left`, `new`, `linked`, `pinned`, `not_sure`, `deleted` or `failed`.
    fate: &'static str,
}

impl Document {
    fn of(report: &Repaired) -> Self {
        let (state_file, listed) = match &report.state {
            StateFile::Right { listed } => ("right", listed.as_slice()),
            StateFile::Written { listed } => ("written", listed.as_slice()),
            StateFile::NothingToList => ("nothing_to_list", [].as_slice()),
            _ => ("absent", [].as_slice()),
        };
        Document {
            schema_version: 1,
            directory: report.directory.display().to_string(),
            dry_run: report.dry_run,
            sound: report.is_sound(),
            state_file,
            state_file_error: report.state_error.as_ref().map(ToString::to_string),
            listed: listed.iter().map(|path| path.display().to_string()).collect(),
            dropped: report.dropped.iter().map(Dropped::of).collect(),
            kept: report.kept.iter().map(KeptCheckpoint::of).collect(),
            broken: report.broken.iter().map(BrokenCheckpoint::of).collect(),
            leftovers: report.leftovers.clone(),
        }
    }
}

impl Dropped {
    fn of(skipped: &Skipped) -> Self {
        Dropped {
            path: skipped.path.display().to_string(),
            error: match &skipped.error {
                tfckpt::Error::NoCheckpoint { reason, .. } => reason.clone(),
                error => error.to_string(),
            },
        }
    }
}

impl KeptCheckpoint {
    fn of(kept: &Kept) -> Self {
        KeptCheckpoint {
            name: kept.name.clone(),
            reasons: kept.in_words().collect(),
        }
    }
}

impl BrokenCheckpoint {
    fn of(broken: &Broken) -> Self {
        BrokenCheckpoint {
            prefix: broken.prefix.display().to_string(),
            files: broken.files.clone(),
            bytes: broken.bytes,
            error: match &broken.error {
                tfckpt::Error::NoCheckpoint { reason, .. } => reason.clone(),
                error => error.to_string(),
            },
            fate: match &broken.fate {
                Fate::Left => "left",
                Fate::New => "new",
                Fate::Linked => "linked",
                Fate::Pinned => "pinned",
                Fate::Deleted => "deleted",
                Fate::Failed(_) => "failed",
                _ => "not_sure",
            },
        }
    }
}
