//! One short path to every node.

use super::ObjectGraph;
use super::parse::Tables;

/// No honest path is longer. Without a bound, a chain of nodes would have paths of quadratic length together.
const LONGEST: usize = 1024;

/// Children that list variables whose own place is elsewhere.
const LISTS: [&str; 8] = [
    "_variables",
    "_trainable_variables",
    "_non_trainable_variables",
    "_all_variables",
    "variables",
    "trainable_variables",
    "non_trainable_variables",
    "keras_api",
];

/// For every node the child record that leads to it on its path, or a mark that there is none.
#[derive(Debug)]
pub(super) struct Paths {
    edges: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Paths {
    /// Breadth-first from the root, in three rounds: without optimizers, through optimizers, through lists of
    /// variables. Each edge is followed once.
    pub(super) fn new(bytes: &[u8], tables: &Tables) -> Self {
        let nodes = tables.nodes.len();
        let is_optimizer: Vec<bool> = (0..nodes).map(|id| tables.is_optimizer(bytes, id)).collect();
        let mut edges = vec![NONE; nodes];
        let mut settled = vec![false; nodes];
        let mut rounds: [Vec<u32>; 3] = Default::default();
        let mut visit = |id: usize, round: usize, rounds: &mut [Vec<u32>; 3]| {
            let Some(settled) = settled.get_mut(id).filter(|settled| !**settled) else {
                return false;
            };
            *settled = true;
            for (edge, child) in tables.children_of(id).zip(tables.child_records(id)) {
                let through = match child.name.of(bytes) {
                    name if LISTS.contains(&name) => 2,
                    _ => usize::from(is_optimizer.get(child.node as usize) == Some(&true)),
                };
                if let (Some(queue), Ok(edge)) = (rounds.get_mut(round.max(through)), u32::try_from(edge)) {
                    queue.push(edge);
                }
            }
            true
        };
        visit(0, 0, &mut rounds);
        for round in 0..rounds.len() {
            let mut next = 0;
            while let Some(&edge) = rounds.get(round).and_then(|queue| queue.get(next)) {
                next += 1;
                let Some(child) = tables.children.get(edge as usize) else {
                    continue;
                };
                let id = child.node as usize;
                if visit(id, round, &mut rounds)
                    && let Some(slot) = edges.get_mut(id)
                {
                    *slot = edge;
                }
            }
        }
        Paths { edges }
    }

    /// The names from the root to a node, joined by `/`.
    pub(super) fn of(&self, graph: &ObjectGraph, mut id: usize) -> Option<String> {
        let mut names = Vec::new();
        let mut length = 0;
        while id != 0 {
            let &edge = self.edges.get(id).filter(|&&edge| edge != NONE)?;
            let name = graph.tables.children.get(edge as usize)?.name.of(&graph.bytes);
            length += name.len() + 1;
            if length > LONGEST {
                return None;
            }
            names.push(name);
            id = graph.tables.parent_of_edge(edge);
        }
        names.reverse();
        Some(names.join("/"))
    }
}
