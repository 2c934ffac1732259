//! What the variables of a SavedModel are called in its checkpoint.
//!
//! TensorFlow 2 restores them in a function, which is called with the variables:
//! `StatefulPartitionedCall(saver_filename, variable, ...)`, and in it `AssignVariableOp(argument, RestoreV2:n)`.

use std::collections::HashMap;

use tfckpt::{AttrValue, Function, MetaGraph, Node};

/// Keys by the name of the variable.
pub(crate) fn saved_model_keys(graph: &MetaGraph) -> HashMap<String, String> {
    let restoring: HashMap<&str, Function<'_>> = graph
        .function_library()
        .filter(|function| function.nodes().any(|node| node.op() == "RestoreV2"))
        .map(|function| (function.name(), function))
        .collect();
    let mut found = HashMap::new();
    if restoring.is_empty() {
        return found;
    }
    let variables: HashMap<&str, Node<'_>> = graph
        .nodes()
        .filter(|node| node.op() == "VarHandleOp")
        .map(|node| (node.name(), node))
        .collect();
    for node in graph.nodes() {
        let Some(AttrValue::Function(name)) = node.attr("f") else {
            continue;
        };
        let Some(function) = restoring.get(name) else {
            continue;
        };
        for (argument, key) in restored(*function) {
            let input = node.inputs().get(argument).map(String::as_str).unwrap_or_default();
            let input = input.split(':').next().unwrap_or_default();
            if variables.contains_key(input) {
                found.entry(input.to_owned()).or_insert(key);
            }
        }
    }
    found
}

/// Which arguments of the function are assigned, and from what.
fn restored(function: Function<'_>) -> Vec<(usize, String)> {
    let nodes: HashMap<&str, Node<'_>> = function.nodes().map(|node| (node.name(), node)).collect();
    let arguments: HashMap<&str, usize> = function
        .inputs()
        .enumerate()
        .map(|(place, (name, _))| (name, place))
        .collect();
    let assigned = |node: &Node<'_>| {
        let [variable, value, ..] = node.inputs() else {
            return None;
        };
        let argument = *arguments.get(variable.split(':').next()?)?;
        let mut value = value.as_str();
        // Through an Identity, as a rule.
        for _ in 0..4 {
            let from = nodes.get(value.split(':').next()?)?;
            if from.op() == "RestoreV2" {
                let output: usize = value
                    .rsplit_once(':')
                    .map_or(Ok(0), |(_, output)| output.parse())
                    .ok()?;
                let names = nodes.get(from.inputs().get(1)?.split(':').next()?)?;
                let Some(AttrValue::Tensor(names)) = names.attr("value") else {
                    return None;
                };
                let key = String::from_utf8_lossy(names.strings().get(output)?);
                return Some((argument, key.into_owned()));
            }
            value = from.inputs().first()?;
        }
        None
    };
    function
        .nodes()
        .filter(|node| node.op() == "AssignVariableOp")
        .filter_map(|node| assigned(&node))
        .collect()
}
