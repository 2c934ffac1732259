//! The states of optimizers that are known, and what of them TensorFlow has as well.

use tfckpt::optimizers::{Convention, OptimizerKind, OptimizerNames, Slot};

use super::Naming;
use super::traits::Traits;

/// Optimizers whose states have the same fields.
#[derive(Debug)]
pub(crate) struct Family {
    /// What it is called in errors.
    pub(crate) name: &'static str,
    /// What it is to TensorFlow; the first is what is written.
    kinds: &'static [OptimizerKind],
    pub(crate) parts: &'static [(&'static str, Part)],
    meaning: Meaning,
}

/// What a field of a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A tensor that TensorFlow has as a slot.
    Slot(Slot),
    /// A tensor that TensorFlow does not have.
    Own,
    /// A tensor that the optimizer computes anew from others before it uses it.
    Derived,
    /// How many steps the parameter has seen.
    Time,
    /// The power of the first beta for the next step.
    Power1,
    /// The power of the second beta for the next step.
    Power2,
    /// The product of momenta.
    Product,
    /// The learning rate of the last step, from which nothing is computed.
    Rate,
}

/// Where a state means what TensorFlow means.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// Everywhere.
    Same,
    /// In Keras alone.
    Keras,
    /// In V1, where a momentum is a sum of gradients.
    SumOfGradients,
    /// The same, if it has no dampening.
    BurnsMomentum,
    /// In Keras, where a momentum is a step.
    Step,
    /// If it has no momentum, whose unit differs.
    BurnsRmsProp,
    /// In Keras 3 alone, under this name.
    Keras3(&'static str),
    /// Nowhere.
    Own,
}

use OptimizerKind::{Adadelta, Adagrad, Adam, AdamW, Adamax, Ftrl, Lion, Nadam, RmsProp, Sgd};
use Part::{Derived, Own, Power1, Power2, Product, Rate, Time};
use Slot::{
    Accumulator, FirstMoment, Linear, MaxSecondMoment, MeanGradient, Momentum, Norm, SecondMoment, UpdateAccumulator,
};

/// Of no two of them has one all the fields of the other.
pub(crate) static FAMILIES: [Family; 18] = [
    Family {
        name: "`tfckpt_burn::optim::Adam`",
        kinds: &[Adam, AdamW],
        parts: &[
            ("Adam.m", Part::Slot(FirstMoment)),
            ("Adam.v", Part::Slot(SecondMoment)),
            ("Adam.vhat", Part::Slot(MaxSecondMoment)),
            ("Adam.time", Time),
            ("Adam.beta1_power", Power1),
            ("Adam.beta2_power", Power2),
            ("Adam.learning_rate", Rate),
        ],
        meaning: Meaning::Same,
    },
    Family {
        name: "`tfckpt_burn::optim::Momentum`",
        kinds: &[Sgd],
        parts: &[
            ("Momentum.momentum", Part::Slot(Momentum)),
            ("Momentum.learning_rate", Rate),
        ],
        meaning: Meaning::SumOfGradients,
    },
    Family {
        name: "`tfckpt_burn::optim::Sgd`",
        kinds: &[Sgd],
        parts: &[("SGD.momentum", Part::Slot(Momentum)), ("SGD.learning_rate", Rate)],
        meaning: Meaning::Step,
    },
    Family {
        name: "`tfckpt_burn::optim::RmsProp`",
        kinds: &[RmsProp],
        parts: &[
            ("RMSProp.rms", Part::Slot(SecondMoment)),
            ("RMSProp.mg", Part::Slot(MeanGradient)),
            ("RMSProp.momentum", Part::Slot(Momentum)),
            ("RMSProp.learning_rate", Rate),
        ],
        meaning: Meaning::Same,
    },
    Family {
        name: "`tfckpt_burn::optim::Adagrad`",
        kinds: &[Adagrad],
        parts: &[
            ("Adagrad.accumulator", Part::Slot(Accumulator)),
            ("Adagrad.learning_rate", Rate),
        ],
        meaning: Meaning::Same,
    },
    Family {
        name: "`tfckpt_burn::optim::Adadelta`",
        kinds: &[Adadelta],
        parts: &[
            ("Adadelta.accum", Part::Slot(Accumulator)),
            ("Adadelta.accum_update", Part::Slot(UpdateAccumulator)),
            ("Adadelta.learning_rate", Rate),
        ],
        meaning: Meaning::Same,
    },
    Family {
        name: "`tfckpt_burn::optim::Adamax`",
        kinds: &[Adamax],
        parts: &[
            ("Adamax.m", Part::Slot(FirstMoment)),
            ("Adamax.v", Part::Slot(Norm)),
            ("Adamax.time", Time),
            ("Adamax.beta1_power", Power1),
            ("Adamax.learning_rate", Rate),
        ],
        meaning: Meaning::Same,
    },
    Family {
        name: "`tfckpt_burn::optim::Nadam`",
        kinds: &[Nadam],
        parts: &[
            ("Nadam.m", Part::Slot(FirstMoment)),
            ("Nadam.v", Part::Slot(SecondMoment)),
            ("Nadam.time", Time),
            ("Nadam.u_product", Product),
            ("Nadam.learning_rate", Rate),
        ],
        meaning: Meaning::Keras,
    },
    Family {
        name: "`tfckpt_burn::optim::Lion`",
        kinds: &[Lion],
        parts: &[("Lion.momentum", Part::Slot(FirstMoment)), ("Lion.learning_rate", Rate)],
        meaning: Meaning::Same,
    },
    Family {
        name: "`tfckpt_burn::optim::Ftrl`",
        kinds: &[Ftrl],
        parts: &[
            ("Ftrl.accum", Part::Slot(Accumulator)),
            ("Ftrl.linear", Part::Slot(Linear)),
            ("Ftrl.learning_rate", Rate),
        ],
        meaning: Meaning::Same,
    },
    Family {
        name: "Burn's Adam or AdamW",
        kinds: &[Adam, AdamW],
        parts: &[
            ("momentum.moment_1", Part::Slot(FirstMoment)),
            ("momentum.moment_2", Part::Slot(SecondMoment)),
            ("momentum.max_moment_2", Part::Slot(MaxSecondMoment)),
            ("momentum.time", Time),
        ],
        meaning: Meaning::Same,
    },
    Family {
        name: "Burn's SGD or Muon",
        kinds: &[Sgd],
        parts: &[("momentum.velocity", Part::Slot(Momentum))],
        meaning: Meaning::BurnsMomentum,
    },
    Family {
        name: "Burn's RmsProp",
        kinds: &[RmsProp],
        parts: &[
            ("square_avg.square_avg", Part::Slot(SecondMoment)),
            ("centered.grad_avg", Part::Slot(MeanGradient)),
            ("centered.avg", Derived),
            ("momentum.buf", Own),
        ],
        meaning: Meaning::BurnsRmsProp,
    },
    Family {
        name: "Burn's AdaGrad",
        kinds: &[Adagrad],
        parts: &[("lr_decay.sum", Part::Slot(Accumulator)), ("lr_decay.time", Time)],
        meaning: Meaning::Same,
    },
    Family {
        name: "Burn's Lion",
        kinds: &[Lion],
        parts: &[("momentum", Part::Slot(FirstMoment))],
        meaning: Meaning::Same,
    },
    Family {
        name: "Burn's LAMB",
        // In Keras it keeps what Adam keeps.
        kinds: &[Adam],
        parts: &[
            ("moment_1", Part::Slot(FirstMoment)),
            ("moment_2", Part::Slot(SecondMoment)),
            ("time", Time),
        ],
        meaning: Meaning::Keras3("lamb"),
    },
    Family {
        name: "Burn's Adan",
        kinds: &[],
        parts: &[
            ("momentum.exp_avg", Own),
            ("momentum.exp_avg_sq", Own),
            ("momentum.exp_avg_diff", Own),
            ("momentum.neg_pre_grad", Own),
            ("momentum.time", Time),
        ],
        meaning: Meaning::Own,
    },
    Family {
        name: "Burn's Adafactor",
        kinds: &[],
        parts: &[("second_moment", Own), ("column_second_moment", Own), ("time", Time)],
        meaning: Meaning::Own,
    },
];

