//! Objects on their way into a checkpoint.

use std::collections::VecDeque;

use prost::Message;

use super::{OBJECT_GRAPH_KEY, VARIABLE_VALUE, escape};
use crate::error::{Error, Result};
use crate::proto::{
    BoolValue, ObjectReference, SerializedTensor, SlotVariableReference, TrackableObject, TrackableObjectGraph,
};
use crate::shape::Shape;
use crate::tensor::Variable;

/// The objects of a checkpoint to be written, with their variables. [`finish`](Self::finish) gives the variables their
/// keys and adds the graph.
///
/// TensorFlow restores by names of attributes: the variable at `model/conv1/kernel` goes to `ckpt.model.conv1.kernel`
/// of `ckpt = tf.train.Checkpoint(model=...)`.
///
/// ```
/// # fn main() -> tfckpt::Result<()> {
/// use tfckpt::Variable;
/// use tfckpt::objects::ObjectTree;
///
/// let kernel = [0.5f32; 4];
/// let mut tree = ObjectTree::new();
/// let model = tree.object("model");
/// let dense = tree.child(model, "dense");
/// tree.alias(model, "head", dense);
/// tree.variable("model/dense/kernel", Variable::new("dense/kernel", [2, 2], &kernel))?;
/// let variables = tree.finish()?;
/// assert_eq!(variables[0].name(), "model/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE");
/// assert_eq!(variables[1].name(), "_CHECKPOINTABLE_OBJECT_GRAPH");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ObjectTree<'a> {
    nodes: Vec<Node<'a>>,
}

/// An object of an [`ObjectTree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectId(usize);

#[derive(Debug, Default)]
struct Node<'a> {
    children: Vec<(String, usize)>,
    value: Option<Variable<'a>>,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    variable: usize,
    slot: usize,
}

