//! The optimizers, and the slots that they have.

use std::collections::{BTreeMap, BTreeSet};

/// The generations of TensorFlow's optimizers, by how they hold and call their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Convention {
    /// `tf.compat.v1.train`: slot variables, and for Adam the powers of its betas.
    V1,
    /// Keras before 2.11, since then `tf.keras.optimizers.legacy`: slot variables, `iter` and hyperparameters.
    Keras2Legacy,
    /// Keras from 2.11 on: lists, iterations, learning rate.
    Keras2,
    /// Keras 3: lists, iterations, learning rate.
    Keras3,
}

/// What an optimizer keeps for each variable that it trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Slot {
    /// The momentum of gradient descent and of RMSProp. For V1 the first is a sum of gradients, else it is a step.
    Momentum,
    /// The mean of gradients: `m`.
    FirstMoment,
    /// The mean of squared gradients: `v` of Adam, `rms` of RMSProp.
    SecondMoment,
    /// The largest second moment so far, for which Adam has the option `amsgrad`: `vhat`.
    MaxSecondMoment,
    /// The infinity norm of Adamax: `u`.
    Norm,
    /// The mean of gradients that a centered RMSProp subtracts: `mg`.
    MeanGradient,
    /// The sum of squared gradients of Adagrad and Ftrl, or their mean in Adadelta.
    Accumulator,
    /// The mean of squared steps of Adadelta.
    UpdateAccumulator,
    /// The linear term of Ftrl.
    Linear,
    /// The moving average of the variable itself: `use_ema` of Keras.
    Average,
}

/// The optimizers of TensorFlow and Keras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OptimizerKind {
    /// Gradient descent, with or without momentum.
    Sgd,
    /// Adam, with or without `amsgrad`.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// RMSProp, with or without momentum and mean.
    RmsProp,
    /// Adagrad.
    Adagrad,
    /// Adadelta.
    Adadelta,
    /// Adam with the infinity norm.
    Adamax,
    /// Adam with Nesterov's momentum.
    Nadam,
    /// Lion, of Keras from 2.11 on.
    Lion,
    /// Ftrl.
    Ftrl,
}

/// A slot of a kind of optimizers.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) slot: Slot,
    /// What the Python class of V1 calls it; its name in a checkpoint is that of the optimizer.
    v1: &'static str,
    legacy: &'static str,
    keras2: &'static str,
    keras3: &'static str,
    list: &'static str,
    /// Slots of one group are made together, variable by variable; those of another one for all variables after them.
    group: usize,
    /// Whether optimizers without options have it.
    always: bool,
}

impl Row {
    /// What the slot is called, as a part of a name. For V1 as an object, which is not its name.
    pub(super) fn word(&self, convention: Convention) -> &'static str {
        match convention {
            Convention::V1 => self.v1,
            Convention::Keras2Legacy => self.legacy,
            Convention::Keras2 => self.keras2,
            Convention::Keras3 => self.keras3,
        }
    }

    /// What the slot is called in all conventions.
    pub(super) fn words(&self) -> [&'static str; 4] {
        [self.v1, self.legacy, self.keras2, self.keras3]
    }
}

