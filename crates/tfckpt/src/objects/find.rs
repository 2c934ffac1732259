//! From what a person calls a variable to the variable.

use std::collections::{BTreeSet, HashSet};

use super::escape;
use super::graph::{ObjectGraph, ObjectVariable};
use super::slots::SlotVariable;
use crate::suggest::nearest;

/// Why a name leads to no variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindFault {
    /// No variable is called so.
    #[error("no variable is called so; near are {candidates:?}")]
    Unknown {
        /// The nearest names that there are.
        candidates: Vec<String>,
    },
    /// Several variables may be meant.
    #[error("it may be any of {candidates:?}")]
    Ambiguous {
        /// Names that say which, the first few.
        candidates: Vec<String>,
    },
}

/// Names listed in an error.
const LISTED: usize = 8;

/// Names that are compared with an unknown one.
const COMPARED: usize = 10_000;

impl ObjectGraph {
    /// The variable that `name` means. In this order:
    /// - its key in the bundle;
    /// - its full name, `digits/conv1/kernel`, if only one variable has it;
    /// - an object path from the root, any of those that lead there; `kernel` stands for `_kernel`, too;
    /// - the end of a full name or object path, from the start of a component, if only one variable fits:
    ///   `conv1/kernel`, or `layers/0/kernel` of `model/layers/0/kernel`;
    /// - for `iterations` in any scope, how many steps the only optimizer of Keras has made;
    /// - any of these and the name of a slot: `conv1/kernel/m`. What Adam of TensorFlow 1, `Adam` and `Adam_1`, of
    ///   Keras 2, `m` and `v`, and of Keras 3, `momentum` and `velocity`, call their moments stands for each other.
    ///
    /// Takes time in proportion to the graph, unless it is a key or full name.
    ///
    /// # Errors
    /// None or several variables fit.
    pub fn find(&self, name: &str) -> Result<ObjectVariable<'_>, FindFault> {
        self.resolve(name).unwrap_or_else(|| {
            Err(FindFault::Unknown {
                candidates: self.near(name),
            })
        })
    }

    /// As [`find`](Self::find), without looking for near names.
    pub(super) fn resolve(&self, name: &str) -> Option<Result<ObjectVariable<'_>, FindFault>> {
        self.resolve_whole(name).or_else(|| {
            let (variable, slot) = name.rsplit_once('/').unwrap_or(("", name));
            if slot == "iterations" {
                return self.iterations();
            }
            let variable = self.resolve_whole(variable)?.ok()?;
            let slots: Vec<SlotVariable<'_>> = self.slots_for(variable.node().id()).collect();
            let fitting = slots.iter().filter(|candidate| is_called(candidate, slot, &slots));
            only(&fitting.map(|slot| slot.slot).collect::<Vec<_>>())
        })
    }

    fn iterations(&self) -> Option<Result<ObjectVariable<'_>, FindFault>> {
        let optimizers = self
            .nodes()
            .filter(|node| self.tables.is_optimizer(&self.bytes, node.id()));
        let counters =
            optimizers.filter_map(|node| node.child("_iterations").or_else(|| node.child("iter"))?.variable());
        only(&counters.collect::<Vec<_>>())
    }

    fn resolve_whole(&self, name: &str) -> Option<Result<ObjectVariable<'_>, FindFault>> {
        if let Some(found) = self.with_key(name) {
            return Some(Ok(found));
        }
        let named: Vec<ObjectVariable<'_>> = self.named(name).collect();
        let named = only(&named);
        if let Some(Ok(_)) = named {
            return named;
        }
        for private in [false, true] {
            let walked = only(&self.values_at(self.walk([(0, 0)], name, private)));
            if let Some(Ok(_)) = walked {
                return walked;
            }
        }
        named.or_else(|| {
            let ends_with = |full: &str| full.strip_suffix(name).is_some_and(|scope| scope.ends_with('/'));
            let mut fitting: Vec<ObjectVariable<'_>> = self
                .variables()
                .filter(|variable| variable.full_name().is_some_and(ends_with))
                .collect();
            let starts = (self.tables.children.iter())
                .flat_map(|child| steps(child.name.of(&self.bytes), name, true).map(|at| (child.node, at)));
            fitting.extend(self.values_at(self.walk(starts, name, true)));
            only(&fitting)
        })
    }

    /// The nodes at the ends of all walks that spell `path`, from nodes where so many bytes of it are spelt already.
    /// Each node is visited once for each component.
    fn walk(&self, starts: impl IntoIterator<Item = (u32, usize)>, path: &str, private: bool) -> BTreeSet<u32> {
        let mut ends = BTreeSet::new();
        let mut seen: HashSet<(u32, usize)> = HashSet::new();
        let mut open: Vec<_> = starts.into_iter().filter(|start| seen.insert(*start)).collect();
        while let Some((node, at)) = open.pop() {
            let Some(rest) = path.get(at..).filter(|rest| !rest.is_empty()) else {
                ends.insert(node);
                continue;
            };
            for child in self.tables.child_records(node as usize) {
                for step in steps(child.name.of(&self.bytes), rest, private) {
                    if seen.insert((child.node, at + step)) {
                        open.push((child.node, at + step));
                    }
                }
            }
        }
        ends
    }

    /// The variables that these nodes are, or the only value that they have.
    fn values_at(&self, nodes: BTreeSet<u32>) -> Vec<ObjectVariable<'_>> {
        let value = |id: u32| {
            let node = self.node(id as usize)?;
            let mut values = node.attributes();
            let sole = values.next().filter(|_| values.next().is_none());
            node.variable().or(sole)
        };
        nodes.into_iter().filter_map(value).collect()
    }

    fn near(&self, name: &str) -> Vec<String> {
        let names: Vec<String> = self
            .variables()
            .take(COMPARED)
            .flat_map(|variable| [variable.full_name().map(str::to_owned), variable.object_path()])
            .flatten()
            .collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        nearest(name, names, 3)
    }
}

