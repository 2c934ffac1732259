//! The nodes among which names are looked up: those of the graph, or those of one function.

use std::collections::{HashMap, VecDeque};

use tfckpt::{AttrValue, Function, MetaGraph, Node};

use crate::error::{Error, Result};

/// What an input of a node refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// An output of a node.
    Output(usize, usize),
    /// An argument of the function.
    Arg(usize),
}

/// The inputs of a node.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) data: Vec<Source>,
    /// Nodes that must be done before.
    pub(crate) control: Vec<usize>,
}

/// Nodes, and what their inputs refer to.
#[derive(Debug)]
pub(crate) struct Scope<'g> {
    pub(crate) nodes: Vec<Node<'g>>,
    pub(crate) inputs: Vec<Inputs>,
    /// How many outputs of each node are used.
    outputs: Vec<usize>,
    index: HashMap<&'g str, usize>,
    args: HashMap<&'g str, usize>,
    in_function: bool,
}

impl<'g> Scope<'g> {
    /// The nodes of the graph itself.
    pub(crate) fn of_graph(graph: &'g MetaGraph) -> Result<Self> {
        Self::new(graph.nodes().collect(), HashMap::new(), false)
    }

    /// The nodes of a function.
    pub(crate) fn of_function(function: Function<'g>) -> Result<Self> {
        let args = function
            .inputs()
            .enumerate()
            .map(|(place, (name, _))| (name, place))
            .collect();
        Self::new(function.nodes().collect(), args, true)
    }

    fn new(nodes: Vec<Node<'g>>, args: HashMap<&'g str, usize>, in_function: bool) -> Result<Self> {
        let mut index = HashMap::with_capacity(nodes.len());
        for (place, node) in nodes.iter().enumerate() {
            if index.insert(node.name(), place).is_some() {
                return Err(Error::graph(format!("two nodes are called `{}`", node.name())));
            }
        }
        let mut scope = Scope {
            inputs: Vec::new(),
            outputs: vec![1; nodes.len()],
            nodes,
            index,
            args,
            in_function,
        };
        let mut all = Vec::with_capacity(scope.nodes.len());
        for node in &scope.nodes {
            let mut inputs = Inputs::default();
            for input in node.inputs() {
                let unknown = |_| {
                    Error::graph(format!(
                        "`{input}`, an input of node `{}`, is not in the graph",
                        node.name()
                    ))
                };
                match input.strip_prefix('^') {
                    // A control input from an argument waits for nothing.
                    Some(name) if scope.args.contains_key(name) => {}
                    Some(name) => inputs.control.push(scope.node(name).map_err(unknown)?),
                    None => inputs.data.push(scope.source(input).map_err(unknown)?),
                }
            }
            all.push(inputs);
        }
        scope.inputs = all;
        for inputs in &scope.inputs {
            for source in &inputs.data {
                if let Source::Output(node, output) = source
                    && let Some(count) = scope.outputs.get_mut(*node)
                {
                    *count = (*count).max(output + 1);
                }
            }
        }
        Ok(scope)
    }

    /// The node called `name`.
    pub(crate) fn node(&self, name: &str) -> Result<usize> {
        self.index
            .get(name)
            .copied()
            .ok_or_else(|| self.unknown("operation", name))
    }

    /// The tensor called `name`: `node`, `node:1`, and in functions `argument` or `node:output:1`.
    pub(crate) fn source(&self, name: &str) -> Result<Source> {
        let mut parts = name.split(':');
        let base = parts.next().unwrap_or_default();
        if let Some(&arg) = self.args.get(base) {
            return Ok(Source::Arg(arg));
        }
        let &node = self.index.get(base).ok_or_else(|| self.unknown("tensor", name))?;
        let number = |text: Option<&str>| match text {
            None => Ok(0),
            Some(text) => text.parse::<usize>().map_err(|_| self.unknown("tensor", name)),
        };
        let output = match (self.in_function, parts.next(), parts.next()) {
            (true, Some(output), index) if output.parse::<usize>().is_err() => {
                self.first_output(node, output).saturating_add(number(index)?)
            }
            (_, index, None) => number(index)?,
            _ => return Err(self.unknown("tensor", name)),
        };
        // Far more outputs than any operation has.
        match output < 1 << 16 {
            true => Ok(Source::Output(node, output)),
            false => Err(self.unknown("tensor", name)),
        }
    }

    /// Whether these are the nodes of a function.
    pub(crate) fn is_function(&self) -> bool {
        self.in_function
    }

    /// The number of the first output that belongs to an output argument.
    fn first_output(&self, node: usize, arg: &str) -> usize {
        let count = |key: &str| match self.nodes.get(node).and_then(|node| node.attr(key)) {
            Some(AttrValue::Int(count)) => usize::try_from(count).unwrap_or(0),
            Some(AttrValue::List(list)) => list.len(),
            _ => 0,
        };
        let (sparse, dense, ragged) = match self.op(node) {
            "ParseExample" => ("Nsparse", "Ndense", ""),
            "ParseSingleExample" => ("num_sparse", "Tdense", ""),
            "ParseExampleV2" => ("num_sparse", "Tdense", "ragged_value_types"),
            op => return first_output(op, arg),
        };
        let (sparse, dense, ragged) = (count(sparse), count(dense), count(ragged));
        match arg {
            "sparse_values" => sparse,
            "sparse_shapes" => 2 * sparse,
            "dense_values" => 3 * sparse,
            "ragged_values" => 3 * sparse + dense,
            "ragged_row_splits" => 3 * sparse + dense + ragged,
            _ => 0,
        }
    }

