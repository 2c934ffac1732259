//! What the nodes of a graph tell of its training: the operation that trains, the optimizer's steps, where gradients come from.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tfckpt::{AttrValue, Collection, MetaGraph, Node};

use crate::error::{Error, Result};
use crate::ops::applies;
use crate::training::{Setting, Trained};

/// The node and the output of a tensor's name.
pub(crate) fn node_name(tensor: &str) -> &str {
    let name = tensor.strip_prefix('^').unwrap_or(tensor);
    name.split(':').next().unwrap_or_default()
}

/// The training operation that the graph names, or else the last one that steps of an optimizer lead to.
pub(crate) fn train_op(graph: &MetaGraph) -> Result<String> {
    let named = graph
        .collections()
        .find_map(|(name, collection)| match (name, collection) {
            ("train_op", Collection::Nodes(names)) => names.first().cloned(),
            _ => None,
        });
    if let Some(name) = named {
        return Ok(node_name(&name).to_owned());
    }
    let mut reached: HashSet<&str> = HashSet::new();
    let mut last = None;
    // Nodes come after those that they need, as TensorFlow writes them.
    for node in graph.nodes() {
        let is_step = applies(node.op()).is_some();
        if is_step || node.inputs().iter().any(|input| reached.contains(node_name(input))) {
            reached.insert(node.name());
            let is_group = matches!(node.op(), "NoOp" | "AssignAdd" | "AssignAddVariableOp") || is_step;
            if is_group && !node.name().starts_with("save") {
                last = Some(node.name());
            }
        }
    }
    last.map(str::to_owned).ok_or_else(|| Error::Training {
        reason: "the graph has no step of an optimizer: it was saved without one, for prediction".to_owned(),
    })
}

/// The optimizer's steps that an operation does.
pub(crate) fn steps_of<'g>(nodes: &HashMap<&str, Node<'g>>, train_op: &str) -> Result<Vec<Node<'g>>> {
    let first = nodes.get(train_op).ok_or_else(|| Error::Unknown {
        what: "operation",
        name: train_op.to_owned(),
        suggestion: None,
    })?;
    let mut seen: HashSet<&str> = HashSet::from([first.name()]);
    let mut stack = vec![*first];
    let mut steps = Vec::new();
    while let Some(node) = stack.pop() {
        if applies(node.op()).is_some() {
            // What a step needs is no step.
            steps.push(node);
            continue;
        }
        for input in node.inputs() {
            if let Some(next) = nodes.get(node_name(input))
                && seen.insert(next.name())
            {
                stack.push(*next);
            }
        }
    }
    steps.sort_by_key(|node| node.name());
    Ok(steps)
}

/// So many nodes are followed from a step to a gradient: clipping takes five.
const FOLLOWED: usize = 32;

/// The variable that a step changes.
pub(crate) fn variable_of(nodes: &HashMap<&str, Node<'_>>, operand: &str) -> String {
    let mut name = node_name(operand);
    for _ in 0..FOLLOWED {
        match nodes.get(name) {
            Some(node) if matches!(node.op(), "Identity" | "RefIdentity" | "Enter") => {
                name = node.inputs().first().map_or(name, |input| node_name(input));
            }
            _ => break,
        }
    }
    name.to_owned()
}

/// Whether a node lies in a scope of `tf.gradients`.
fn in_gradients(name: &str) -> bool {
    name.split('/').rev().skip(1).any(|part| {
        let number = part.strip_prefix("gradients_").map(str::parse::<u32>);
        part == "gradients" || number.is_some_and(|number| number.is_ok())
    })
}

/// Whether the gradient of rows is as `tf.gradients` has it, but for rows that were looked up twice, which are summed up.
pub(crate) fn is_summed_alone(nodes: &HashMap<&str, Node<'_>>, operand: &str) -> bool {
    let name = node_name(operand);
    let summed = nodes.get(name).filter(|node| node.op() == "UnsortedSegmentSum");
    let values = summed.and_then(|node| node.inputs().first());
    in_gradients(values.map_or(name, |values| node_name(values)))
}

