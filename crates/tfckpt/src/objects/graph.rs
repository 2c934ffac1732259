//! The graph itself: nodes, and the variables among them.

use super::parse::{AttributeRecord, GraphFault, Tables, Text, parse};
use super::paths::Paths;
use super::slots::{SlotEntry, slots};
use super::{OBJECT_GRAPH_KEY, VARIABLE_VALUE};
use crate::bundle::Bundle;
use crate::error::{Error, Result};

/// The objects of a checkpoint that `tf.train.Checkpoint`, Keras or a SavedModel wrote: which object holds which, and
/// under which key the value of each variable is stored.
///
/// The keys of such a checkpoint say little: Keras 3 stores the kernel of a layer under
/// `optimizer/_trainable_variables/0/.ATTRIBUTES/VARIABLE_VALUE`. What is meant follows from the edges of the graph.
///
/// ```no_run
/// # fn main() -> tfckpt::Result<()> {
/// let checkpoint = tfckpt::Checkpoint::open("run/ckpt-3")?;
/// if let Some(graph) = checkpoint.objects()? {
///     for variable in graph.variables() {
///         println!("{} {:?} {:?}", variable.key(), variable.full_name(), variable.object_path());
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Takes at most nine times the memory of the serialised graph, whatever is in it: names are kept once, and paths are made
/// when they are asked for.
#[derive(Debug)]
pub struct ObjectGraph {
    pub(super) bytes: Box<[u8]>,
    pub(super) tables: Tables,
    pub(super) paths: Paths,
    /// The slot variables of all optimizers, in the order of the graph.
    pub(super) slots: Vec<SlotEntry>,
    /// Positions in the table of attributes, sorted by key.
    by_key: Vec<u32>,
    /// The same, sorted by full name.
    by_name: Vec<u32>,
}

impl ObjectGraph {
    /// Reads the graph of a bundle; `None` if it has none, being name-based.
    ///
    /// # Errors
    /// As [`Bundle::read_strings`], and [`Error::CorruptObjectGraph`].
    pub fn read(bundle: &Bundle) -> Result<Option<Self>> {
        if !bundle.has_key(OBJECT_GRAPH_KEY) {
            return Ok(None);
        }
        let strings = bundle.read_strings(OBJECT_GRAPH_KEY)?;
        let fault = |offset, reason| Error::CorruptObjectGraph {
            prefix: bundle.prefix(),
            offset,
            reason,
        };
        let graph = strings.get(0).ok_or_else(|| fault(0, "the graph is missing"))?;
        Self::parse(graph)
            .map(Some)
            .map_err(|GraphFault { offset, reason }| fault(offset, reason))
    }

    /// Parses a serialised `TrackableObjectGraph`. Cycles and objects with many parents are fine.
    ///
    /// # Errors
    /// What is no such message, or refers to a node that is not there.
    pub fn parse(bytes: impl Into<Box<[u8]>>) -> Result<Self, GraphFault> {
        let bytes = bytes.into();
        let tables = parse(&bytes)?;
        let paths = Paths::new(&bytes, &tables);
        let slots = slots(&bytes, &tables);
        let text = |at: &u32, text: fn(&AttributeRecord) -> Text| tables.attributes.get(*at as usize).map(text);
        let mut by_key: Vec<u32> = (0u32..).take(tables.attributes.len()).collect();
        let mut by_name = by_key.clone();
        by_key.sort_by_key(|at| text(at, |record| record.key).map(|key| key.of(&bytes)));
        by_name.sort_by_key(|at| text(at, |record| record.full_name).map(|name| name.of(&bytes)));
        Ok(ObjectGraph {
            bytes,
            tables,
            paths,
            slots,
            by_key,
            by_name,
        })
    }

    /// All objects. The first one is the root.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = ObjectNode<'_>> {
        (0..self.tables.nodes.len()).map(|id| ObjectNode { graph: self, id })
    }

    /// The object with this id; the root has 0.
    pub fn node(&self, id: usize) -> Option<ObjectNode<'_>> {
        (id < self.tables.nodes.len()).then_some(ObjectNode { graph: self, id })
    }

    /// Everything that has a value in the checkpoint, in the order of the graph: variables, and with other
    /// [`attribute`](ObjectVariable::attribute)s the state of iterators, tables and Python objects. For the latter
    /// the key may be one that is not in the bundle.
    pub fn variables(&self) -> impl ExactSizeIterator<Item = ObjectVariable<'_>> {
        (0..self.tables.attributes.len()).map(|at| ObjectVariable { graph: self, at })
    }

    /// What is stored under this key.
    pub fn with_key(&self, key: &str) -> Option<ObjectVariable<'_>> {
        self.sorted(&self.by_key, key, |variable| variable.key()).next()
    }

    /// The variables of this full name.
    pub fn named(&self, full_name: &str) -> impl Iterator<Item = ObjectVariable<'_>> {
        self.sorted(&self.by_name, full_name, |variable| {
            variable.full_name().unwrap_or_default()
        })
    }

    /// Those of which `text` is `wanted`, in a table that is sorted by it.
    fn sorted<'g>(
        &'g self,
        table: &'g [u32],
        wanted: &str,
        text: fn(&ObjectVariable<'g>) -> &'g str,
    ) -> impl Iterator<Item = ObjectVariable<'g>> {
        let variable = |&at: &u32| ObjectVariable {
            graph: self,
            at: at as usize,
        };
        let start = table.partition_point(|at| text(&variable(at)) < wanted);
        let end = table.partition_point(|at| text(&variable(at)) <= wanted);
        table.get(start..end).unwrap_or_default().iter().map(variable)
    }
}