const fn row(slot: Slot, words: [&'static str; 4], list: &'static str) -> Row {
    let [v1, legacy, keras2, keras3] = words;
    Row {
        slot,
        v1,
        legacy,
        keras2,
        keras3,
        list,
        group: 0,
        always: true,
    }
}

const fn option(row: Row, group: usize) -> Row {
    Row {
        group,
        always: false,
        ..row
    }
}

use Slot::{
    Accumulator, Average, FirstMoment, Linear, MaxSecondMoment, MeanGradient, Momentum, Norm, SecondMoment,
    UpdateAccumulator,
};

const MOMENTUM: [&str; 4] = ["momentum", "momentum", "momentum", "momentum"];
const ACCUMULATOR: &str = "accumulator";

const FIRST: Row = row(FirstMoment, ["m", "m", "m", "momentum"], "_momentums");
const SECOND: Row = row(SecondMoment, ["v", "v", "v", "velocity"], "_velocities");
const MAX: Row = option(
    row(
        MaxSecondMoment,
        ["vhat", "vhat", "vhat", "velocity_hat"],
        "_velocity_hats",
    ),
    1,
);

static SGD: [Row; 1] = [option(
    row(Momentum, ["momentum", "momentum", "m", "momentum"], "momentums"),
    0,
)];
static ADAM: [Row; 3] = [FIRST, SECOND, MAX];
static NADAM: [Row; 2] = [FIRST, SECOND];
static RMS_PROP: [Row; 3] = [
    row(SecondMoment, ["rms", "rms", "velocity", "velocity"], "_velocities"),
    option(row(Momentum, MOMENTUM, "_momentums"), 1),
    option(
        row(
            MeanGradient,
            ["mg", "mg", "average_gradient", "average_gradient"],
            "_average_gradients",
        ),
        2,
    ),
];
static ADAGRAD: [Row; 1] = [row(Accumulator, [ACCUMULATOR; 4], "_accumulators")];
static ADADELTA: [Row; 2] = [
    row(
        Accumulator,
        ["accum", "accum_grad", "accumulated_grad", "accumulated_grad"],
        "_accumulated_grads",
    ),
    row(
        UpdateAccumulator,
        [
            "accum_update",
            "accum_var",
            "accumulated_delta_var",
            "accumulated_delta_var",
        ],
        "_accumulated_delta_vars",
    ),
];
static ADAMAX: [Row; 2] = [
    row(FirstMoment, ["m", "m", "m", "momentum"], "_m"),
    row(Norm, ["v", "v", "u", "norm"], "_u"),
];
static LION: [Row; 1] = [row(FirstMoment, ["m", "m", "m", "momentum"], "_momentums")];
static FTRL: [Row; 2] = [
    row(
        Accumulator,
        ["accum", ACCUMULATOR, ACCUMULATOR, ACCUMULATOR],
        "_accumulators",
    ),
    row(Linear, ["linear", "linear", "linear", "linear"], "_linears"),
];

/// The moving average, which any optimizer of Keras can keep.
static AVERAGE: [Row; 1] = [row(Average, ["average"; 4], "_model_variables_moving_average")];

impl OptimizerKind {
    /// All of them; those with fewer slots first.
    pub const ALL: [OptimizerKind; 10] = [
        OptimizerKind::Sgd,
        OptimizerKind::Adagrad,
        OptimizerKind::Adam,
        OptimizerKind::AdamW,
        OptimizerKind::RmsProp,
        OptimizerKind::Adadelta,
        OptimizerKind::Adamax,
        OptimizerKind::Nadam,
        OptimizerKind::Lion,
        OptimizerKind::Ftrl,
    ];

    /// In the order in which Keras makes them, but for the average.
    pub(super) fn rows(self) -> &'static [Row] {
        match self {
            OptimizerKind::Sgd => &SGD,
            OptimizerKind::Adam | OptimizerKind::AdamW => &ADAM,
            OptimizerKind::RmsProp => &RMS_PROP,
            OptimizerKind::Adagrad => &ADAGRAD,
            OptimizerKind::Adadelta => &ADADELTA,
            OptimizerKind::Adamax => &ADAMAX,
            OptimizerKind::Nadam => &NADAM,
            OptimizerKind::Lion => &LION,
            OptimizerKind::Ftrl => &FTRL,
        }
    }

    pub(super) fn row(self, slot: Slot) -> Option<&'static Row> {
        self.rows().iter().chain(&AVERAGE).find(|row| row.slot == slot)
    }

    /// The slots that it has in any case.
    pub(super) fn always(self, convention: Convention) -> impl Iterator<Item = Slot> {
        let momentum = (self, convention) == (OptimizerKind::RmsProp, Convention::V1);
        let rows = self.rows().iter();
        rows.filter(move |row| row.always || (momentum && row.slot == Momentum))
            .map(|row| row.slot)
    }

    /// Slots in the order in which TensorFlow makes them for one variable, by which V1 numbers them.
    pub(super) fn in_order(self, convention: Convention, slots: &BTreeSet<Slot>) -> Vec<Slot> {
        let mut order: Vec<Slot> = self.rows().iter().map(|row| row.slot).collect();
        if (self, convention) == (OptimizerKind::RmsProp, Convention::V1) {
            order = vec![SecondMoment, MeanGradient, Momentum];
        }
        let others: Vec<Slot> = slots.iter().copied().filter(|slot| !order.contains(slot)).collect();
        order.retain(|slot| slots.contains(slot));
        order.extend(others);
        order
    }

    /// The groups of slots that Keras makes one after the other in its list of all variables; within a group the slots
    /// of the first variable come first.
    pub(crate) fn groups(self) -> Vec<Vec<Slot>> {
        let mut groups = vec![vec![Average]];
        for row in self.rows() {
            let at = row.group + 1;
            if groups.len() <= at {
                groups.resize_with(at + 1, Vec::new);
            }
            if let Some(group) = groups.get_mut(at) {
                group.push(row.slot);
            }
        }
        groups
    }

    /// What the Python object calls the slot: the name of a slot variable of V1 and of legacy Keras, `m`; the attribute
    /// that holds the list of Keras, `_momentums`. `None` if its optimizers have no such slot.
    pub fn object_slot(self, convention: Convention, slot: Slot) -> Option<&'static str> {
        let row = self.row(slot)?;
        match (convention, self) {
            (Convention::V1, _) => (slot != Average && slot != MaxSecondMoment).then_some(row.v1),
            (Convention::Keras2Legacy, _) => (slot != Average).then_some(row.legacy),
            (Convention::Keras2, OptimizerKind::Lion) if slot == FirstMoment => Some("momentums"),
            (Convention::Keras2 | Convention::Keras3, _) => Some(row.list),
        }
    }

    /// What the optimizer is called if nobody says otherwise: `Adam`, `adam` in Keras 3. For V1 it is the name of the slots,
    /// `Momentum`.
    pub fn default_name(self, convention: Convention) -> &'static str {
        let [v1, keras2, keras3] = match self {
            OptimizerKind::Sgd => ["Momentum", "SGD", "sgd"],
            OptimizerKind::Adam => ["Adam", "Adam", "adam"],
            OptimizerKind::AdamW => ["AdamW", "AdamW", "adam_w"],
            OptimizerKind::RmsProp => ["RMSProp", "RMSprop", "rm_sprop"],
            OptimizerKind::Adagrad => ["Adagrad", "Adagrad", "adagrad"],
            OptimizerKind::Adadelta => ["Adadelta", "Adadelta", "adadelta"],
            OptimizerKind::Adamax => ["AdaMax", "Adamax", "adamax"],
            // `tf.contrib.opt.NadamOptimizer` is an Adam by name.
            OptimizerKind::Nadam => ["Adam", "Nadam", "nadam"],
            OptimizerKind::Lion => ["Lion", "Lion", "lion"],
            OptimizerKind::Ftrl => ["Ftrl", "Ftrl", "ftrl"],
        };
        match convention {
            Convention::V1 => v1,
            Convention::Keras2Legacy | Convention::Keras2 => keras2,
            Convention::Keras3 => keras3,
        }
    }

    /// The slot that is the last component of a variable's name in some convention; `words` are all of them.
    fn slot_called(self, word: &str, words: &BTreeSet<&str>) -> Option<Slot> {
        let is_called = |row: &Row| {
            row.words().contains(&word)
                || [Convention::Keras2, Convention::Keras3]
                    .iter()
                    .filter_map(|&convention| self.object_slot(convention, row.slot))
                    .any(|list| singular(list) == word)
        };
        let rows = self.rows().iter().chain(&AVERAGE);
        if let Some(row) = rows.into_iter().find(|row| is_called(row)) {
            return Some(row.slot);
        }
        let number = numbered(word, self.default_name(Convention::V1))?;
        let present: BTreeSet<Slot> = self
            .always(Convention::V1)
            .chain(self.rows().iter().map(|row| row.slot))
            .collect();
        let mut order = self.in_order(Convention::V1, &present);
        if self == OptimizerKind::RmsProp && !words.contains("RMSProp_2") {
            order.retain(|slot| *slot != MeanGradient);
        }
        order.get(number).copied()
    }
}