/// How many bytes of `path` a child of this name takes, the slash after it included: none, or one of a few numbers.
/// The name may stand there as it is, or escaped as in keys; with `private` also without a leading underscore.
fn steps(name: &str, path: &str, private: bool) -> impl Iterator<Item = usize> {
    let bare = name.strip_prefix('_').filter(|bare| private && !bare.is_empty());
    let escaped = name.contains(['.', '/']).then(|| escape(name));
    let taken = |name: &str| {
        let rest = path.strip_prefix(name)?;
        match rest.is_empty() {
            true => Some(path.len()),
            false => rest.starts_with('/').then_some(name.len() + 1),
        }
    };
    let found = [taken(name), bare.and_then(taken), escaped.as_deref().and_then(taken)];
    found.into_iter().flatten()
}

/// The variable, if all that fit are the same one; nothing if none fits.
fn only<'g>(fitting: &[ObjectVariable<'g>]) -> Option<Result<ObjectVariable<'g>, FindFault>> {
    let first = fitting.first()?;
    if fitting.iter().all(|other| other.key() == first.key()) {
        return Some(Ok(*first));
    }
    let describe = |variable: &ObjectVariable<'_>| match variable.object_path() {
        Some(path) => path,
        None => variable.key().to_owned(),
    };
    let mut candidates: Vec<String> = fitting.iter().take(LISTED).map(describe).collect();
    candidates.sort();
    candidates.dedup();
    Some(Err(FindFault::Ambiguous { candidates }))
}

/// Whether `wanted` names this slot, one of `slots` of a variable.
fn is_called(slot: &SlotVariable<'_>, wanted: &str, slots: &[SlotVariable<'_>]) -> bool {
    let first = |name: &str| matches!(name, "m" | "momentum");
    let second = |name: &str| matches!(name, "v" | "velocity");
    let name = slot.name.as_str();
    if slots.iter().any(|other| other.name == wanted) {
        return name == wanted;
    }
    // One moment alone is no state of Adam.
    let of_adam = |other: &SlotVariable<'_>| second(&other.name) && other.optimizer.id() == slot.optimizer.id();
    match wanted {
        "Adam" | "m" => first(name) && slots.iter().any(of_adam),
        "momentum" => first(name),
        // What V1 calls so is a sum of gradients, and no step.
        "Momentum" => first(name) && !slots.iter().any(of_adam) && !is_of_keras(slot),
        "Adam_1" | "v" | "velocity" => second(name),
        _ => false,
    }
}

/// Optimizers of Keras count their steps.
fn is_of_keras(slot: &SlotVariable<'_>) -> bool {
    ["_iterations", "iter"]
        .iter()
        .any(|counter| slot.optimizer.child(counter).is_some())
}
