//! The variables of a graph, and what they are called in the checkpoint.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use prost::Message;

use super::attr::{AttrValue, closed};
use crate::dtype::DType;
use crate::proto::meta_graph::{Attr, Collection, MetaGraphDef, NodeDef, SaveSliceInfoDef, VariableDef};
use crate::shape::Shape;
use crate::slice::Slice;

/// A variable of a graph.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GraphVariable {
    /// The name of its node: `dense/kernel`.
    pub name: String,
    /// What it is called in the checkpoint, as far as the graph's saver tells; a `Saver` can rename.
    pub checkpoint_key: Option<Arc<str>>,
    /// The dtype, if the node has one that is known.
    pub dtype: Option<DType>,
    /// The shape, if it is closed.
    pub shape: Option<Shape>,
    /// Whether an optimizer trains it.
    pub trainable: bool,
    /// Whether it is a resource variable; otherwise it is one of TensorFlow 1's reference variables.
    pub is_resource: bool,
    /// The operation that gives it its first value; empty if unknown.
    pub initializer: String,
    /// The tensor that reads it; empty if unknown.
    pub snapshot: String,
    /// Of a partitioned variable: the name and shape of the whole, and which part this is.
    pub part: Option<(String, Shape, Slice)>,
}

/// Collections that hold variables.
const COLLECTIONS: [&str; 6] = [
    "variables",
    "trainable_variables",
    "model_variables",
    "moving_average_variables",
    "local_variables",
    "global_step",
];

/// All variables: those of the collections first, then those that only nodes tell of.
pub(super) fn variables(graph: &MetaGraphDef) -> Vec<GraphVariable> {
    let nodes = graph.graph.as_ref().map_or(&[][..], |graph| &graph.node);
    let nodes: HashMap<&str, &NodeDef> = nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let keys = checkpoint_keys(graph, &nodes);
    let trainable: HashSet<String> = defs(graph, "trainable_variables")
        .map(|def| op_name(&def.variable_name))
        .collect();
    let mut known = HashSet::new();
    let mut found = Vec::new();
    for def in COLLECTIONS.iter().flat_map(|name| defs(graph, name)) {
        let name = op_name(&def.variable_name);
        if !known.insert(name.clone()) {
            continue;
        }
        let node = nodes.get(name.as_str()).copied();
        let part = def.save_slice_info.as_ref().and_then(part);
        found.push(GraphVariable {
            // Graphs from before TensorFlow 1.9 have no flag, only the collection.
            trainable: def.trainable || trainable.contains(&name),
            checkpoint_key: keys
                .get(&name)
                .cloned()
                .or(part.as_ref().map(|(whole, ..)| whole.as_str().into())),
            dtype: node.and_then(node_dtype),
            shape: node.and_then(node_shape),
            is_resource: def.is_resource,
            initializer: def.initializer_name,
            snapshot: def.snapshot_name,
            part,
            name,
        });
    }
    let all = graph.graph.as_ref().map_or(&[][..], |graph| &graph.node);
    for node in all
        .iter()
        .filter(|node| is_variable(node) && !known.contains(&node.name))
    {
        found.push(GraphVariable {
            name: node.name.clone(),
            checkpoint_key: keys.get(&node.name).cloned(),
            dtype: node_dtype(node),
            shape: node_shape(node),
            trainable: false,
            is_resource: node.op == "VarHandleOp",
            initializer: String::new(),
            snapshot: String::new(),
            part: None,
        });
    }
    found
}

fn defs<'g>(graph: &'g MetaGraphDef, collection: &str) -> impl Iterator<Item = VariableDef> + use<'g> {
    let bytes = match graph.collections.get(collection).and_then(|found| found.kind.as_ref()) {
        Some(Collection::Bytes(list)) => list.value.as_slice(),
        _ => &[],
    };
    let defs = bytes
        .iter()
        .filter_map(|bytes| VariableDef::decode(bytes.as_slice()).ok());
    defs.filter(|def| !def.variable_name.is_empty())
}

/// The node of a tensor or control input: `a:1` and `^a` are `a`.
fn op_name(tensor: &str) -> String {
    let name = tensor.strip_prefix('^').unwrap_or(tensor);
    name.rsplit_once(':').map_or(name, |(name, _)| name).to_owned()
}

fn is_variable(node: &NodeDef) -> bool {
    matches!(node.op.as_str(), "VarHandleOp" | "VariableV2" | "Variable")
}

fn attr<'g>(node: &'g NodeDef, key: &str) -> Option<&'g Attr> {
    let entry = node.attr.iter().rev().find(|entry| entry.key == key)?;
    entry.value.as_ref()?.value.as_ref()
}

fn node_dtype(node: &NodeDef) -> Option<DType> {
    match attr(node, "dtype")? {
        Attr::Type(number) => AttrValue::dtype_of(*number),
        _ => None,
    }
}

