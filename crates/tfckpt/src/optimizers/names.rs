//! The names of all that an optimizer keeps.

use std::collections::BTreeSet;

use super::kind::{Convention, OptimizerKind, Row, Slot, singular};

/// A number of an optimizer itself, a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Counter {
    /// How many steps it has made, an int64. Optimizers of V1 do not count them; theirs is an addition of ours.
    Iterations,
    /// The learning rate, a float32: of Keras, unless it follows a schedule.
    LearningRate,
    /// The first beta to the power of the next step, a float32: of V1.
    Beta1Power,
    /// The second beta to the power of the next step, a float32: of V1.
    Beta2Power,
    /// The product of the momenta that Nadam of Keras has used so far, in the dtype of the first variable.
    MomentumProduct,
}

/// What the state of an optimizer is called in a checkpoint.
///
/// ```
/// use tfckpt::optimizers::{Convention, Counter, OptimizerKind, OptimizerNames, Slot};
///
/// let names = OptimizerNames::new(OptimizerKind::Adam, Convention::V1);
/// assert_eq!(names.slot("fc/kernel", Slot::SecondMoment), ["fc/kernel/Adam_1"]);
/// assert_eq!(names.counter(Counter::Beta1Power), ["beta1_power"]);
///
/// let names = OptimizerNames::new(OptimizerKind::Adam, Convention::Keras3);
/// let velocity = names.slot("fc/kernel", Slot::SecondMoment);
/// assert_eq!(velocity, ["adam/fc_kernel_velocity", "fc/kernel/velocity"]);
/// assert_eq!(names.counter(Counter::Iterations), ["adam/iteration", "optimizer/_iterations"]);
/// ```
///
/// Of several names the first is the one to write. On reading the first one that is there counts: a checkpoint that
/// was saved by names has the first; in an object-based one, which holds variables by their places, the others find them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptimizerNames {
    kind: OptimizerKind,
    convention: Convention,
    /// In the order in which they are made.
    slots: Vec<Slot>,
    name: String,
    scope: String,
    /// Where the powers of the betas are, if not in the scope itself.
    counters: Option<String>,
    /// Slots of the same name that earlier optimizers made, for V1.
    slots_before: usize,
    /// Earlier optimizers with powers, and those with this name.
    powers_before: usize,
    names_before: usize,
}

impl OptimizerNames {
    /// The optimizer with its usual name, and the slots that it has without options.
    pub fn new(kind: OptimizerKind, convention: Convention) -> Self {
        OptimizerNames {
            kind,
            convention,
            slots: kind.always(convention).collect(),
            name: kind.default_name(convention).to_owned(),
            scope: String::new(),
            counters: None,
            slots_before: 0,
            powers_before: 0,
            names_before: 0,
        }
        .with_slots([])
    }

    /// Has these slots, too, by its options: momentum, a mean, the maximum of `amsgrad`, a moving average.
    #[must_use]
    pub fn with_slots(mut self, slots: impl IntoIterator<Item = Slot>) -> Self {
        let all: BTreeSet<Slot> = self.slots.iter().copied().chain(slots).collect();
        self.slots = self.kind.in_order(self.convention, &all);
        self
    }

