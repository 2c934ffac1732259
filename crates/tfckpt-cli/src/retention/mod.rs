//! `tfckpt retention`: which checkpoints of a directory rules would keep, and why.

mod document;
mod rule;

use std::io::{self, Write};
use std::path::PathBuf;

use tfckpt::{Check, CheckpointState, Record, Retention, Saver, ValidSearch, Verdict};

use self::document::Document;
use self::rule::{Best, best, hours, size};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::text::{bytes, count, printable, utc};

/// Say which checkpoints of a directory are kept by which rules
///
/// A dry run: nothing is changed, and what is dropped here goes with the next save of a saver that has these rules. Without
/// rules, the latest 5 are kept, as by TensorFlow. Metrics and pins come from the file `checkpoint.history.json`. What no
/// list and no history names was set aside by somebody, and stays.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt retention run
  tfckpt retention run --max-to-keep 3 --best val_loss:min:2 --every-steps 10000
  tfckpt retention run --every-hours 24 --max-bytes 200G --json | jq -r '.checkpoints[] | select(.kept | not).name'",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    /// The directory of checkpoints
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Keep so many of the latest; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_to_keep: usize,
    /// Keep so many of the best by a metric, small values being good unless max is said; may be repeated
    #[arg(long, value_name = "METRIC[:min|max]:N", value_parser = best)]
    best: Vec<Best>,
    /// Keep the first at or after each multiple of so many steps; may be repeated
    #[arg(long, value_name = "STEPS")]
    every_steps: Vec<u64>,
    /// Keep one of every so many hours; may be repeated
    #[arg(long, value_name = "HOURS", value_parser = hours)]
    every_hours: Vec<f64>,
    /// The most bytes of all checkpoints together; K, M, G and T are powers of 1024
    #[arg(long, value_name = "BYTES", value_parser = size)]
    max_bytes: Option<u64>,
    /// As if the checkpoint of this step were pinned; may be repeated
    #[arg(long, value_name = "STEP", allow_negative_numbers = true)]
    pin: Vec<i64>,
    /// Judge also what was set aside for ever, which only a budget of bytes removes
    #[arg(long)]
    all: bool,
    /// The run that is meant, model.ckpt of model.ckpt-100 [default: that of the latest checkpoint]
    #[arg(long, value_name = "NAME")]
    basename: Option<String>,
    /// The name of the state file, as the training gave it
    #[arg(long, value_name = "NAME", default_value = "checkpoint")]
    latest_filename: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let basename = match &args.basename {
        Some(basename) => basename.clone(),
        None => basename(args)?,
    };
    let mut saver = Saver::new(&args.directory)
        .basename(&basename)
        .latest_filename(&args.latest_filename);
    let mut records = saver.history()?.records().to_vec();
    if records.is_empty() {
        let directory = args.directory.display();
        let text = format!("no checkpoint `{}-STEP` in `{directory}`", printable(&basename));
        return Err(Failure::new(Exit::NotFound, text));
    }
    records.iter_mut().for_each(|record| record.preserved &= !args.all);
    for step in &args.pin {
        let record = records.iter_mut().find(|record| record.global_step == *step);
        let none = || Failure::new(Exit::NotFound, format!("no checkpoint of step {step} to be pinned"));
        record.ok_or_else(none)?.pinned = true;
    }
    let verdicts = rules(args).decide(&records);
    let judged: Vec<(Record, Verdict)> = records.into_iter().zip(verdicts).collect();
    match args.json {
        true => output::print_json(&Document::of(args, basename, &judged)),
        false => output::print(|out| table(out, &judged)),
    }
}

fn rules(args: &Args) -> Retention {
    let mut rules = Retention::default().latest(args.max_to_keep);
    for Best { metric, goal, count } in &args.best {
        rules = rules.best(metric, *goal, *count);
    }
    rules = args
        .every_steps
        .iter()
        .fold(rules, |rules, &steps| rules.every_steps(steps));
    rules = args
        .every_hours
        .iter()
        .fold(rules, |rules, &hours| rules.every_hours(hours));
    match args.max_bytes {
        Some(bytes) => rules.max_bytes(bytes),
        None => rules,
    }
}

