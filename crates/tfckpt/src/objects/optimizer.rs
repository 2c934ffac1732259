//! Where the Python classes of optimizers hold their state.

use std::collections::{BTreeMap, HashMap};

use super::tree::{ObjectId, ObjectTree};
use crate::error::{Error, Result};
use crate::optimizers::{Convention, Counter, OptimizerKind, Slot};
use crate::tensor::Variable;

/// The slots of one variable.
pub(super) type Slots<'a> = BTreeMap<Slot, Variable<'a>>;

/// What there is of an optimizer's state.
#[derive(Debug)]
pub(super) struct OptimizerState<'a> {
    pub(super) kind: OptimizerKind,
    pub(super) convention: Convention,
    /// By the name of the variable.
    pub(super) slots: BTreeMap<String, Slots<'a>>,
    pub(super) counters: BTreeMap<Counter, Variable<'a>>,
    pub(super) hyperparameters: BTreeMap<String, f32>,
    /// Where no counter says it.
    pub(super) iterations: Option<i64>,
}

impl<'a> OptimizerState<'a> {
    /// Takes out the numbers that the Python class does not have.
    pub(super) fn split_off_foreign_counters(&mut self) -> Vec<Variable<'a>> {
        let of_v1 = self.convention == Convention::V1;
        let is_foreign = |counter: &Counter| of_v1 != matches!(counter, Counter::Beta1Power | Counter::Beta2Power);
        let foreign: Vec<Counter> = self.counters.keys().copied().filter(is_foreign).collect();
        foreign
            .iter()
            .filter_map(|counter| self.counters.remove(counter))
            .collect()
    }

    /// Puts the state into the tree. `order` are the trainable variables, and `objects` all of the model's.
    pub(super) fn add(
        mut self,
        tree: &mut ObjectTree<'a>,
        optimizer: ObjectId,
        order: &[String],
        objects: &HashMap<String, ObjectId>,
    ) -> Result<()> {
        match self.convention {
            Convention::V1 => {
                for (counter, variable) in std::mem::take(&mut self.counters) {
                    let object = tree.child(optimizer, attribute(self.convention, counter));
                    tree.set(object, variable)?;
                }
                self.references(tree, optimizer, objects)
            }
            Convention::Keras2Legacy => {
                self.iterations(tree, optimizer)?;
                self.numbers(tree, optimizer)?;
                self.references(tree, optimizer, objects)
            }
            Convention::Keras2 | Convention::Keras3 => self.lists(tree, optimizer, order, objects),
        }
    }

    /// Parallel lists: one of everything, one of the trainable variables, one for each slot.
    fn lists(
        mut self,
        tree: &mut ObjectTree<'a>,
        optimizer: ObjectId,
        order: &[String],
        objects: &HashMap<String, ObjectId>,
    ) -> Result<()> {
        let is_keras3 = self.convention == Convention::Keras3;
        let variables = tree.child(optimizer, "_variables");
        let trainable = tree.child(optimizer, "_trainable_variables");
        let step = self.iterations(tree, optimizer)?;
        let (rate, product) = self.numbers(tree, optimizer)?;
        let mut all = vec![step];
        all.extend(rate.filter(|_| is_keras3));
        for (index, name) in order.iter().enumerate() {
            let object = *objects.get(name).ok_or_else(|| no_place(name))?;
            tree.alias(trainable, &index.to_string(), object);
        }
        for (at, object) in all.iter().enumerate() {
            tree.alias(variables, &at.to_string(), *object);
        }
        let mut next = all.len();
        for group in self.kind.groups() {
            for (index, name) in order.iter().enumerate() {
                let Some(slots) = self.slots.get_mut(name) else {
                    continue;
                };
                for (slot, value) in group.iter().filter_map(|slot| Some((slot, slots.remove(slot)?))) {
                    let list = self.kind.object_slot(self.convention, *slot);
                    let list = tree.child(optimizer, list.ok_or_else(|| no_place(&value.name()))?);
                    let object = tree.child(variables, &next.to_string());
                    next += 1;
                    tree.set(object, value)?;
                    tree.alias(list, &index.to_string(), object);
                }
            }
        }
        if let Some(product) = product.filter(|_| is_keras3) {
            tree.alias(variables, &next.to_string(), product);
        }
        let left = self.slots.values().flat_map(BTreeMap::values).next();
        left.map_or(Ok(()), |value| Err(no_place(&value.name())))
    }

    /// Slot variables, which no object holds.
    fn references(
        self,
        tree: &mut ObjectTree<'a>,
        optimizer: ObjectId,
        objects: &HashMap<String, ObjectId>,
    ) -> Result<()> {
        for (name, slots) in self.slots {
            let object = *objects.get(&name).ok_or_else(|| no_place(&name))?;
            for (slot, value) in slots {
                let called = self.kind.object_slot(self.convention, slot);
                tree.slot(optimizer, object, called.ok_or_else(|| no_place(&value.name()))?, value)?;
            }
        }
        Ok(())
    }

    fn iterations(&mut self, tree: &mut ObjectTree<'a>, optimizer: ObjectId) -> Result<ObjectId> {
        let counter = match (self.counters.remove(&Counter::Iterations), self.iterations) {
            (Some(counter), _) => counter,
            (None, Some(count)) => Variable::scalar("optimizer/iterations", count),
            (None, None) => {
                return Err(Error::invalid(
                    "an optimizer of Keras counts its steps: give them with `ObjectLayout::iterations`",
                ));
            }
        };
        let object = tree.child(optimizer, attribute(self.convention, Counter::Iterations));
        tree.set(object, counter)?;
        Ok(object)
    }

    /// Adds the other numbers, and tells where the learning rate and the product of the momenta are.
    fn numbers(
        &mut self,
        tree: &mut ObjectTree<'a>,
        optimizer: ObjectId,
    ) -> Result<(Option<ObjectId>, Option<ObjectId>)> {
        let mut at = BTreeMap::new();
        for (counter, variable) in std::mem::take(&mut self.counters) {
            let object = tree.child(optimizer, attribute(self.convention, counter));
            tree.set(object, variable)?;
            at.insert(counter, object);
        }
        let rate = Counter::LearningRate;
        for (name, &value) in &self.hyperparameters {
            let attribute = match (name.as_str(), self.convention) {
                ("learning_rate", _) if at.contains_key(&rate) => continue,
                (_, Convention::Keras2Legacy) => name.clone(),
                _ => format!("_{name}"),
            };
            let object = tree.child(optimizer, &attribute);
            tree.set(object, Variable::scalar(format!("optimizer/{name}"), value))?;
            if name == "learning_rate" {
                at.insert(rate, object);
            }
        }
        Ok((at.get(&rate).copied(), at.get(&Counter::MomentumProduct).copied()))
    }
}

/// The attribute that holds a number of the optimizer itself.
fn attribute(convention: Convention, counter: Counter) -> &'static str {
    let is_legacy = convention == Convention::Keras2Legacy;
    match counter {
        Counter::Beta1Power => "beta1_power",
        Counter::Beta2Power => "beta2_power",
        Counter::Iterations if is_legacy => "iter",
        Counter::LearningRate if is_legacy => "learning_rate",
        Counter::MomentumProduct if is_legacy => "momentum_cache",
        Counter::Iterations => "_iterations",
        Counter::LearningRate => "_learning_rate",
        Counter::MomentumProduct => "_u_product",
    }
}

fn no_place(name: &str) -> Error {
    Error::NoPlace {
        name: name.to_owned(),
        candidates: Vec::new(),
    }
}
