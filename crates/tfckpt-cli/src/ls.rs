//! `tfckpt ls`: the variables of a checkpoint, as a table or as JSON.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use tfckpt::objects::{ObjectGraph, ObjectVariable};
use tfckpt::{Checkpoint, Endianness, Format, VariableInfo};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::text::{bytes, count, hex, printable};

/// List the variables of a checkpoint: name, dtype, shape, bytes
///
/// For an object-based checkpoint (tf.train.Checkpoint, Keras, SavedModel) also what people call each variable. Reads
/// the index, and of the data files nothing but global_step and the object graph.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt ls run/model.ckpt-100
  tfckpt ls run | sort -k4 -n
  tfckpt ls run --json | jq -r '.variables[].name'",
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
    // The list is of use without data files, too: say why the step is missing, and go on.
    let global_step = checkpoint.global_step().unwrap_or_else(|error| {
        output::note(&format!("global_step cannot be read: {}", Failure::from(error)));
        None
    });
    let objects = checkpoint.objects().unwrap_or_else(|error| {
        output::note(&format!("only keys are listed: {}", Failure::from(error)));
        None
    });
    match args.json {
        true => output::print_json(&document(&checkpoint, objects, global_step))?,
        false => output::print(|out| table(out, &checkpoint, objects, global_step))?,
    }
    let faults = match checkpoint.faults().len() {
        0 => return Ok(()),
        1 => "1 entry".to_owned(),
        more => format!("{more} entries"),
    };
    let text = format!(
        "the index has {faults} that cannot be true, left out here: `tfckpt verify {}` names them",
        args.checkpoint.display()
    );
    Err(Failure::new(Exit::Corrupt, text))
}

fn table(
    out: &mut dyn Write,
    checkpoint: &Checkpoint,
    objects: Option<&ObjectGraph>,
    global_step: Option<i64>,
) -> io::Result<()> {
    let rows: Vec<[String; 5]> = checkpoint.variables().map(|info| row(info, objects)).collect();
    let header = ["name", "dtype", "shape", "bytes", "known as"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&header]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2), width(3)];
    for row in [&header].into_iter().chain(&rows) {
        let ([name, dtype, shape, bytes, known_as], [w0, w1, w2, w3]) = (row, widths);
        write!(out, "{name:w0$}  {dtype:w1$}  {shape:w2$}  {bytes:>w3$}")?;
        match objects {
            Some(_) => writeln!(out, "  {known_as}")?,
            None => writeln!(out)?,
        }
    }

    let elements = |info: &VariableInfo| info.dtype().size().and(info.shape().element_count()).unwrap_or(0);
    let parameters = checkpoint.variables().map(elements).fold(0, u64::saturating_add);
    let total = checkpoint
        .variables()
        .map(VariableInfo::size)
        .fold(0, u64::saturating_add);
    writeln!(
        out,
        "{}, {}, {}, {}",
        count(rows.len() as u64, "variable"),
        count(parameters, "parameter"),
        bytes(total),
        global_step.map_or("no global_step".to_owned(), |step| format!("global_step {step}"))
    )
}

fn row(info: &VariableInfo, objects: Option<&ObjectGraph>) -> [String; 5] {
    let known_as = object(info, objects).map_or("-".to_owned(), |object| object.name());
    [
        printable(&info.name()).into_owned(),
        info.dtype().to_string(),
        // Without spaces, so that columns are words for `sort` and `awk`.
        info.shape().to_string().replace(' ', ""),
        info.size().to_string(),
        printable(&known_as).into_owned(),
    ]
}

/// What the object graph says of a variable.
fn object<'g>(info: &VariableInfo, objects: Option<&'g ObjectGraph>) -> Option<ObjectVariable<'g>> {
    objects?.with_key(std::str::from_utf8(info.key()).ok()?)
}

/// The JSON document. Fields may be added; a change of meaning raises `schema_version`.
#[derive(Debug, Serialize)]
struct Document {
    schema_version: u32,
    prefix: String,
    format: &'static str,
    num_shards: u32,
    endianness: &'static str,
    global_step: Option<i64>,
    variables: Vec<Variable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct Variable {
    #[serde(flatten)]
    name: Name,
    /// What an object-based checkpoint calls it; `null` where there is no such name, and in all others.
    full_name: Option<String>,
    object_path: Option<String>,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: u64,
    /// `null`, like offset and crc32c, for a partitioned variable, which lies in several places. The V1 format has no
    /// checksums of variables.
    shard: Option<u32>,
    offset: Option<u64>,
    crc32c: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slices: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Fault {
    #[serde(flatten)]
    name: Name,
    error: String,
}

/// A name: as text, and as bytes too where they are not UTF-8.
#[derive(Debug, Serialize)]
pub(crate) struct Name {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
}

impl Name {
    pub(crate) fn new(key: &[u8]) -> Self {
        Name {
            name: String::from_utf8_lossy(key).into_owned(),
            name_hex: std::str::from_utf8(key).is_err().then(|| hex(key)),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.name
    }
}

fn document(checkpoint: &Checkpoint, objects: Option<&ObjectGraph>, global_step: Option<i64>) -> Document {
    let fault = |(key, fault): (&[u8], &tfckpt::EntryFault)| Fault {
        name: Name::new(key),
        error: fault.to_string(),
    };
    Document {
        schema_version: 1,
        prefix: checkpoint.prefix().display().to_string(),
        format: match checkpoint.format() {
            Format::V1 => "v1",
            Format::V2 => "v2",
        },
        num_shards: checkpoint.num_shards(),
        endianness: match checkpoint.endianness() {
            Endianness::Little => "little",
            Endianness::Big => "big",
        },
        global_step,
        variables: checkpoint.variables().map(|info| variable(info, objects)).collect(),
        faults: checkpoint.faults().map(fault).collect(),
    }
}

fn variable(info: &VariableInfo, objects: Option<&ObjectGraph>) -> Variable {
    let object = object(info, objects);
    let slices: Vec<String> = info.slices().map(ToString::to_string).collect();
    let whole = slices.is_empty();
    Variable {
        name: Name::new(info.key()),
        full_name: object.and_then(|object| object.full_name()).map(str::to_owned),
        object_path: object.and_then(|object| object.object_path()),
        dtype: info.dtype().name(),
        shape: info.shape().dims().to_vec(),
        bytes: info.size(),
        shard: whole.then(|| info.shard()),
        offset: whole.then(|| info.offset()),
        crc32c: info.crc32c().map(|crc| format!("{crc:#010x}")),
        slices: Some(slices).filter(|slices| !slices.is_empty()),
    }
}
