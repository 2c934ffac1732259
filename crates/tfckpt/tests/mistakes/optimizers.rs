//! The state of one optimizer taken for that of another, in every convention: what names tell, and what they cannot.

use std::collections::BTreeSet;
use std::path::Path;

use tfckpt::Checkpoint;
use tfckpt::optimizers::{Convention, Counter, OptimizerKind, OptimizerNames, Slot};

const CONVENTIONS: [Convention; 4] = [
    Convention::V1,
    Convention::Keras2Legacy,
    Convention::Keras2,
    Convention::Keras3,
];

const VARIABLE: &str = "fc/kernel";

/// An optimizer that keeps something.
fn names(kind: OptimizerKind, convention: Convention) -> OptimizerNames {
    let names = OptimizerNames::new(kind, convention);
    match kind {
        OptimizerKind::Sgd => names.with_slots([Slot::Momentum]),
        _ => names,
    }
}

/// What the checkpoint of an optimizer has, as objects have it if not all names are those of variables.
fn stored(names: &OptimizerNames, as_objects: bool) -> BTreeSet<String> {
    let choose = |all: Vec<String>| match as_objects {
        true => all.into_iter().next_back(),
        false => all.into_iter().next(),
    };
    let slots = names.slots().iter().map(|slot| names.slot(VARIABLE, *slot));
    // The steps of V1 are counted by `global_step`, and a learning rate is not needed.
    let is_there = |counter: &Counter| {
        *counter != Counter::LearningRate && (*counter != Counter::Iterations || names.convention() != Convention::V1)
    };
    let counters = names.counters().into_iter().filter(is_there);
    let mut there: BTreeSet<String> = slots
        .chain(counters.map(|counter| names.counter(counter)))
        .filter_map(choose)
        .collect();
    // The lists in which Keras keeps slots, which are found with a leading underscore and without.
    if as_objects && matches!(names.convention(), Convention::Keras2 | Convention::Keras3) {
        for slot in names.slots() {
            let list = names.kind().object_slot(names.convention(), *slot).unwrap_or_default();
            there.insert(format!("optimizer/{list}/0"));
            there.insert(format!("optimizer/{}/0", list.trim_start_matches('_')));
        }
    }
    there
}

/// Why the state is not that of the optimizer: a name that is missing, or one of another optimizer. `None` if nothing tells.
fn refused(wanted: &OptimizerNames, is_there: impl Fn(&str) -> bool) -> Option<String> {
    let missing = |all: Vec<String>| all.iter().all(|name| !is_there(name)).then(|| all.into_iter().next())?;
    let slots = wanted.slots().iter().map(|slot| wanted.slot(VARIABLE, *slot));
    let needed = |counter: &Counter| match counter {
        Counter::LearningRate => false,
        Counter::Iterations => wanted.convention() != Convention::V1,
        _ => true,
    };
    let counters = wanted.counters().into_iter().filter(needed);
    let mut all = slots.chain(counters.map(|counter| wanted.counter(counter)));
    all.find_map(missing).or_else(|| wanted.of_another(VARIABLE, &is_there))
}

/// Pairs whose slots and numbers have the same names, so that the state of the first passes for that of the second.
/// `docs/mapping.md` has them.
fn cannot_be_told(convention: Convention, as_objects: bool) -> Vec<(OptimizerKind, OptimizerKind)> {
    use OptimizerKind::{Adam, AdamW, Adamax, Lion, Nadam, Sgd};
    match (convention, as_objects) {
        // Nadam of TensorFlow 1 is called Adam.
        (Convention::V1, _) => vec![(Adam, Nadam), (Nadam, Adam)],
        // Names of variables begin with that of the optimizer.
        (_, false) => Vec::new(),
        (Convention::Keras2Legacy, true) => vec![
            (Adam, AdamW),
            (Adam, Adamax),
            (AdamW, Adam),
            (AdamW, Adamax),
            (Adamax, Adam),
            (Adamax, AdamW),
        ],
        (Convention::Keras2, true) => vec![(Sgd, Lion), (Adam, AdamW), (AdamW, Adam), (Lion, Sgd)],
        (_, true) => vec![(Adam, AdamW), (AdamW, Adam)],
    }
}