impl Family {
    pub(crate) fn part(&self, field: &str) -> Option<Part> {
        let part = self.parts.iter().find(|(name, _)| *name == field);
        part.map(|(_, part)| *part)
    }

    /// Why a state of this family is not what TensorFlow calls so in a convention; `None` if it is.
    pub(super) fn differs(&self, convention: Convention, traits: &Traits) -> Option<&'static str> {
        let is_v1 = convention == Convention::V1;
        match self.meaning {
            Meaning::Same => None,
            Meaning::Keras => is_v1.then_some("TensorFlow 1 has no such optimizer"),
            Meaning::SumOfGradients => (!is_v1).then_some(KERAS_MOMENTUM),
            Meaning::BurnsMomentum if !traits.sums_gradients => Some(
                "TensorFlow's momentum is the plain sum of gradients: set a dampening of 0, which Burn's is not by default",
            ),
            Meaning::BurnsMomentum => (!is_v1).then_some(KERAS_MOMENTUM),
            Meaning::Step => is_v1.then_some(
                "the momentum of TensorFlow 1 has no learning rate in it, unlike that of Keras: use `tfckpt_burn::optim::Momentum`",
            ),
            Meaning::BurnsRmsProp => traits.keeps("momentum.buf").then_some(
                "TensorFlow's momentum has the learning rate in it, unlike Burn's: use `tfckpt_burn::optim::RmsProp`",
            ),
            Meaning::Keras3(_) => {
                (convention != Convention::Keras3).then_some("TensorFlow has such an optimizer in Keras 3 alone")
            }
            Meaning::Own => Some("TensorFlow has no such optimizer"),
        }
    }

    /// What its state is called in a convention: the names to write first.
    pub(super) fn names<'n>(
        &'n self,
        naming: &'n Naming,
        convention: Convention,
        slots: &'n [Slot],
    ) -> impl Iterator<Item = OptimizerNames> + 'n {
        self.kinds.iter().map(move |kind| {
            let names = naming.names(*kind, convention);
            match self.meaning {
                Meaning::Keras3(name) if naming.name.is_none() => names.named(name),
                _ => names,
            }
            .with_slots(slots.iter().copied())
        })
    }
}

const KERAS_MOMENTUM: &str =
    "the momentum of Keras has the learning rate in it, unlike that of TensorFlow 1: use `tfckpt_burn::optim::Sgd`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_apart_by_their_fields() {
        let has = |family: &Family, other: &Family| other.parts.iter().all(|(field, _)| family.part(field).is_some());
        for (number, family) in FAMILIES.iter().enumerate() {
            let others = FAMILIES.iter().enumerate().filter(|(other, _)| *other != number);
            let mut same = others.filter(|(_, other)| has(family, other));
            assert!(same.next().is_none(), "{}", family.name);
        }
    }
}
