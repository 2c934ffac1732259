//! What optimizers keep for each variable: their slots.
//!
//! Optimizers of TensorFlow 1 and of early Keras name variable, slot and slot variable in `slot_variables`. Those of
//! Keras 3 hold parallel lists: element `i` of `_momentums` belongs to element `i` of `_trainable_variables`. Those of
//! Keras 2.11 and later say it only in the names of the state: `Adam/m/dense/kernel` in a list `_momentums`, or
//! `m/dense/kernel` if the optimizer was built by hand.

use std::collections::{HashMap, HashSet};

use super::graph::{ObjectGraph, ObjectNode, ObjectVariable};
use super::parse::{Tables, Text};
use crate::optimizers::singular;

/// A slot variable, by the ids of its nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotEntry {
    optimizer: u32,
    variable: u32,
    slot: u32,
    /// The name of the slot or that of the list.
    name: Text,
    is_list: bool,
}

/// State that an optimizer keeps for a variable.
#[derive(Debug, Clone)]
pub struct SlotVariable<'g> {
    /// The optimizer.
    pub optimizer: ObjectNode<'g>,
    /// The variable that it optimizes.
    pub variable: ObjectVariable<'g>,
    /// What the state is called: `m`, `v` and `momentum` by older optimizers, `momentum` and `velocity` by Adam of
    /// Keras 3, for which it is derived from the lists `_momentums` and `_velocities`.
    pub name: String,
    /// The state.
    pub slot: ObjectVariable<'g>,
}

impl ObjectGraph {
    /// All slot variables.
    pub fn slots(&self) -> impl Iterator<Item = SlotVariable<'_>> {
        self.slots.iter().filter_map(|entry| self.slot_of(entry))
    }

    pub(super) fn slots_for(&self, variable: usize) -> impl Iterator<Item = SlotVariable<'_>> {
        let own = self
            .slots
            .iter()
            .filter(move |entry| entry.variable as usize == variable);
        own.filter_map(|entry| self.slot_of(entry))
    }

    fn slot_of(&self, entry: &SlotEntry) -> Option<SlotVariable<'_>> {
        let name = entry.name.of(&self.bytes);
        Some(SlotVariable {
            optimizer: self.node(entry.optimizer as usize)?,
            variable: self.node(entry.variable as usize)?.variable()?,
            name: match entry.is_list {
                true => singular(name),
                false => name.to_owned(),
            },
            slot: self.node(entry.slot as usize)?.variable()?,
        })
    }
}

impl<'g> ObjectVariable<'g> {
    /// Whose state it is; `None` if it is no slot variable.
    pub fn as_slot(&self) -> Option<SlotVariable<'g>> {
        let node = self.node().id();
        let at = self.graph.slot_by_node(node)?;
        self.graph.slot_of(at)
    }
}

impl ObjectGraph {
    fn slot_by_node(&self, node: usize) -> Option<&SlotEntry> {
        let at = self.slots.partition_point(|entry| (entry.slot as usize) < node);
        self.slots.get(at).filter(|entry| entry.slot as usize == node)
    }
}

/// A graph that is being read, with the nodes of full names that only one has.
#[derive(Clone, Copy)]
struct Graph<'g> {
    bytes: &'g [u8],
    tables: &'g Tables,
    names: &'g HashMap<&'g str, Option<u32>>,
}

/// All slots of a graph, sorted by the node of the slot variable. There are never more than references in the graph.
pub(super) fn slots(bytes: &[u8], tables: &Tables) -> Vec<SlotEntry> {
    let optimizers: Vec<usize> = (0..tables.nodes.len())
        .filter(|&id| tables.is_optimizer(bytes, id))
        .collect();
    let mut names: HashMap<&str, Option<u32>> = HashMap::new();
    if !optimizers.is_empty() {
        for attribute in &tables.attributes {
            let full_name = attribute.full_name.of(bytes);
            if !full_name.is_empty() {
                let entry = names.entry(full_name);
                entry.and_modify(|node| *node = None).or_insert(Some(attribute.node));
            }
        }
    }
    let graph = Graph {
        bytes,
        tables,
        names: &names,
    };
    let mut found = Vec::new();
    // Each list belongs to one optimizer; without this, many optimizers could claim one long list.
    let mut claimed = HashSet::new();
    for id in optimizers {
        let optimizer = u32::try_from(id).unwrap_or(u32::MAX);
        found.extend(tables.slots_of(id).iter().map(|record| SlotEntry {
            optimizer,
            variable: record.variable,
            slot: record.slot,
            name: record.name,
            is_list: false,
        }));
        lists(graph, optimizer, &mut claimed, &mut found);
    }
    found.sort_by_key(|entry| entry.slot);
    found
}

fn lists(graph: Graph<'_>, optimizer: u32, claimed: &mut HashSet<u32>, found: &mut Vec<SlotEntry>) {
    let Graph { bytes, tables, .. } = graph;
    let children = tables.child_records(optimizer as usize);
    let trained = children
        .iter()
        .find(|child| child.name.of(bytes) == "_trainable_variables");
    if trained.is_some_and(|list| !claimed.insert(list.node)) {
        return;
    }
    let elements = trained.map_or([].as_slice(), |list| tables.child_records(list.node as usize));
    let variables: HashMap<&str, u32> = elements
        .iter()
        .map(|child| (child.name.of(bytes), child.node))
        .collect();
    for list in children {
        if list.name.of(bytes) == "_variables" || !claimed.insert(list.node) {
            continue;
        }
        for element in tables.child_records(list.node as usize) {
            let (variable, name, is_list) = match trained {
                Some(_) => (variables.get(element.name.of(bytes)).copied(), list.name, true),
                None => match by_full_name(graph, element.node) {
                    Some((variable, name)) => (Some(variable), name, false),
                    None => continue,
                },
            };
            if let Some(variable) = variable {
                found.push(SlotEntry {
                    optimizer,
                    variable,
                    slot: element.node,
                    name,
                    is_list,
                });
            }
        }
    }
}

/// Takes `Adam/m/dense/kernel` apart, or `m/dense/kernel`: the variable, and the name of the slot.
fn by_full_name(Graph { bytes, tables, names }: Graph<'_>, node: u32) -> Option<(u32, Text)> {
    let at = tables.attributes_of(node as usize).next()?;
    let full_name = tables.attributes.get(at)?.full_name;
    let text = full_name.of(bytes);
    let after_slash = |from: usize| Some(from + text.get(from..)?.find('/')? + 1);
    let first = after_slash(0)?;
    // The slot is the first or the second component; what follows it must be a variable.
    let slots = [(0, Some(first)), (first, after_slash(first))];
    slots.into_iter().rev().find_map(|(start, end)| {
        let variable = names.get(text.get(end?..)?).copied().flatten()?;
        Some((variable, full_name.part(start, end? - 1 - start)))
    })
}
