//! What optimizers keep for each variable: their slots.
//!
//! Optimizers of TensorFlow 1 and of early Keras name variable, slot and slot variable in `slot_variables`. Those of
//! Keras 3 hold parallel lists: element `i` of `_momentums` belongs to element `i` of `_trainable_variables`.

use std::collections::{HashMap, HashSet};

use super::graph::{ObjectGraph, ObjectNode, ObjectVariable};
use super::parse::{ChildRecord, Tables, Text};

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

/// All slots of a graph, sorted by the node of the slot variable. There are never more than references in the graph.
pub(super) fn slots(bytes: &[u8], tables: &Tables) -> Vec<SlotEntry> {
    let mut found = Vec::new();
    // Each list belongs to one optimizer; without this, many optimizers could claim one long list.
    let mut claimed = HashSet::new();
    for id in 0..tables.nodes.len() {
        let optimizer = u32::try_from(id).unwrap_or(u32::MAX);
        found.extend(tables.slots_of(id).iter().map(|record| SlotEntry {
            optimizer,
            variable: record.variable,
            slot: record.slot,
            name: record.name,
            is_list: false,
        }));
        if tables.is_optimizer(bytes, id) {
            lists(bytes, tables, optimizer, &mut claimed, &mut found);
        }
    }
    found.sort_by_key(|entry| entry.slot);
    found
}

fn lists(bytes: &[u8], tables: &Tables, optimizer: u32, claimed: &mut HashSet<u32>, found: &mut Vec<SlotEntry>) {
    let children = tables.child_records(optimizer as usize);
    let named = |child: &&ChildRecord| child.name.of(bytes) == "_trainable_variables";
    let Some(trained) = children.iter().find(named).filter(|list| claimed.insert(list.node)) else {
        return;
    };
    let elements = tables.child_records(trained.node as usize).iter();
    let variables: HashMap<&str, u32> = elements.map(|child| (child.name.of(bytes), child.node)).collect();
    for list in children {
        if list.name.of(bytes) == "_variables" || !claimed.insert(list.node) {
            continue;
        }
        for element in tables.child_records(list.node as usize) {
            if let Some(&variable) = variables.get(element.name.of(bytes)) {
                found.push(SlotEntry {
                    optimizer,
                    variable,
                    slot: element.node,
                    name: list.name,
                    is_list: true,
                });
            }
        }
    }
}

/// `_velocities` is a list of velocities.
fn singular(list: &str) -> String {
    let name = list.trim_start_matches('_');
    match (name.strip_suffix("ies"), name.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(stem)) => stem.to_owned(),
        (None, None) => name.to_owned(),
    }
}