impl Default for ObjectTree<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> ObjectTree<'a> {
    /// A root without children.
    pub fn new() -> Self {
        ObjectTree {
            nodes: vec![Node::default()],
        }
    }

    /// The root: the `tf.train.Checkpoint` itself.
    pub fn root(&self) -> ObjectId {
        ObjectId(0)
    }

    /// The object at a path of names with `/` between them; it and those on the way are made if they are not there.
    /// The empty path is the root.
    pub fn object(&mut self, path: &str) -> ObjectId {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(self.root(), |at, name| self.child(at, name))
    }

    /// The child of an object, made if it is not there. The name may be any, also with `/` in it.
    pub fn child(&mut self, parent: ObjectId, name: &str) -> ObjectId {
        self.get(parent, name).unwrap_or_else(|| {
            let id = ObjectId(self.nodes.len());
            self.nodes.push(Node::default());
            self.alias(parent, name, id);
            id
        })
    }

    /// The child of an object, if it is there.
    pub fn get(&self, parent: ObjectId, name: &str) -> Option<ObjectId> {
        let mut children = self.nodes.get(parent.0)?.children.iter();
        children.find(|(local, _)| local == name).map(|(_, id)| ObjectId(*id))
    }

    /// One more name for an object, as a child of `parent`. Cycles are fine.
    pub fn alias(&mut self, parent: ObjectId, name: &str, object: ObjectId) {
        if let Some(parent) = self.nodes.get_mut(parent.0) {
            parent.children.push((name.to_owned(), object.0));
        }
    }

    /// Puts a variable at a path. Its name becomes its full name in the graph.
    ///
    /// # Errors
    /// [`Error::DuplicateName`] if there is one already.
    pub fn variable(&mut self, path: &str, variable: Variable<'a>) -> Result<ObjectId> {
        let object = self.object(path);
        self.set(object, variable)?;
        Ok(object)
    }

    /// Makes an object a variable.
    ///
    /// # Errors
    /// [`Error::DuplicateName`] if it is one already.
    pub fn set(&mut self, object: ObjectId, variable: Variable<'a>) -> Result<()> {
        match self.nodes.get_mut(object.0) {
            Some(node) if node.value.is_none() => {
                node.value = Some(variable);
                Ok(())
            }
            _ => Err(Error::DuplicateName {
                name: variable.name().into_owned(),
            }),
        }
    }

    /// State that an optimizer of TensorFlow 1 or early Keras keeps for a variable, `m` of Adam. No object holds it:
    /// it is found through the optimizer and the variable.
    ///
    /// # Errors
    /// [`Error::DuplicateName`] if the optimizer has this slot for the variable already.
    pub fn slot(
        &mut self,
        optimizer: ObjectId,
        variable: ObjectId,
        name: &str,
        state: Variable<'a>,
    ) -> Result<ObjectId> {
        let slot = self.nodes.len();
        let known = self.nodes.get_mut(optimizer.0).map(|node| &mut node.slots);
        let fresh = known.filter(|slots| {
            !slots
                .iter()
                .any(|slot| slot.variable == variable.0 && slot.name == name)
        });
        let slots = fresh.ok_or_else(|| Error::DuplicateName {
            name: state.name().into_owned(),
        })?;
        slots.push(Slot {
            name: name.to_owned(),
            variable: variable.0,
            slot,
        });
        self.nodes.push(Node {
            value: Some(state),
            ..Node::default()
        });
        Ok(ObjectId(slot))
    }

    /// The variables under the keys that TensorFlow would give them, in the order of the graph, and the graph as the
    /// last one. The same tree gives the same bytes.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a full name that is not UTF-8, and for a slot of what is no variable.
    pub fn finish(mut self) -> Result<Vec<Variable<'a>>> {
        let (order, mut paths) = self.breadth_first();
        let slots = self.slot_paths(&order, &mut paths)?;
        let all: Vec<usize> = order.iter().copied().chain(slots).collect();
        let mut ids = vec![0i32; self.nodes.len()];
        for (id, &at) in (0i32..).zip(&all) {
            if let Some(slot) = ids.get_mut(at) {
                *slot = id;
            }
        }
        let id = |at: usize| ids.get(at).copied().unwrap_or_default();
        let mut graph = TrackableObjectGraph::default();
        let mut variables = Vec::new();
        for at in all {
            let Some(node) = self.nodes.get_mut(at).map(std::mem::take) else {
                continue;
            };
            let mut object = TrackableObject::default();
            object
                .children
                .extend(node.children.into_iter().map(|(local_name, child)| ObjectReference {
                    node_id: id(child),
                    local_name,
                }));
            if let Some(variable) = node.value {
                let path = paths.get(at).cloned().flatten().unwrap_or_default();
                let (variable, attribute) = attribute(variable, &path)?;
                object.attributes.push(attribute);
                variables.push(variable);
            }
            let slots = node.slots.into_iter().map(|slot| SlotVariableReference {
                original_variable_node_id: id(slot.variable),
                slot_name: slot.name,
                slot_variable_node_id: id(slot.slot),
            });
            object.slot_variables.extend(slots);
            // Said outright, because a reader takes objects that are made later for deferred ones only then.
            let has_values = object != TrackableObject::default();
            object.has_checkpoint_values = Some(BoolValue { value: has_values });
            graph.nodes.push(object);
        }
        variables.push(Variable::strings(
            OBJECT_GRAPH_KEY,
            Shape::scalar(),
            [graph.encode_to_vec()],
        ));
        Ok(variables)
    }

    /// The nodes that are reached from the root, and the escaped path to each.
    fn breadth_first(&self) -> (Vec<usize>, Vec<Option<String>>) {
        let mut paths: Vec<Option<String>> = vec![None; self.nodes.len()];
        let mut order = Vec::new();
        let mut queue = VecDeque::from([(0, String::new())]);
        while let Some((at, path)) = queue.pop_front() {
            let Some(slot) = paths.get_mut(at).filter(|slot| slot.is_none()) else {
                continue;
            };
            *slot = Some(path.clone());
            order.push(at);
            for (name, child) in self.nodes.get(at).map_or([].as_slice(), |node| &node.children) {
                let slash = if path.is_empty() { "" } else { "/" };
                queue.push_back((*child, format!("{path}{slash}{}", escape(name))));
            }
        }
        (order, paths)
    }

    /// The slot variables, as TensorFlow orders them, and their paths.
    fn slot_paths(&mut self, order: &[usize], paths: &mut [Option<String>]) -> Result<Vec<usize>> {
        let mut rank = vec![0; self.nodes.len()];
        for (place, &at) in order.iter().enumerate() {
            if let Some(slot) = rank.get_mut(at) {
                *slot = place;
            }
        }
        let mut found = Vec::new();
        for &optimizer in order {
            let Some(node) = self.nodes.get_mut(optimizer) else {
                continue;
            };
            let place = |at: usize| rank.get(at).copied().unwrap_or_default();
            node.slots
                .sort_by(|a, b| a.name.cmp(&b.name).then(place(a.variable).cmp(&place(b.variable))));
            for slot in self.nodes.get(optimizer).map_or([].as_slice(), |node| &node.slots) {
                let path = |at: usize| paths.get(at).cloned().flatten();
                let (Some(variable), Some(optimizer)) = (path(slot.variable), path(optimizer)) else {
                    let what = format!("slot `{}` belongs to an object that no other holds", slot.name);
                    return Err(Error::invalid(what));
                };
                if let Some(path) = paths.get_mut(slot.slot) {
                    *path = Some(format!("{variable}/.OPTIMIZER_SLOT/{optimizer}/{}", escape(&slot.name)));
                }
                found.push(slot.slot);
            }
        }
        Ok(found)
    }
}

fn attribute<'a>(variable: Variable<'a>, path: &str) -> Result<(Variable<'a>, SerializedTensor)> {
    let slash = if path.is_empty() { "" } else { "/" };
    let key = format!("{path}{slash}.ATTRIBUTES/{VARIABLE_VALUE}");
    let full_name = String::from_utf8(variable.key().to_vec()).map_err(|_| {
        let name = variable.name();
        Error::invalid(format!("`{name}` is not UTF-8, as names in an object graph must be"))
    })?;
    let attribute = SerializedTensor {
        name: VARIABLE_VALUE.to_owned(),
        full_name,
        checkpoint_key: key.clone(),
    };
    Ok((variable.renamed(key), attribute))
}