/// One object of a graph.
#[derive(Debug, Clone, Copy)]
pub struct ObjectNode<'g> {
    pub(super) graph: &'g ObjectGraph,
    pub(super) id: usize,
}

impl<'g> ObjectNode<'g> {
    /// Its number in the graph.
    pub fn id(&self) -> usize {
        self.id
    }

    /// The objects that it holds, each with the name that it has here: the name of a Python attribute, the index in a
    /// list, the key in a dictionary.
    pub fn children(&self) -> impl ExactSizeIterator<Item = (&'g str, ObjectNode<'g>)> {
        let graph = self.graph;
        let children = graph.tables.children.get(graph.tables.children_of(self.id));
        children.unwrap_or_default().iter().map(move |child| {
            let id = child.node as usize;
            (child.name.of(&graph.bytes), ObjectNode { graph, id })
        })
    }

    /// The child of this name.
    pub fn child(&self, name: &str) -> Option<ObjectNode<'g>> {
        self.children().find(|(local, _)| *local == name).map(|(_, node)| node)
    }

    /// The values of this object itself.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = ObjectVariable<'g>> {
        let graph = self.graph;
        graph
            .tables
            .attributes_of(self.id)
            .map(move |at| ObjectVariable { graph, at })
    }

    /// The value of a variable; `None` if this object is none.
    pub fn variable(&self) -> Option<ObjectVariable<'g>> {
        self.attributes().find(|value| value.attribute() == VARIABLE_VALUE)
    }

    /// The Python saver that wrote this object, if it was not TensorFlow's own: its name, and that of the object.
    pub fn registered_saver(&self) -> Option<(&'g str, &'g str)> {
        let graph = self.graph;
        let saver = graph
            .tables
            .savers
            .iter()
            .find(|saver| saver.node as usize == self.id)?;
        Some((saver.name.of(&graph.bytes), saver.object.of(&graph.bytes)))
    }

    /// A path from the root to this object, as [`ObjectVariable::object_path`].
    pub fn path(&self) -> Option<String> {
        self.graph.paths.of(self.graph, self.id)
    }
}

/// A value of an object: in most cases that of a variable.
#[derive(Debug, Clone, Copy)]
pub struct ObjectVariable<'g> {
    pub(super) graph: &'g ObjectGraph,
    /// Position in the table of attributes.
    pub(super) at: usize,
}

impl<'g> ObjectVariable<'g> {
    fn record(&self) -> AttributeRecord {
        self.graph.tables.attributes.get(self.at).copied().unwrap_or_default()
    }

    /// The name of the variable in the bundle.
    pub fn key(&self) -> &'g str {
        self.record().key.of(&self.graph.bytes)
    }

    /// `VARIABLE_VALUE` for variables.
    pub fn attribute(&self) -> &'g str {
        self.record().name.of(&self.graph.bytes)
    }

    /// The name that the variable had in Python, `dense/kernel`. Not always unique: a variable that was given none is
    /// called `Variable`.
    pub fn full_name(&self) -> Option<&'g str> {
        Some(self.record().full_name.of(&self.graph.bytes)).filter(|name| !name.is_empty())
    }

    /// The object that it belongs to.
    pub fn node(&self) -> ObjectNode<'g> {
        ObjectNode {
            graph: self.graph,
            id: self.record().node as usize,
        }
    }

    /// A short path of attribute names from the root, `model/_functional/_operations/1/_kernel`. Of several paths one
    /// that does not run through an optimizer is taken. The slot variable of another variable has that one's path and
    /// the slot's name, `model/dense/kernel/m`.
    ///
    /// `None` without a path from the root, and for paths of more than 1024 bytes, which no program has.
    pub fn object_path(&self) -> Option<String> {
        if let Some(slot) = self.as_slot() {
            return Some(format!("{}/{}", slot.variable.node().path()?, slot.name));
        }
        let path = self.node().path()?;
        match self.attribute() {
            VARIABLE_VALUE => Some(path),
            other if path.is_empty() => Some(other.to_owned()),
            other => Some(format!("{path}/{other}")),
        }
    }

    /// What a person would call it: the full name if no other variable has it, else the object path, else the key.
    pub fn name(&self) -> String {
        let unique = |name: &&str| self.graph.named(name).nth(1).is_none();
        let own = self.full_name().filter(unique).map(str::to_owned);
        own.or_else(|| self.object_path())
            .unwrap_or_else(|| self.key().to_owned())
    }
}