/// All pairs of which the state of the first passes for that of the second.
fn undetected(convention: Convention, as_objects: bool) -> Vec<(OptimizerKind, OptimizerKind)> {
    let mut pairs = Vec::new();
    for held in OptimizerKind::ALL {
        let there = stored(&names(held, convention), as_objects);
        for wanted in OptimizerKind::ALL.into_iter().filter(|wanted| *wanted != held) {
            match refused(&names(wanted, convention), |name| there.contains(name)) {
                Some(reason) => assert!(!reason.is_empty()),
                None => pairs.push((held, wanted)),
            }
        }
        let own = refused(&names(held, convention), |name| there.contains(name));
        assert_eq!(own, None, "the state of {held:?} is its own");
    }
    pairs
}

#[test]
fn the_state_of_another_optimizer_is_refused_where_names_tell() {
    // 69 to 788: each of ten optimizers for each other one, in four conventions, by names of variables and of objects.
    for convention in CONVENTIONS {
        for as_objects in [false, true] {
            let (found, known) = (
                undetected(convention, as_objects),
                cannot_be_told(convention, as_objects),
            );
            assert_eq!(found, known, "{convention:?}, objects: {as_objects}");
        }
    }
}

/// The same with what TensorFlow wrote: `tests/fixtures/optimizers`.
#[test]
fn the_state_that_tensorflow_wrote_is_not_taken_for_that_of_another_optimizer() {
    use OptimizerKind::{Adam, Adamax, Lion, Nadam, RmsProp, Sgd};
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/optimizers");
    let cases = [
        ("v1_adam", Convention::V1, Adam),
        ("v1_momentum", Convention::V1, Sgd),
        ("v1_rmsprop", Convention::V1, RmsProp),
        ("legacy_adam", Convention::Keras2Legacy, Adam),
        ("legacy_nadam", Convention::Keras2Legacy, Nadam),
        ("legacy_momentum", Convention::Keras2Legacy, Sgd),
        ("keras2_momentum", Convention::Keras2, Sgd),
        ("keras2_nadam", Convention::Keras2, Nadam),
        ("keras2_lion", Convention::Keras2, Lion),
        ("keras3_adam", Convention::Keras3, Adam),
        ("keras3_nadam", Convention::Keras3, Nadam),
        ("keras3_lion", Convention::Keras3, Lion),
        ("keras3_momentum", Convention::Keras3, Sgd),
        ("keras3_adamax", Convention::Keras3, Adamax),
    ];
    for (file, convention, held) in cases {
        let checkpoint = Checkpoint::open(root.join(file)).unwrap();
        let told = |wanted| {
            let names = names(wanted, convention);
            let with_variable = |name: &str| checkpoint.contains(name.replace(VARIABLE, "dense/kernel"));
            let escaped = |name: &str| with_variable(&name.replace("fc_kernel", "dense_kernel"));
            refused(&names, escaped)
        };
        assert_eq!(told(held), None, "{file} is that of {held:?}");
        for wanted in OptimizerKind::ALL.into_iter().filter(|wanted| *wanted != held) {
            let passes = told(wanted).is_none();
            let known = [false, true]
                .into_iter()
                .any(|as_objects| cannot_be_told(convention, as_objects).contains(&(held, wanted)));
            assert!(!passes || known, "{file} passes for {wanted:?}");
        }
    }
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    use OptimizerKind::{Adam, RmsProp, Sgd};
    let there = |kind, convention| stored(&names(kind, convention), false);
    let told = |wanted, held, convention| {
        let there = there(held, convention);
        refused(&names(wanted, convention), |name| there.contains(name)).unwrap()
    };
    // Adam's state for gradient descent with momentum, and for RMSProp.
    assert_eq!(told(Sgd, Adam, Convention::V1), "fc/kernel/Momentum");
    assert_eq!(told(RmsProp, Adam, Convention::V1), "fc/kernel/RMSProp");
    assert_eq!(told(Sgd, Adam, Convention::Keras3), "sgd/fc_kernel_momentum");
    // By the names of objects its first moment is a momentum, and the second tells.
    let objects = stored(&names(Adam, Convention::Keras3), true);
    let told = refused(&names(Sgd, Convention::Keras3), |name| objects.contains(name)).unwrap();
    assert_eq!(told, "fc/kernel/velocity");
    // A slot too few.
    let mut few = there(Adam, Convention::V1);
    few.remove("fc/kernel/Adam_1");
    let told = refused(&names(Adam, Convention::V1), |name| few.contains(name)).unwrap();
    assert_eq!(told, "fc/kernel/Adam_1");
}