/// The number of `NAME_2`, which is 0 for `NAME`.
fn numbered(word: &str, name: &str) -> Option<usize> {
    let rest = word.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(0);
    }
    rest.strip_prefix('_')?.parse().ok().filter(|number| *number > 0)
}

/// The optimizer whose slots these last components of names may be, and the slot of each. `None` if there is none that has
/// them all. Of those that cannot be told apart, as Adam and AdamW, it is the first of [`OptimizerKind::ALL`].
pub(crate) fn told_by<'w>(words: &BTreeSet<&'w str>) -> Option<(OptimizerKind, BTreeMap<&'w str, Slot>)> {
    OptimizerKind::ALL.iter().find_map(|&kind| {
        let slots = words.iter().map(|word| Some((*word, kind.slot_called(word, words)?)));
        let slots: BTreeMap<&str, Slot> = slots.collect::<Option<_>>()?;
        let has = |slot: Slot| slots.values().any(|there| *there == slot);
        let whole = kind.rows().iter().all(|row| !row.always || has(row.slot));
        whole.then_some((kind, slots))
    })
}

/// `_velocities` is a list of velocities.
pub(crate) fn singular(list: &str) -> String {
    let name = list.trim_start_matches('_');
    match (name.strip_suffix("ies"), name.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(stem)) => stem.to_owned(),
        (None, None) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&'static str]) -> Option<(OptimizerKind, Vec<Slot>)> {
        let (kind, slots) = told_by(&words.iter().copied().collect())?;
        Some((kind, words.iter().map(|word| slots[word]).collect()))
    }

    #[test]
    fn the_slots_tell_the_optimizer_where_they_can() {
        let adam = (OptimizerKind::Adam, vec![FirstMoment, SecondMoment]);
        for words in [["Adam", "Adam_1"], ["m", "v"], ["momentum", "velocity"]] {
            assert_eq!(told(&words), Some(adam.clone()), "{words:?}");
        }
        let rms = |slots: &[Slot]| Some((OptimizerKind::RmsProp, slots.to_vec()));
        assert_eq!(told(&["RMSProp", "RMSProp_1"]), rms(&[SecondMoment, Momentum]));
        let centered = ["RMSProp", "RMSProp_1", "RMSProp_2"];
        assert_eq!(told(&centered), rms(&[SecondMoment, MeanGradient, Momentum]));
        assert_eq!(told(&["rms", "mg"]), rms(&[SecondMoment, MeanGradient]));
        assert_eq!(told(&["velocity"]), rms(&[SecondMoment]));
        assert_eq!(told(&["momentum"]), Some((OptimizerKind::Sgd, vec![Momentum])));
        assert_eq!(told(&["Momentum"]), Some((OptimizerKind::Sgd, vec![Momentum])));
        assert_eq!(
            told(&["accumulator"]),
            Some((OptimizerKind::Adagrad, vec![Accumulator]))
        );
        let ftrl = Some((OptimizerKind::Ftrl, vec![Accumulator, Linear]));
        assert_eq!(told(&["accumulator", "linear"]), ftrl);
        assert_eq!(told(&["Ftrl", "Ftrl_1"]), ftrl);
        assert_eq!(
            told(&["momentum", "norm"]),
            Some((OptimizerKind::Adamax, vec![FirstMoment, Norm]))
        );
        assert_eq!(told(&["Adam", "Momentum"]), None);
        assert_eq!(told(&["Adam", "thing"]), None);
    }
}