    /// The `name` that the Python class is given. Default: [`OptimizerKind::default_name`].
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The variable scope in which the optimizer of V1 is made, or the name scope of legacy Keras, `training`, in which it
    /// is when a graph is saved by names. Default: none.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        if !self.scope.is_empty() && !self.scope.ends_with('/') {
            self.scope.push('/');
        }
        self
    }

    /// The powers of the betas of V1 are in this scope, as they are if the optimizer alone is made in it. Default: they are
    /// called `beta1_power` in the optimizer's own scope, whatever the optimizer is called.
    #[must_use]
    pub fn counters_in(mut self, scope: impl Into<String>) -> Self {
        self.counters = Some(scope.into());
        self
    }

    /// These optimizers were made before, in the same program, with the same variables. What would be called the same is
    /// numbered by TensorFlow: `fc/kernel/Adam_2` and `beta1_power_1` are of the second Adam, `adam_1/iteration` in Keras 3.
    #[must_use]
    pub fn after<'n>(mut self, earlier: impl IntoIterator<Item = &'n OptimizerNames>) -> Self {
        let same = |other: &&OptimizerNames| other.convention == self.convention && other.scope == self.scope;
        let earlier: Vec<&OptimizerNames> = earlier.into_iter().filter(same).collect();
        let named: Vec<_> = earlier.iter().filter(|other| other.name == self.name).collect();
        self.names_before = named.len();
        let own = |slot: &&Slot| **slot != Slot::Average;
        self.slots_before = named.iter().map(|other| other.slots.iter().filter(own).count()).sum();
        let powers = |other: &&&OptimizerNames| other.counters.is_none() && other.has(Counter::Beta1Power);
        self.powers_before = earlier.iter().filter(powers).count();
        self
    }

    /// The kind of the optimizer.
    pub fn kind(&self) -> OptimizerKind {
        self.kind
    }

    /// How it calls its state.
    pub fn convention(&self) -> Convention {
        self.convention
    }

    /// The slots that it has, in the order in which TensorFlow makes them.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The names of a slot of `variable`, which is the variable's own name in the checkpoint. None if the optimizer does not
    /// have the slot.
    pub fn slot(&self, variable: &str, slot: Slot) -> Vec<String> {
        let own: Vec<Slot> = self.slots.iter().copied().filter(|own| *own != Slot::Average).collect();
        if self.convention == Convention::V1 {
            return match own.iter().position(|own| *own == slot) {
                _ if slot == Slot::Average && self.slots.contains(&slot) => {
                    vec![format!("{variable}/ExponentialMovingAverage")]
                }
                Some(at) => vec![self.numbered_slot(variable, self.slots_before + at)],
                None => Vec::new(),
            };
        }
        match (self.slots.contains(&slot), self.kind.row(slot)) {
            (true, Some(row)) => {
                let list = self.kind.object_slot(self.convention, slot);
                self.keras_slot(variable, row.word(self.convention), list)
            }
            _ => Vec::new(),
        }
    }

    fn numbered_slot(&self, variable: &str, number: usize) -> String {
        let number = if number > 0 {
            format!("_{number}")
        } else {
            String::new()
        };
        format!("{}{variable}/{}{number}", self.scope, self.name)
    }

    fn keras_slot(&self, variable: &str, word: &str, list: Option<&str>) -> Vec<String> {
        let (scope, name) = (&self.scope, self.keras_name());
        match self.convention {
            Convention::Keras2 => vec![
                format!("{scope}{name}/{word}/{variable}"),
                format!("{word}/{variable}"),
                format!("{variable}/{word}"),
            ],
            Convention::Keras3 => vec![
                format!("{scope}{name}/{}_{word}", variable.replace('/', "_")),
                format!("{variable}/{}", list.map_or(word.to_owned(), singular)),
            ],
            _ => vec![format!("{scope}{name}/{variable}/{word}"), format!("{variable}/{word}")],
        }
    }

    /// Keras 3 numbers optimizers, the others do not.
    fn keras_name(&self) -> String {
        match (self.convention, self.names_before) {
            (Convention::Keras3, number @ 1..) => format!("{}_{number}", self.name),
            _ => self.name.clone(),
        }
    }

    /// The numbers of the optimizer itself that a checkpoint may have.
    pub fn counters(&self) -> Vec<Counter> {
        let all = [
            Counter::Iterations,
            Counter::LearningRate,
            Counter::Beta1Power,
            Counter::Beta2Power,
            Counter::MomentumProduct,
        ];
        all.into_iter().filter(|counter| self.has(*counter)).collect()
    }

    fn has(&self, counter: Counter) -> bool {
        let is_v1 = self.convention == Convention::V1;
        match counter {
            Counter::Iterations => true,
            Counter::LearningRate => !is_v1,
            Counter::Beta1Power | Counter::Beta2Power => {
                use OptimizerKind::{Adam, AdamW, Adamax, Nadam};
                is_v1 && matches!(self.kind, Adam | AdamW | Adamax | Nadam)
            }
            Counter::MomentumProduct => !is_v1 && self.kind == OptimizerKind::Nadam,
        }
    }

    /// The names of such a number. None if the optimizer does not have it.
    pub fn counter(&self, counter: Counter) -> Vec<String> {
        if !self.has(counter) {
            return Vec::new();
        }
        let (scope, name) = (&self.scope, self.keras_name());
        let numbered = |word: &str, number: usize| match (&self.counters, number) {
            (Some(own), _) => format!("{scope}{own}/{word}"),
            (None, 0) => format!("{scope}{word}"),
            (None, number) => format!("{scope}{word}_{number}"),
        };
        let named = |word: &str| format!("{scope}{name}/{word}");
        match (counter, self.convention) {
            (Counter::Beta1Power, _) => vec![numbered("beta1_power", self.powers_before)],
            (Counter::Beta2Power, _) => vec![numbered("beta2_power", self.powers_before)],
            (Counter::Iterations, Convention::V1) => match self.names_before {
                0 => vec![named("iterations")],
                number => vec![format!("{scope}{name}_{number}/iterations")],
            },
            (Counter::Iterations, Convention::Keras2Legacy) => vec![named("iter"), "optimizer/iter".to_owned()],
            (Counter::LearningRate, Convention::Keras2Legacy) => {
                vec![named("learning_rate"), "optimizer/learning_rate".to_owned()]
            }
            (Counter::MomentumProduct, Convention::Keras2Legacy) => {
                vec![named("momentum_cache"), "optimizer/momentum_cache".to_owned()]
            }
            (Counter::Iterations, Convention::Keras2) => vec![
                named("iteration"),
                "iteration".to_owned(),
                "optimizer/_iterations".to_owned(),
            ],
            (Counter::LearningRate, Convention::Keras2) => vec![
                named("learning_rate"),
                "learning_rate".to_owned(),
                "optimizer/_learning_rate".to_owned(),
            ],
            (Counter::Iterations, _) => vec![named("iteration"), "optimizer/_iterations".to_owned()],
            (Counter::LearningRate, _) => vec![named("learning_rate"), "optimizer/_learning_rate".to_owned()],
            // Keras makes it without a name, so that it is called after its class.
            (Counter::MomentumProduct, Convention::Keras2) => {
                vec![named("Variable"), "optimizer/_u_product".to_owned()]
            }
            (Counter::MomentumProduct, _) => vec![named("variable"), "optimizer/_u_product".to_owned()],
        }
    }

    /// A variable of a checkpoint that shows that the state there for `variable` is of another optimizer, or of one with
    /// other options, though all names of this one may be there: the velocity of Adam next to its momentum, which alone
    /// would be that of gradient descent. `is_there` tells whether the checkpoint has a variable.
    ///
    /// What no name can show: an optimizer of the same slots, such as Adam for AdamW.
    pub fn of_another(&self, variable: &str, is_there: impl Fn(&str) -> bool) -> Option<String> {
        let own: Vec<Slot> = self
            .slots
            .iter()
            .copied()
            .filter(|slot| *slot != Slot::Average)
            .collect();
        if self.convention == Convention::V1 {
            // The state of a further optimizer of this name is as wide as this one's.
            let name = |number: usize| self.numbered_slot(variable, self.slots_before + own.len() + number);
            let further = (0..).take_while(|&number| is_there(&name(number))).count();
            let whole = own.is_empty() || further % own.len() == 0;
            return (!whole).then(|| name(0));
        }
        // Adam's words for its moments stand for each other when a variable is looked for.
        let mut known: BTreeSet<&str> = own
            .iter()
            .filter_map(|slot| self.kind.row(*slot))
            .flat_map(Row::words)
            .collect();
        for pair in [["m", "momentum"], ["v", "velocity"]] {
            if pair.iter().any(|word| known.contains(word)) {
                known.extend(pair);
            }
        }
        let rows = OptimizerKind::ALL.iter().flat_map(|kind| {
            let list = |slot| kind.object_slot(self.convention, slot);
            kind.rows()
                .iter()
                .map(move |row| (row.word(self.convention), list(row.slot)))
        });
        let rows = rows.filter(|(word, list)| {
            let object = list.map(singular);
            !known.contains(word) && !object.is_some_and(|object| known.contains(object.as_str()))
        });
        let mut names = rows.flat_map(|(word, list)| self.keras_slot(variable, word, list));
        names
            .find(|name| is_there(name))
            .or_else(|| self.of_another_object(&is_there))
    }

    /// What the Python object of another optimizer has beside slots of the same names: the product of Nadam's momentums, and
    /// in Keras 3 the list in which Lion keeps what gradient descent calls the same.
    fn of_another_object(&self, is_there: &impl Fn(&str) -> bool) -> Option<String> {
        const NADAM: &str = "optimizer/_u_product";
        const OLD_NADAM: &str = "optimizer/momentum_cache";
        // The first of these is found as the second, too, but not the other way round.
        const LION: &str = "optimizer/_momentums/0";
        const SGD: &str = "optimizer/momentums/0";
        let is_object = ["optimizer/_iterations", "optimizer/iter"].into_iter().any(is_there);
        let is_keras3 = self.convention == Convention::Keras3;
        let found = match self.kind {
            _ if !is_object => None,
            OptimizerKind::Nadam => None,
            _ if is_there(NADAM) => Some(NADAM),
            _ if is_there(OLD_NADAM) => Some(OLD_NADAM),
            OptimizerKind::Sgd if is_keras3 && is_there(LION) => Some(LION),
            OptimizerKind::Lion if is_keras3 && is_there(SGD) && !is_there(LION) => Some(SGD),
            _ => None,
        };
        found.map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Convention::{Keras2, Keras2Legacy, Keras3, V1};
    use OptimizerKind::{Adam, Adamax, Lion, Nadam, RmsProp, Sgd};

    /// The first name of each slot and counter.
    fn written(names: &OptimizerNames) -> Vec<String> {
        let slots = names.slots().iter().map(|slot| names.slot("d/kernel", *slot));
        let counters = names.counters().into_iter().map(|counter| names.counter(counter));
        slots.chain(counters).map(|names| names[0].clone()).collect()
    }

    #[test]
    fn names_are_those_that_tensorflow_gave() {
        let names = OptimizerNames::new(RmsProp, V1);
        assert_eq!(
            written(&names),
            ["d/kernel/RMSProp", "d/kernel/RMSProp_1", "RMSProp/iterations"]
        );
        let names = names.with_slots([Slot::MeanGradient]);
        assert_eq!(names.slot("d/kernel", Slot::MeanGradient), ["d/kernel/RMSProp_1"]);
        assert_eq!(names.slot("d/kernel", Slot::Momentum), ["d/kernel/RMSProp_2"]);
        let expected = [
            "adamax/d_kernel_momentum",
            "adamax/d_kernel_norm",
            "adamax/iteration",
            "adamax/learning_rate",
        ];
        assert_eq!(written(&OptimizerNames::new(Adamax, Keras3)), expected);
        assert_eq!(
            OptimizerNames::new(Adamax, Keras3).slot("d/kernel", Slot::Norm)[1],
            "d/kernel/u"
        );
        let expected = [
            "training/Adam/d/kernel/m",
            "training/Adam/d/kernel/v",
            "training/Adam/iter",
            "training/Adam/learning_rate",
        ];
        assert_eq!(
            written(&OptimizerNames::new(Adam, Keras2Legacy).scope("training")),
            expected
        );
        let expected = [
            "Nadam/m/d/kernel",
            "Nadam/v/d/kernel",
            "Nadam/iteration",
            "Nadam/learning_rate",
            "Nadam/Variable",
        ];
        assert_eq!(written(&OptimizerNames::new(Nadam, Keras2)), expected);
        let sgd = OptimizerNames::new(Sgd, V1);
        assert_eq!(written(&sgd), ["Momentum/iterations"]);
        assert_eq!(sgd.slot("d/kernel", Slot::Momentum), [""; 0]);
        let named = sgd.with_slots([Slot::Momentum]).named("Mine").scope("train");
        assert_eq!(written(&named), ["train/d/kernel/Mine", "train/Mine/iterations"]);
    }

    #[test]
    fn a_second_optimizer_is_numbered_as_tensorflow_does() {
        let first = OptimizerNames::new(Adam, V1);
        let second = first.clone().after([&first]);
        let expected = [
            "d/kernel/Adam_2",
            "d/kernel/Adam_3",
            "Adam_1/iterations",
            "beta1_power_1",
            "beta2_power_1",
        ];
        assert_eq!(written(&second), expected);
        let other = first.clone().named("Other").after([&first, &second]);
        assert_eq!(written(&other)[..2], ["d/kernel/Other", "d/kernel/Other_1"]);
        assert_eq!(other.counter(Counter::Beta2Power), ["beta2_power_2"]);
        let scoped = first.clone().scope("train").after([&first]);
        assert_eq!(written(&scoped)[..2], ["train/d/kernel/Adam", "train/d/kernel/Adam_1"]);
        assert_eq!(scoped.counter(Counter::Beta1Power), ["train/beta1_power"]);
        let own = first.clone().named("Critic").counters_in("Critic");
        assert_eq!(own.counter(Counter::Beta1Power), ["Critic/beta1_power"]);
        let keras = OptimizerNames::new(Lion, Keras3);
        assert_eq!(
            keras.clone().after([&keras]).slot("d/kernel", Slot::FirstMoment)[0],
            "lion_1/d_kernel_momentum"
        );
    }

    #[test]
    fn slots_of_another_optimizer_show() {
        let there = |names: &'static [&'static str]| move |name: &str| names.contains(&name);
        let sgd = OptimizerNames::new(Sgd, Keras3).with_slots([Slot::Momentum]);
        assert_eq!(sgd.of_another("d/k", there(&["d/k", "d/k/momentum"])), None);
        let adam = there(&["d/k", "d/k/momentum", "d/k/velocity"]);
        assert_eq!(sgd.of_another("d/k", adam).as_deref(), Some("d/k/velocity"));
        assert_eq!(OptimizerNames::new(Adam, Keras3).of_another("d/k", adam), None);
        let plain = OptimizerNames::new(RmsProp, V1);
        let centered = there(&["d/k/RMSProp", "d/k/RMSProp_1", "d/k/RMSProp_2"]);
        assert_eq!(plain.of_another("d/k", centered).as_deref(), Some("d/k/RMSProp_2"));
        assert_eq!(
            plain
                .clone()
                .with_slots([Slot::MeanGradient])
                .of_another("d/k", centered),
            None
        );
        let twice = there(&["d/k/RMSProp", "d/k/RMSProp_1", "d/k/RMSProp_2", "d/k/RMSProp_3"]);
        assert_eq!(plain.of_another("d/k", twice), None);
    }
}
