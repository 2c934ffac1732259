//! Frozen graphs: variables that became constants when the graph was frozen, found again.
//!
//! TensorFlow 1 replaces the variable `dense/kernel` by a constant of its name, which `dense/kernel/read` hands on.
//! TensorFlow 2 replaces what a function is called with by `dense/MatMul/ReadVariableOp/resource`, which
//! `dense/MatMul/ReadVariableOp` hands on.

use std::collections::{HashMap, HashSet};

use candle_core::Device;
use tfckpt::{AttrValue, DType, MetaGraph, Node, Shape};

use crate::attrs::Attrs;
use crate::compile::decode_constant;
use crate::dtype::is_float;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::value::{TfTensor, Value};
use crate::variables::Known;

/// The constants that were variables: those that are handed on as variables are read. In a graph in which nothing is, because
/// something has simplified it, all floats that are not scalars.
pub(crate) fn weights(graph: &MetaGraph) -> Vec<Known> {
    let constants: HashMap<&str, Node<'_>> = graph
        .nodes()
        .filter(|node| node.op() == "Const" && float(*node).is_some())
        .map(|node| (node.name(), node))
        .collect();
    let is_read = |node: &Node<'_>| node.op() == "Identity" && is_name_of_a_read(node.name());
    let read = graph.nodes().filter(is_read).filter_map(|node| {
        let input = node.inputs().first()?.split(':').next()?;
        constants.get(input).map(|constant| constant.name())
    });
    let read: HashSet<&str> = read.collect();
    let mut found = Vec::new();
    for node in graph.nodes() {
        if let Some((dtype, shape)) = constants.get(node.name()).and_then(|node| float(*node)) {
            let is_weight = match read.is_empty() {
                true => !shape.dims().is_empty(),
                false => read.contains(node.name()),
            };
            if is_weight {
                found.push(Known {
                    name: node.name().to_owned(),
                    key: None,
                    dtype: Some(dtype),
                    shape: Some(shape),
                    trainable: true,
                    initializer: String::new(),
                    part: None,
                    frozen: true,
                });
            }
        }
    }
    found
}

/// Dtype and shape of a constant of floats.
fn float(node: Node<'_>) -> Option<(DType, Shape)> {
    match node.attr("value") {
        Some(AttrValue::Tensor(tensor)) => {
            let dtype = tensor.dtype().filter(|dtype| is_float(*dtype))?;
            Some((dtype, tensor.shape()?))
        }
        _ => None,
    }
}

/// `dense/kernel/read`, `dense/kernel/Read/ReadVariableOp`, `dense/BatchNorm/ReadVariableOp_1`.
fn is_name_of_a_read(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    let numbered = last
        .strip_prefix("ReadVariableOp")
        .map(|rest| match rest.strip_prefix('_') {
            Some(number) => number.parse::<u32>().is_ok(),
            None => rest.is_empty(),
        });
    last == "read" || numbered == Some(true)
}

/// The values of these variables, which are constants of the graph.
pub(crate) fn values(graph: &MetaGraph, known: &[Known], device: &Device) -> Result<Vec<(usize, TfTensor)>> {
    let places: HashMap<&str, usize> = known
        .iter()
        .enumerate()
        .filter(|(_, known)| known.frozen)
        .map(|(place, known)| (known.name.as_str(), place))
        .collect();
    let mut found = Vec::with_capacity(places.len());
    if places.is_empty() {
        return Ok(found);
    }
    let (limits, mut bytes) = (Limits::default(), 0);
    for node in graph.nodes() {
        let Some(&place) = places.get(node.name()) else {
            continue;
        };
        let value = decode_constant(&Attrs::new(node), device, &limits, &mut bytes);
        match value.map_err(|error| error.at(node.name(), node.op()))? {
            Value::Tensor(tensor) => found.push((place, tensor)),
            other => return Err(Error::operand(format!("a weight is {}", other.name()))),
        }
    }
    Ok(found)
}
