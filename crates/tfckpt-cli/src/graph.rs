//! `tfckpt graph`: what is in a graph, as text, as JSON or for Graphviz.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use tfckpt::{DType, Function, MetaGraph, Shape, TensorInfo};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::text::printable;

/// Show a graph: variables, signatures, operations, and which of them `tfckpt-session` runs
///
/// Reads a .meta file, a SavedModel, or a frozen graph (.pb). Weights are not needed.
#[derive(Debug, clap::Args)]
#[command(
    help_template = crate::HELP,
    before_help = "Examples:
  tfckpt graph run/model.ckpt-100.meta
  tfckpt graph export/ --json | jq -r '.ops[] | select(.supported | not) | .op'
  tfckpt graph frozen.pb --dot | dot -Tsvg > graph.svg",
    after_help = crate::EXIT_CODES
)]
pub(crate) struct Args {
    /// A .meta file, a SavedModel's directory or saved_model.pb, or a frozen GraphDef
    #[arg(value_name = "FILE")]
    graph: PathBuf,
    /// Print one JSON document
    #[arg(long, conflicts_with = "dot")]
    json: bool,
    /// Print the nodes and edges in the language of Graphviz
    #[arg(long)]
    dot: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if !args.graph.exists() {
        let text = format!(
            "`{}` is not there: name a .meta file, a SavedModel or a frozen graph",
            args.graph.display()
        );
        return Err(Failure::new(Exit::NotFound, text));
    }
    let graph = MetaGraph::open(&args.graph)?;
    if args.dot {
        return output::print(|out| dot(out, &graph));
    }
    let document = document(&graph);
    match args.json {
        true => output::print_json(&document),
        false => output::print(|out| text(out, &document)),
    }
}

#[derive(Serialize)]
struct Document {
    schema_version: u32,
    tensorflow_version: Option<String>,
    tags: Vec<String>,
    nodes: usize,
    functions: usize,
    variables: Vec<Variable>,
    signatures: Vec<Signature>,
    ops: Vec<Op>,
}

#[derive(Serialize)]
struct Variable {
    name: String,
    dtype: Option<&'static str>,
    shape: Option<Vec<usize>>,
    trainable: bool,
    checkpoint_key: Option<String>,
}

#[derive(Serialize)]
struct Signature {
    name: String,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    tensor: String,
    dtype: Option<&'static str>,
    /// `null` for a dimension that is open, and for a rank that is.
    shape: Option<Vec<Option<u64>>>,
}

#[derive(Serialize)]
struct Op {
    op: String,
    nodes: usize,
    supported: bool,
}

/// The operations that `tfckpt-session` runs; a test of that crate keeps the list.
const SUPPORTED: &str = include_str!("graph_ops.txt");

fn document(graph: &MetaGraph) -> Document {
    let supported: BTreeSet<&str> = SUPPORTED.lines().collect();
    let functions: BTreeSet<&str> = graph.function_library().map(Function::name).collect();
    let tensors = |tensors: BTreeMap<String, TensorInfo>| {
        let tensor = |(name, info): (String, TensorInfo)| Tensor {
            name,
            tensor: info.name,
            dtype: info.dtype.map(DType::name),
            shape: info.shape,
        };
        tensors.into_iter().map(tensor).collect()
    };
    Document {
        schema_version: 1,
        tensorflow_version: graph.tensorflow_version().map(str::to_owned),
        tags: graph.tags().to_vec(),
        nodes: graph.nodes().len(),
        functions: functions.len(),
        variables: graph
            .variables()
            .iter()
            .map(|variable| Variable {
                name: variable.name.clone(),
                dtype: variable.dtype.map(DType::name),
                shape: variable.shape.as_ref().map(|shape| shape.dims().to_vec()),
                trainable: variable.trainable,
                checkpoint_key: variable.checkpoint_key.as_deref().map(str::to_owned),
            })
            .collect(),
        signatures: graph
            .signatures()
            .map(|(name, signature)| Signature {
                name: name.to_owned(),
                inputs: tensors(signature.inputs),
                outputs: tensors(signature.outputs),
            })
            .collect(),
        ops: graph
            .ops()
            .into_iter()
            .map(|(op, nodes)| Op {
                supported: supported.contains(op) || functions.contains(op),
                op: op.to_owned(),
                nodes,
            })
            .collect(),
    }
}

fn text(out: &mut dyn Write, document: &Document) -> io::Result<()> {
    let version = document.tensorflow_version.as_deref().unwrap_or("unknown");
    writeln!(
        out,
        "{} nodes, {} functions, TensorFlow {}",
        document.nodes,
        document.functions,
        printable(version)
    )?;
    if !document.variables.is_empty() {
        writeln!(out, "\nvariables")?;
    }
    for variable in &document.variables {
        let shape = match &variable.shape {
            Some(dims) => Shape::from(dims.as_slice()).to_string(),
            None => "?".to_owned(),
        };
        let trainable = if variable.trainable { "  trainable" } else { "" };
        let dtype = variable.dtype.unwrap_or("?");
        writeln!(out, "  {}  {dtype}  {shape}{trainable}", printable(&variable.name))?;
    }
    for signature in &document.signatures {
        writeln!(out, "\nsignature {}", printable(&signature.name))?;
        for (way, tensors) in [("in ", &signature.inputs), ("out", &signature.outputs)] {
            for tensor in tensors {
                let dtype = tensor.dtype.unwrap_or("?");
                let (name, source) = (printable(&tensor.name), printable(&tensor.tensor));
                writeln!(
                    out,
                    "  {way} {name}  {dtype}  {}  {source}",
                    open_shape(tensor.shape.as_deref())
                )?;
            }
        }
    }
    writeln!(out, "\noperations")?;
    for op in &document.ops {
        let missing = if op.supported { "" } else { "  not supported" };
        writeln!(out, "  {:>6}  {}{missing}", op.nodes, printable(&op.op))?;
    }
    Ok(())
}

fn open_shape(shape: Option<&[Option<u64>]>) -> String {
    let Some(dims) = shape else { return "?".to_owned() };
    let dim = |dim: &Option<u64>| dim.map_or("?".to_owned(), |dim| dim.to_string());
    format!("[{}]", dims.iter().map(dim).collect::<Vec<String>>().join(", "))
}

/// Nodes with their operations; edges by tensors, and dashed ones by order alone.
fn dot(out: &mut dyn Write, graph: &MetaGraph) -> io::Result<()> {
    let quoted = |text: &str| format!("{:?}", printable(text));
    writeln!(out, "digraph {{")?;
    for node in graph.nodes() {
        let label = format!("{}\n{}", printable(node.op()), printable(node.name()));
        writeln!(out, "  {} [label={label:?}]", quoted(node.name()))?;
        for input in node.inputs() {
            let (name, style) = match input.strip_prefix('^') {
                Some(name) => (name, " [style=dashed]"),
                None => (input.split(':').next().unwrap_or_default(), ""),
            };
            writeln!(out, "  {} -> {}{style}", quoted(name), quoted(node.name()))?;
        }
    }
    writeln!(out, "}}")
}