    pub(crate) fn op(&self, node: usize) -> &'g str {
        self.nodes.get(node).map_or("", |node| node.op())
    }

    pub(crate) fn name(&self, node: usize) -> &'g str {
        self.nodes.get(node).map_or("", |node| node.name())
    }

    pub(crate) fn data(&self, node: usize) -> &[Source] {
        self.inputs.get(node).map_or(&[], |inputs| &inputs.data)
    }

    pub(crate) fn control(&self, node: usize) -> &[usize] {
        self.inputs.get(node).map_or(&[], |inputs| &inputs.control)
    }

    /// How many outputs of a node are used.
    pub(crate) fn outputs(&self, node: usize) -> usize {
        self.outputs.get(node).copied().unwrap_or(1)
    }

    /// Notes that an output is used from outside.
    pub(crate) fn uses(&mut self, source: Source) {
        if let Source::Output(node, output) = source
            && let Some(count) = self.outputs.get_mut(node)
        {
            *count = (*count).max(output + 1);
        }
    }

    /// Which nodes come after one for which `is` holds, that one included.
    pub(crate) fn after(&self, is: impl FnMut(usize) -> bool) -> Vec<bool> {
        let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (node, inputs) in self.inputs.iter().enumerate() {
            let data = inputs.data.iter().filter_map(|source| match source {
                Source::Output(node, _) => Some(*node),
                Source::Arg(_) => None,
            });
            for from in data.chain(inputs.control.iter().copied()) {
                if let Some(list) = consumers.get_mut(from) {
                    list.push(node);
                }
            }
        }
        let mut found: Vec<bool> = (0..self.nodes.len()).map(is).collect();
        let first = found.iter().enumerate().filter(|(_, found)| **found);
        let mut queue: VecDeque<usize> = first.map(|(node, _)| node).collect();
        while let Some(node) = queue.pop_front() {
            for &next in consumers.get(node).into_iter().flatten() {
                if let Some(mark) = found.get_mut(next).filter(|mark| !**mark) {
                    *mark = true;
                    queue.push_back(next);
                }
            }
        }
        found
    }

    fn unknown(&self, what: &'static str, name: &str) -> Error {
        let base = name.split(':').next().unwrap_or_default();
        let close = |known: &&&'g str| strsim::normalized_damerau_levenshtein(known, base);
        let near = self.index.keys().filter(|known| known.len().abs_diff(base.len()) < 4);
        // A graph may have very many names.
        let best = near
            .take(20_000)
            .max_by(|a, b| close(a).total_cmp(&close(b)))
            .filter(|known| close(known) > 0.6);
        Error::Unknown {
            what,
            name: name.to_owned(),
            suggestion: best.map(|known| (*known).to_owned()),
        }
    }
}

/// The number of the first output that belongs to an operation's output argument. All operations that are not here have
/// one argument, or are not used in functions by a later one.
fn first_output(op: &str, arg: &str) -> usize {
    let args: &[&str] = match op {
        "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" => &[
            "y",
            "batch_mean",
            "batch_variance",
            "reserve_space_1",
            "reserve_space_2",
            "reserve_space_3",
        ],
        "FusedBatchNormGrad" | "FusedBatchNormGradV2" | "FusedBatchNormGradV3" => {
            &["x_backprop", "scale_backprop", "offset_backprop"]
        }
        "SparseSoftmaxCrossEntropyWithLogits" | "SoftmaxCrossEntropyWithLogits" => &["loss", "backprop"],
        "TopK" | "TopKV2" => &["values", "indices"],
        "Switch" => &["output_false", "output_true"],
        "Merge" => &["output", "value_index"],
        "Unique" => &["y", "idx"],
        "UniqueWithCounts" => &["y", "idx", "count"],
        "LSTMBlockCell" | "BlockLSTM" | "BlockLSTMV2" => &["i", "cs", "f", "o", "ci", "co", "h"],
        "GRUBlockCell" => &["r", "u", "c", "h"],
        "TensorArrayV3" => &["handle", "flow"],
        "TensorArrayGradV3" => &["grad_handle", "flow_out"],
        "LookupTableExport" | "LookupTableExportV2" => &["keys", "values"],
        "StringSplit" | "StringSplitV2" => &["indices", "values", "shape"],
        "SparseReshape" => &["output_indices", "output_shape"],
        "SparseFillEmptyRows" => &[
            "output_indices",
            "output_values",
            "empty_row_indicator",
            "reverse_index_map",
        ],
        "FakeQuantWithMinMaxVarsGradient" | "FakeQuantWithMinMaxVarsPerChannelGradient" => {
            &["backprops_wrt_input", "backprop_wrt_min", "backprop_wrt_max"]
        }
        "TensorArrayConcatV3" => &["value", "lengths"],
        "TensorListPopBack" => &["output_handle", "tensor"],
        "TensorListConcat" | "TensorListConcatV2" => &["tensor", "lengths"],
        "MaxPoolWithArgmax" => &["output", "argmax"],
        "BroadcastGradientArgs" => &["r0", "r1"],
        "StatelessRandomGetKeyCounter" => &["key", "counter"],
        _ => &[],
    };
    args.iter().position(|name| *name == arg).unwrap_or(0)
}