/// The base name of the latest checkpoint; without a state file, of the newest that is whole.
fn basename(args: &Args) -> Result<String, Failure> {
    let directory = args.directory.display();
    let not_found = |text: String| Failure::new(Exit::NotFound, text);
    if !args.directory.is_dir() {
        return Err(not_found(format!("there is no directory `{directory}`")));
    }
    let latest = match CheckpointState::of(&args.directory, &args.latest_filename)? {
        Some(state) => Some(state.model_checkpoint_path),
        None => {
            let search = ValidSearch::new(&args.directory).latest_filename(&args.latest_filename);
            let found = search.check(Check::Lengths).latest_valid()?;
            found.map(|found| found.checkpoint.prefix())
        }
    };
    let Some(latest) = latest else {
        return Err(not_found(format!(
            "no checkpoint in `{directory}`: nothing was ever saved there"
        )));
    };
    let name = latest.file_name().unwrap_or_default().to_string_lossy();
    match without_step(&name) {
        Some(basename) => Ok(basename.to_owned()),
        None => Err(Failure::new(
            Exit::Usage,
            format!("the latest checkpoint `{name}` has no step in its name: say which run is meant with `--basename`"),
        )),
    }
}

/// `model.ckpt` of `model.ckpt-100`.
fn without_step(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".replaced").unwrap_or(name);
    let rest = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let basename = rest.strip_suffix('-').filter(|_| rest.len() < name.len())?;
    // A step may be negative.
    Some(basename.strip_suffix('-').unwrap_or(basename))
}

fn table(out: &mut dyn Write, judged: &[(Record, Verdict)]) -> io::Result<()> {
    let header = ["name", "step", "saved", "bytes", "metrics", "verdict"].map(str::to_owned);
    let rows: Vec<[String; 6]> = judged.iter().map(|(record, verdict)| row(record, verdict)).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&header]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let [w0, w1, w2, w3, w4] = [0, 1, 2, 3, 4].map(width);
    for [name, step, saved, bytes, metrics, verdict] in [&header].into_iter().chain(&rows) {
        writeln!(
            out,
            "{name:w0$}  {step:>w1$}  {saved:w2$}  {bytes:>w3$}  {metrics:w4$}  {verdict}"
        )?;
    }
    let sum = |kept: bool| {
        let of = judged.iter().filter(|(_, verdict)| verdict.keeps() == kept);
        let (number, total) = of.fold((0, 0u64), |(number, total), (record, _)| {
            (number + 1, total.saturating_add(record.bytes))
        });
        format!("{}, {}", count(number, "checkpoint"), bytes(total))
    };
    writeln!(out, "kept: {}; dropped: {}", sum(true), sum(false))
}

fn row(record: &Record, verdict: &Verdict) -> [String; 6] {
    let metrics = record.metrics.iter().map(|(metric, value)| format!("{metric}={value}"));
    let metrics: Vec<String> = metrics.collect();
    let metrics = if metrics.is_empty() {
        "-".to_owned()
    } else {
        metrics.join(",")
    };
    [
        printable(&record.name).into_owned(),
        record.global_step.to_string(),
        utc(record.time),
        record.bytes.to_string(),
        printable(&metrics).into_owned(),
        printable(&verdict.to_string()).into_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_names_are_told_from_steps() {
        assert_eq!(without_step("model.ckpt-100"), Some("model.ckpt"));
        assert_eq!(without_step("model.ckpt-100.replaced"), Some("model.ckpt"));
        assert_eq!(without_step("m--3"), Some("m"));
        assert_eq!(without_step("a-1-2"), Some("a-1"));
        for name in ["model.ckpt", "model.ckpt-", "", "7"] {
            assert_eq!(without_step(name), None, "{name}");
        }
    }
}