fn node_shape(node: &NodeDef) -> Option<Shape> {
    match attr(node, "shape")? {
        Attr::Shape(shape) => closed(Some(shape)),
        _ => None,
    }
}

fn part(info: &SaveSliceInfoDef) -> Option<(String, Shape, Slice)> {
    let whole = Shape::from_file(&info.full_shape)?;
    let extents = info.var_offset.iter().zip(&info.var_shape);
    let slice = Slice::from_file(extents.map(|(&start, &length)| (start, Some(length))))?;
    slice.shape_in(&whole)?;
    Some((info.full_name.clone(), whole, slice))
}

/// What the graph's saver calls each variable: the inputs of `SaveV2`, or what is assigned from `RestoreV2`. Where the
/// saver has nothing to say, other savers of the graph are asked.
fn checkpoint_keys(graph: &MetaGraphDef, nodes: &HashMap<&str, &NodeDef>) -> HashMap<String, Arc<str>> {
    // `save/Const:0` is in the scope of its saver, `save/`.
    let filename = graph.saver.as_ref().map_or("", |saver| &saver.filename_tensor_name);
    let scope = filename.rsplit_once('/').map_or("", |(scope, _)| scope);
    let in_scope = |node: &&NodeDef| node.name.strip_prefix(scope).is_some_and(|rest| rest.starts_with('/'));
    let mut keys = Keys::default();
    let all = graph.graph.as_ref().map_or(&[][..], |graph| &graph.node);
    let (own, others): (Vec<&NodeDef>, Vec<&NodeDef>) = all.iter().partition(in_scope);
    for node in own.into_iter().chain(others) {
        match node.op.as_str() {
            "Assign" | "AssignVariableOp" => {
                let [variable, value, ..] = node.input.as_slice() else {
                    continue;
                };
                let Some((restore, output)) = restored(value, nodes) else {
                    continue;
                };
                let key = names(restore, nodes).and_then(|names| names.get(output));
                keys.add(variable_behind(variable, nodes), key.map(Vec::as_slice));
            }
            "SaveV2" => {
                let saved = node.input.iter().skip(3);
                for (key, input) in names(node, nodes).unwrap_or_default().iter().zip(saved) {
                    keys.add(variable_behind(input, nodes), Some(key));
                }
            }
            _ => {}
        }
    }
    keys.of_variables
}

/// The keys of variables. One that many variables share is in memory once.
#[derive(Default)]
struct Keys {
    of_variables: HashMap<String, Arc<str>>,
    /// By the place of its bytes in the graph: a hostile graph has long ones, which take long to compare.
    texts: HashMap<*const u8, Arc<str>>,
}

impl Keys {
    /// The first key that a variable gets is kept.
    fn add(&mut self, variable: Option<String>, key: Option<&[u8]>) {
        let Some((variable, key)) = variable.zip(key) else {
            return;
        };
        let text = self.texts.entry(key.as_ptr());
        let text = text.or_insert_with(|| String::from_utf8_lossy(key).into());
        self.of_variables.entry(variable).or_insert_with(|| text.clone());
    }
}

/// Steps that are followed from a value to where it comes from. In real graphs there are at most three.
const STEPS: usize = 8;

/// The names that a node which saves or restores is given as its second input.
fn names<'g>(node: &NodeDef, nodes: &HashMap<&str, &'g NodeDef>) -> Option<&'g [Vec<u8>]> {
    let list = nodes.get(op_name(node.input.get(1)?).as_str())?;
    match attr(list, "value")? {
        Attr::Tensor(tensor) => Some(&tensor.string_val),
        _ => None,
    }
}

/// The variable that a value was read from.
fn variable_behind(input: &str, nodes: &HashMap<&str, &NodeDef>) -> Option<String> {
    let mut name = op_name(input);
    for _ in 0..STEPS {
        let node = nodes.get(name.as_str())?;
        if is_variable(node) {
            return Some(name);
        }
        match node.op.as_str() {
            "Identity" | "ReadVariableOp" => name = op_name(node.input.first()?),
            _ => return None,
        }
    }
    None
}

/// The node that restored a value, and which of its outputs that is.
fn restored<'g>(input: &str, nodes: &HashMap<&str, &'g NodeDef>) -> Option<(&'g NodeDef, usize)> {
    let mut tensor = input.to_owned();
    for _ in 0..STEPS {
        let node = *nodes.get(op_name(&tensor).as_str())?;
        match node.op.as_str() {
            "RestoreV2" => {
                let output = tensor.rsplit_once(':').map_or("0", |(_, output)| output);
                return Some((node, output.parse().ok()?));
            }
            "Identity" | "Reshape" => node.input.first()?.clone_into(&mut tensor),
            _ => return None,
        }
    }
    None
}