/// What `tf.gradients` computes for the training operation besides what is fed.
pub(crate) fn own_gradients(nodes: &HashMap<&str, Node<'_>>, train_op: &str, trained: &[Trained]) -> Vec<String> {
    let fed = trained.iter().flat_map(Trained::fed);
    let fed: HashSet<&str> = fed.map(|name| without_zero(name)).collect();
    let mut seen: HashSet<&str> = HashSet::from([train_op]);
    let mut stack: Vec<&str> = vec![train_op];
    let mut own = BTreeSet::new();
    while let Some(node) = stack.pop().and_then(|name| nodes.get(name)) {
        for input in node.inputs() {
            let name = node_name(input);
            if fed.contains(without_zero(input)) {
                continue;
            }
            if in_gradients(name) {
                if !input.starts_with('^') {
                    own.insert(without_zero(input).to_owned());
                }
                continue;
            }
            if let Some(next) = nodes.get(name)
                && seen.insert(next.name())
            {
                stack.push(next.name());
            }
        }
    }
    own.into_iter().collect()
}

/// What the steps and all that is done before them need of what the loss is computed from: it is computed once for both.
pub(crate) fn shared_with_loss(
    nodes: &HashMap<&str, Node<'_>>,
    loss: &str,
    targets: &[&str],
    fed: &HashSet<&str>,
    changes_variables: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut forward: HashSet<&str> = HashSet::new();
    let mut stack: Vec<&str> = vec![node_name(loss)];
    while let Some(node) = stack.pop().and_then(|name| nodes.get(name)) {
        if forward.insert(node.name()) {
            let data = node.inputs().iter().filter(|input| !input.starts_with('^'));
            stack.extend(data.map(|input| node_name(input)));
        }
    }
    let mut shared = BTreeSet::new();
    let mut seen: HashSet<&str> = targets.iter().copied().collect();
    let mut stack: Vec<&str> = targets.to_vec();
    while let Some(node) = stack.pop().and_then(|name| nodes.get(name)) {
        for input in node.inputs() {
            let name = node_name(input);
            let Some(next) = nodes.get(name) else { continue };
            if fed.contains(without_zero(input)) || in_gradients(name) {
                continue;
            }
            let is_data = !input.starts_with('^');
            if is_data && forward.contains(name) && !is_light(next.op()) && !changes_variables(next.op()) {
                shared.insert(without_zero(input).to_owned());
                continue;
            }
            if seen.insert(next.name()) {
                stack.push(next.name());
            }
        }
    }
    shared.into_iter().collect()
}

/// Whether an operation costs nothing, or gives something else when it is done later.
fn is_light(op: &str) -> bool {
    matches!(
        op,
        "Const"
            | "Identity"
            | "Merge"
            | "NoOp"
            | "Placeholder"
            | "PlaceholderV2"
            | "PlaceholderWithDefault"
            | "ReadVariableOp"
            | "RefMerge"
            | "RefSwitch"
            | "Switch"
            | "VarHandleOp"
            | "Variable"
            | "VariableV2"
    )
}

/// The name of a tensor, in which the first output is not numbered.
pub(crate) fn without_zero(tensor: &str) -> &str {
    tensor.strip_suffix(":0").unwrap_or(tensor)
}

/// The gradient as the graph computes it, before it is clipped or scaled: the first tensor on the way back that lies in the
/// scope of `tf.gradients`.
pub(crate) fn raw_gradient(nodes: &HashMap<&str, Node<'_>>, operand: &str) -> Option<String> {
    let mut tensor = operand;
    for _ in 0..FOLLOWED {
        let name = node_name(tensor);
        if in_gradients(name) {
            return Some(tensor.to_owned());
        }
        let node = nodes.get(name)?;
        tensor = node.inputs().iter().find(|input| !input.starts_with('^'))?;
    }
    None
}

pub(crate) fn settings(
    nodes: &HashMap<&str, Node<'_>>,
    names: &[(&str, usize)],
    node: Node<'_>,
) -> BTreeMap<String, Setting> {
    let setting = |(name, place): &(&str, usize)| {
        let tensor = node.inputs().get(*place)?;
        let constant = nodes.get(node_name(tensor)).filter(|node| node.op() == "Const");
        let setting = match constant.and_then(|node| number(*node)) {
            Some(value) => Setting::Constant(value),
            None => Setting::Tensor(tensor.clone()),
        };
        Some(((*name).to_owned(), setting))
    };
    names.iter().filter_map(setting).collect()
}

/// The value of a constant that is one number.
fn number(node: Node<'_>) -> Option<f64> {
    let Some(AttrValue::Tensor(tensor)) = node.attr("value") else {
        return None;
    };
    let bytes = tensor.to_bytes(8)?;
    match tensor.dtype()? {
        tfckpt::DType::Float32 => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
        tfckpt::DType::Float64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
