//! `tfckpt map`: mappings between the parameters of a model and the variables of a checkpoint, drafted and checked.

use std::path::{Path, PathBuf};

use tfckpt::Checkpoint;
use tfckpt::map::{Mapping, NameMap, Plan};

use crate::failure::{Exit, Failure};
use crate::model::{Model, Shapes, shapes};
use crate::output;

/// Draft and check mappings: which variable of a checkpoint each parameter of a model is
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt map draft model.safetensors run > map.json   a first mapping, by similar names and shapes
  tfckpt map draft model.safetensors run --toml        the same in TOML
  tfckpt map check map.json run model.safetensors     whether each parameter has a variable that fits

The model is a .safetensors file, or a JSON object of names and shapes: {\"fc.weight\": [10, 72]}.",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Propose a mapping, and say what in it is not certain
    Draft {
        /// Parameters of the model: .safetensors or JSON
        #[arg(value_name = "MODEL")]
        model: PathBuf,
        /// Checkpoint (prefix, directory, …)
        #[arg(value_name = "CKPT")]
        checkpoint: PathBuf,
        /// The mapping as TOML
        #[arg(long)]
        toml: bool,
    },
    /// Look whether a mapping fits a checkpoint and a model; exit code 1 if it does not
    Check {
        /// The mapping, JSON or TOML
        #[arg(value_name = "MAP")]
        map: PathBuf,
        /// Checkpoint (prefix, directory, …)
        #[arg(value_name = "CKPT")]
        checkpoint: PathBuf,
        /// Parameters of the model: .safetensors or JSON
        #[arg(value_name = "MODEL")]
        model: PathBuf,
        /// The report as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Draft {
            model,
            checkpoint,
            toml,
        } => draft(model, checkpoint, *toml).map(|()| Exit::Ok),
        Command::Check {
            map,
            checkpoint,
            model,
            json,
        } => check(map, checkpoint, model, *json),
    }
}

fn draft(model: &Path, checkpoint: &Path, toml: bool) -> Result<(), Failure> {
    let parameters = shapes(model)?;
    let checkpoint = Checkpoint::open(checkpoint)?;
    let variables: Shapes = checkpoint
        .variables()
        .map(|info| (checkpoint.display_name(info), info.shape().dims().to_vec()))
        .collect();
    let draft = Mapping::draft(&parameters, &variables);
    for guess in &draft.uncertain {
        let text = format!(
            "`{}` as `{}` is not certain: {}",
            guess.path, guess.variable, guess.reason
        );
        output::note(&crate::text::printable(&text));
    }
    for path in &draft.missing {
        output::note(&crate::text::printable(&format!("no variable for `{path}`")));
    }
    let text = match toml {
        true => draft.mapping.to_toml(),
        false => draft.mapping.to_json(),
    };
    output::print(|out| writeln!(out, "{}", text.trim_end()))
}

fn check(map: &Path, checkpoint: &Path, model: &Path, json: bool) -> Result<Exit, Failure> {
    let names = NameMap::from(Mapping::open(map)?);
    let model = Model::new(&names, shapes(model)?)?;
    let checkpoint = Checkpoint::open(checkpoint)?;
    // Only names and shapes are compared.
    let mut plan = Plan::partial(&checkpoint, &model.targets(&checkpoint)?);
    plan.mark_used(|name| names.ignores(name));
    let report = plan.into_report();
    match json {
        true => output::print(|out| writeln!(out, "{}", report.to_json()))?,
        false => output::print(|out| writeln!(out, "{}", lines(&format!("{report:#}"))))?,
    }
    Ok(if report.is_complete() { Exit::Ok } else { Exit::Differs })
}

/// What would steer a terminal is escaped, but for the ends of lines.
fn lines(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| crate::text::printable(line).to_string())
        .collect();
    lines.join("\n")
}
