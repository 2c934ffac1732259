//! `tfckpt verify`: every block of the index and every variable against its checksum.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tfckpt::{Checkpoint, EntryFault, Error, VariableInfo};

use crate::failure::{Exit, Failure};
use crate::ls::Name;
use crate::output;
use crate::text::{bytes, count, printable};

/// Check every byte of a checkpoint against its checksum
///
/// Names each bad variable and its byte range, one a line, on stdout; nothing is repaired or changed.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt verify run/model.ckpt-100
  tfckpt verify run && rsync -a run/ backup/
  tfckpt verify run --json | jq -r '.faults[].name'",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    /// Prefix, one of its files, directory (its latest checkpoint) or SavedModel
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let findings = check(&checkpoint);
    let prefix = checkpoint.prefix().display().to_string();
    let variables = (checkpoint.variables().len() + checkpoint.faults().len()) as u64;
    let total = checkpoint
        .variables()
        .map(VariableInfo::size)
        .fold(0, u64::saturating_add);

    if args.json {
        output::print_json(&Document {
            schema_version: 1,
            prefix: prefix.clone(),
            ok: findings.is_empty(),
            variables,
            bytes: total,
            faults: &findings,
        })?;
    } else if findings.is_empty() {
        let (variables, files) = (count(variables, "variable"), checkpoint.num_shards());
        let (total, files) = (bytes(total), count(files.into(), "data file"));
        output::print(|out| writeln!(out, "{prefix}: ok: {variables}, {total} in {files}"))?;
    } else {
        output::print(|out| findings.iter().try_for_each(|finding| finding.print(out)))?;
    }
    match worst(&findings) {
        Exit::Ok => Ok(()),
        exit => {
            let bad = findings.len();
            let what = match exit {
                Exit::Corrupt => {
                    "corrupt: restore it from a copy, or use an older checkpoint: `tfckpt repair` goes back to one"
                }
                _ => "not verified",
            };
            let text = format!("`{prefix}`: {bad} of {} {what}", count(variables, "variable"));
            Err(Failure::new(exit, text))
        }
    }
}

/// Something that is wrong with one variable.
#[derive(Debug, Serialize)]
struct Finding {
    #[serde(flatten)]
    name: Name,
    /// The data file, or the index if the entry itself is wrong.
    file: String,
    /// Where in the data file; `null` if the entry itself is wrong.
    offset: Option<u64>,
    bytes: Option<u64>,
    error: String,
    #[serde(skip)]
    exit: Exit,
}

/// The JSON document. Fields may be added; a change of meaning raises `schema_version`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema_version: u32,
    prefix: String,
    ok: bool,
    variables: u64,
    bytes: u64,
    faults: &'a [Finding],
}

/// Everything that is wrong: entries first, then variables in the order of the data files, which is the fast one.
fn check(checkpoint: &Checkpoint) -> Vec<Finding> {
    let index = checkpoint.index_path();
    let entries = checkpoint.faults();
    let mut findings: Vec<_> = entries.map(|(key, fault)| Finding::entry(&index, key, fault)).collect();

    let mut variables: Vec<_> = checkpoint.variables().collect();
    variables.sort_by_key(|info| (info.shard(), info.offset()));
    let bar = output::progress(variables.iter().map(|info| info.size()).fold(0, u64::saturating_add));
    for info in variables {
        if let Err(error) = checkpoint.verify(info) {
            findings.push(Finding::variable(checkpoint, info, error));
        }
        bar.inc(info.size());
    }
    bar.finish_and_clear();
    findings
}

/// Corruption outweighs what could not be read, and that what is not supported.
fn worst(findings: &[Finding]) -> Exit {
    let has = |exit: Exit| findings.iter().any(|finding| finding.exit == exit);
    match findings.first() {
        None => Exit::Ok,
        Some(_) if has(Exit::Corrupt) => Exit::Corrupt,
        Some(_) if has(Exit::Io) => Exit::Io,
        Some(first) => first.exit,
    }
}

impl Finding {
    fn entry(index: &Path, key: &[u8], fault: &EntryFault) -> Self {
        Finding {
            name: Name::new(key),
            file: index.display().to_string(),
            offset: None,
            bytes: None,
            error: format!("its entry is invalid: {fault}"),
            exit: Exit::Corrupt,
        }
    }

    /// The codec's own message names file, variable and range as well, but each kind in its way; here they stand in
    /// front of every line alike.
    fn variable(checkpoint: &Checkpoint, info: &VariableInfo, error: Error) -> Self {
        let exit = error.kind().into();
        let text = match error {
            Error::Checksum { stored, computed, .. } => {
                format!("crc32c {computed:#010x}, stored {stored:#010x}")
            }
            Error::ShardTruncated { file_len, .. } => format!("the file ends at byte {file_len}"),
            Error::ShardMissing { .. } => "the file is missing".to_owned(),
            Error::CorruptPayload { offset, reason, .. } => format!("{reason} at byte {offset}"),
            Error::Unsupported { what, .. } => what,
            other => Failure::from(other).to_string(),
        };
        // A partitioned variable lies in several places, which its own entry does not know.
        let whole = info.slices().len() == 0;
        let file = match whole {
            true => checkpoint.shard_path(info.shard()),
            false => checkpoint.index_path(),
        };
        Finding {
            name: Name::new(info.key()),
            file: file.display().to_string(),
            offset: whole.then(|| info.offset()),
            bytes: whole.then(|| info.size()),
            error: text,
            exit,
        }
    }

    fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let name = printable(self.name.text());
        let place = match (self.offset, self.bytes) {
            (Some(offset), Some(bytes)) => format!("bytes {offset}..{} of ", offset.saturating_add(bytes)),
            _ => String::new(),
        };
        writeln!(out, "{name}: {place}{}: {}", self.file, self.error)
    }
}
