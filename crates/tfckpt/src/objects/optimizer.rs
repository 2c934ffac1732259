//! Where the Python classes of optimizers hold their state.

use std::collections::{BTreeMap, HashMap};

use super::tree::{ObjectId, ObjectTree};
use crate::error::{Error, Result};
use crate::tensor::Variable;

/// The kinds of optimizers, by how they hold state. Slots are those of Adam, `VARIABLE/Adam` and `VARIABLE/Adam_1` or
/// `VARIABLE/m` and `VARIABLE/v`, and of gradient descent with momentum, `VARIABLE/Momentum` or `VARIABLE/momentum`;
/// for the first two kinds also those of Adagrad and RMSProp of TensorFlow 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectOptimizer {
    /// `tf.compat.v1.train`: slot variables, and for Adam the powers of its betas.
    V1,
    /// Keras before 2.11, since then `tf.keras.optimizers.legacy`: slot variables, `iter` and hyperparameters.
    Keras2Legacy,
    /// Keras from 2.11 on: lists, iterations, learning rate.
    Keras2,
    /// Keras 3: lists, iterations, learning rate.
    Keras3,
}

/// The slots of one variable by their names.
pub(super) type Moments<'a> = BTreeMap<&'static str, Variable<'a>>;

/// What there is of an optimizer's state.
#[derive(Debug, Default)]
pub(super) struct OptimizerState<'a> {
    /// By the name of the variable.
    pub(super) slots: BTreeMap<String, Moments<'a>>,
    /// By the last component of the name.
    pub(super) counters: Vec<(String, Variable<'a>)>,
    pub(super) hyperparameters: BTreeMap<String, f32>,
    /// Where no counter says it.
    pub(super) iterations: Option<i64>,
}

type Counters<'a> = Vec<(String, Variable<'a>)>;

/// What TensorFlow's classes call the slot that is the last component of a variable's name.
pub(super) fn slot_name(leaf: &str) -> Option<&'static str> {
    Some(match leaf {
        "Adam" | "AdamW" | "m" => "m",
        "Adam_1" | "AdamW_1" | "v" => "v",
        "Momentum" | "momentum" | "RMSProp_1" => "momentum",
        "RMSProp" => "rms",
        "Adagrad" => "accumulator",
        _ => return None,
    })
}

impl ObjectOptimizer {
    /// The counters that a kind has, and the others.
    pub(super) fn own_counters<'a>(self, counters: Counters<'a>) -> (Counters<'a>, Vec<Variable<'a>>) {
        let own = |name: &str| (self == ObjectOptimizer::V1) != (name == "iterations");
        let (own, others): (Counters<'a>, Counters<'a>) = counters.into_iter().partition(|(name, _)| own(name));
        (own, others.into_iter().map(|(_, variable)| variable).collect())
    }

    /// Puts the state into the tree. `order` are the trainable variables, and `objects` all of the model's.
    pub(super) fn add<'a>(
        self,
        tree: &mut ObjectTree<'a>,
        optimizer: ObjectId,
        mut state: OptimizerState<'a>,
        order: &[String],
        objects: &HashMap<String, ObjectId>,
    ) -> Result<()> {
        match self {
            ObjectOptimizer::V1 => {
                for (name, counter) in state.counters {
                    let object = tree.child(optimizer, &name);
                    tree.set(object, counter)?;
                }
                references(tree, optimizer, state.slots, objects)
            }
            ObjectOptimizer::Keras2Legacy => {
                iterations(tree, optimizer, "iter", &mut state)?;
                hyperparameters(tree, optimizer, "", &state.hyperparameters)?;
                references(tree, optimizer, state.slots, objects)
            }
            ObjectOptimizer::Keras2 | ObjectOptimizer::Keras3 => self.lists(tree, optimizer, state, order, objects),
        }
    }

    /// Parallel lists: one of everything, one of the trainable variables, one for each slot.
    fn lists<'a>(
        self,
        tree: &mut ObjectTree<'a>,
        optimizer: ObjectId,
        mut state: OptimizerState<'a>,
        order: &[String],
        objects: &HashMap<String, ObjectId>,
    ) -> Result<()> {
        let variables = tree.child(optimizer, "_variables");
        let trainable = tree.child(optimizer, "_trainable_variables");
        let step = iterations(tree, optimizer, "_iterations", &mut state)?;
        let rate = hyperparameters(tree, optimizer, "_", &state.hyperparameters)?;
        tree.alias(variables, "0", step);
        let mut first = 1;
        if let Some(rate) = rate.filter(|_| self == ObjectOptimizer::Keras3) {
            tree.alias(variables, "1", rate);
            first = 2;
        }
        let width = state.slots.values().map(BTreeMap::len).max().unwrap_or_default();
        for (index, name) in order.iter().enumerate() {
            let object = *objects.get(name).ok_or_else(|| no_place(name))?;
            tree.alias(trainable, &index.to_string(), object);
            for (place, (slot, moment)) in state.slots.remove(name).into_iter().flatten().enumerate() {
                let list = match slot {
                    "m" => "_momentums",
                    "v" => "_velocities",
                    "momentum" => "momentums",
                    _ => return Err(no_place(&moment.name())),
                };
                let object = tree.child(variables, &(first + index * width + place).to_string());
                tree.set(object, moment)?;
                let list = tree.child(optimizer, list);
                tree.alias(list, &index.to_string(), object);
            }
        }
        let left = state.slots.values().flat_map(BTreeMap::values).next();
        left.map_or(Ok(()), |moment| Err(no_place(&moment.name())))
    }
}

/// Slot variables, which no object holds.
fn references<'a>(
    tree: &mut ObjectTree<'a>,
    optimizer: ObjectId,
    slots: BTreeMap<String, Moments<'a>>,
    objects: &HashMap<String, ObjectId>,
) -> Result<()> {
    for (name, moments) in slots {
        let object = *objects.get(&name).ok_or_else(|| no_place(&name))?;
        for (slot, moment) in moments {
            tree.slot(optimizer, object, slot, moment)?;
        }
    }
    Ok(())
}

fn iterations<'a>(
    tree: &mut ObjectTree<'a>,
    optimizer: ObjectId,
    name: &str,
    state: &mut OptimizerState<'a>,
) -> Result<ObjectId> {
    let counter = match (state.counters.pop(), state.iterations) {
        (Some((_, counter)), _) => counter,
        (None, Some(count)) => Variable::scalar("optimizer/iterations", count),
        (None, None) => {
            return Err(Error::invalid(
                "an optimizer of Keras counts its steps: give them with `ObjectLayout::iterations`",
            ));
        }
    };
    let object = tree.child(optimizer, name);
    tree.set(object, counter)?;
    Ok(object)
}

/// Adds the hyperparameters, and tells where the learning rate is.
fn hyperparameters(
    tree: &mut ObjectTree<'_>,
    optimizer: ObjectId,
    private: &str,
    values: &BTreeMap<String, f32>,
) -> Result<Option<ObjectId>> {
    let mut rate = None;
    for (name, &value) in values {
        let object = tree.child(optimizer, &format!("{private}{name}"));
        tree.set(object, Variable::scalar(format!("optimizer/{name}"), value))?;
        rate = rate.or((name == "learning_rate").then_some(object));
    }
    Ok(rate)
}

fn no_place(name: &str) -> Error {
    Error::NoPlace {
        name: name.to_owned(),
        candidates: Vec::new(),
    }
}
