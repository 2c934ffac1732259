//! Looking things up in the tables of a graph.

use std::ops::Range;

use super::parse::{ChildRecord, Ends, SlotRecord, Tables};

impl Tables {
    fn ends(&self, id: usize) -> (Ends, Ends) {
        let before = id.checked_sub(1).and_then(|before| self.nodes.get(before));
        let own = self.nodes.get(id);
        let before = before.copied().unwrap_or_default();
        (before, own.copied().unwrap_or(before))
    }

    /// Positions in the table of children.
    pub(super) fn children_of(&self, id: usize) -> Range<usize> {
        let (before, own) = self.ends(id);
        before.children as usize..own.children as usize
    }

    pub(super) fn child_records(&self, id: usize) -> &[ChildRecord] {
        self.children.get(self.children_of(id)).unwrap_or_default()
    }

    /// Positions in the table of attributes.
    pub(super) fn attributes_of(&self, id: usize) -> Range<usize> {
        let (before, own) = self.ends(id);
        before.attributes as usize..own.attributes as usize
    }

    pub(super) fn slots_of(&self, id: usize) -> &[SlotRecord] {
        let (before, own) = self.ends(id);
        self.slots
            .get(before.slots as usize..own.slots as usize)
            .unwrap_or_default()
    }

    /// The node that a child record belongs to.
    pub(super) fn parent_of_edge(&self, edge: u32) -> usize {
        self.nodes.partition_point(|ends| ends.children <= edge)
    }

    /// Whether a node keeps state for variables of other nodes: it has slots, or counts its steps as Keras does.
    pub(super) fn is_optimizer(&self, bytes: &[u8], id: usize) -> bool {
        let counts = |child: &ChildRecord| child.name.of(bytes) == "_iterations";
        !self.slots_of(id).is_empty() || self.child_records(id).iter().any(counts)
    }
}
