//! `tfckpt map`: mappings between the parameters of a model and the variables of a checkpoint, drafted and checked.

use std::fs;
use std::path::{Path, PathBuf};

use tfckpt::Checkpoint;
use tfckpt::map::{DenseOrder, Layer, Mapping, NameMap, Plan, Target};

use crate::convert::Source;
use crate::failure::{Exit, Failure};
use crate::output;

/// Draft and check mappings: which variable of a checkpoint each parameter of a model is
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt map draft model.safetensors run > map.json   a first mapping, by similar names and shapes
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
    },
    /// Look whether a mapping fits a checkpoint and a model; exit code 1 if it does not
    Check {
        /// The mapping, JSON
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

/// Names and shapes.
type Shapes = Vec<(String, Vec<usize>)>;

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Draft { model, checkpoint } => draft(model, checkpoint).map(|()| Exit::Ok),
        Command::Check {
            map,
            checkpoint,
            model,
            json,
        } => check(map, checkpoint, model, *json),
    }
}

fn draft(model: &Path, checkpoint: &Path) -> Result<(), Failure> {
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
    output::print(|out| writeln!(out, "{}", draft.mapping.to_json()))
}

fn check(map: &Path, checkpoint: &Path, model: &Path, json: bool) -> Result<Exit, Failure> {
    let text = fs::read_to_string(map).map_err(|error| Failure::io("read", map, error))?;
    let names = NameMap::from(Mapping::from_json(&text)?);
    let parameters = shapes(model)?;
    let kinds: Vec<(&str, Layer)> = parameters
        .iter()
        .map(|(path, _)| (path.as_str(), Layer::Other))
        .collect();
    names.check(&kinds)?;
    let checkpoint = Checkpoint::open(checkpoint)?;
    let dtypes: Vec<tfckpt::DType> = tfckpt::DType::all().collect();
    let target = |(path, dims): &(String, Vec<usize>)| {
        let compound = names.compound(path, dims);
        let recipes = compound.and_then(|compound| Some(compound.member(path)?.recipes.clone()));
        let target = Target {
            path: path.clone(),
            names: names.names(path, Layer::Other),
            dtypes: Vec::new(),
            shape: dims.clone(),
            layout: names.layout(path, Layer::Other, DenseOrder::OutIn),
            recipes: recipes.unwrap_or_default(),
        };
        // Only names and shapes are compared.
        let own = |name: &String| checkpoint.variable(name).ok().map(|info| info.dtype());
        let sources = target
            .recipes
            .iter()
            .flat_map(|recipe| recipe.sources())
            .flat_map(|source| &source.names);
        let found = sources.chain(&target.names).find_map(own);
        Target {
            dtypes: found.into_iter().chain(dtypes.iter().copied()).collect(),
            ..target
        }
    };
    let targets: Vec<Target> = parameters.iter().map(target).collect();
    let mut plan = Plan::partial(&checkpoint, &targets);
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

/// The parameters of a model, sorted by name.
fn shapes(model: &Path) -> Result<Shapes, Failure> {
    if crate::convert::is_safetensors(model) {
        let source = Source::open(model)?;
        let tensors = source.tensors().into_iter();
        return Ok(tensors.map(|(name, info)| (name, info.shape.clone())).collect());
    }
    let text = fs::read_to_string(model).map_err(|error| Failure::io("read", model, error))?;
    let shapes: std::collections::BTreeMap<String, Vec<usize>> = serde_json::from_str(&text).map_err(|error| {
        let text = format!("`{}` is no JSON object of names and shapes", model.display());
        Failure::caused(Exit::Usage, text, error)
    })?;
    Ok(shapes.into_iter().collect())
}
