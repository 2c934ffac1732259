//! Object-based checkpoints as we write them: the keys, graph and files of TensorFlow.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tfckpt::io::LocalDir;
use tfckpt::objects::{OBJECT_GRAPH_KEY, ObjectLayout, ObjectTree};
use tfckpt::optimizers::Convention;
use tfckpt::{BundleWriter, Checkpoint, DType, Error, Saver, Variable};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> Checkpoint {
    Checkpoint::open(root().join("tests/fixtures").join(name)).unwrap()
}

fn digits() -> Checkpoint {
    Checkpoint::open(root().join("data/tf-digits/keras/ckpt-3")).unwrap()
}

/// The key of the variable that is found by a name.
fn key(checkpoint: &Checkpoint, name: &str) -> String {
    checkpoint.find(name).unwrap().name().into_owned()
}

/// The keys of a checkpoint without the graph.
fn keys(checkpoint: &Checkpoint) -> Vec<String> {
    let names = checkpoint.variables().map(|info| info.name().into_owned());
    names.filter(|name| name != OBJECT_GRAPH_KEY).collect()
}

fn written(layout: &ObjectLayout, variables: Vec<Variable<'_>>) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    layout.write(dir.path().join("m"), variables).unwrap();
    let checkpoint = Checkpoint::open(dir.path().join("m")).unwrap();
    (dir, checkpoint)
}

/// Zeros of the names, all of one shape.
fn zeros(names: &[&str]) -> Vec<Variable<'static>> {
    let zero = |name: &&str| Variable::from_bytes(*name, DType::Float32, [2], vec![0; 8]);
    names.iter().map(zero).collect()
}

const LAYERS: [&str; 9] = [
    "input", "conv1", "bn1", "relu1", "pool1", "conv2", "relu2", "flat", "dense",
];

/// The digits network, as our own names have it: shuffled, with the moments of Adam.
fn digits_variables(checkpoint: &Checkpoint) -> Vec<Variable<'static>> {
    let weights = [
        "bn1/beta",
        "bn1/gamma",
        "bn1/moving_mean",
        "bn1/moving_variance",
        "conv1/kernel",
        "conv2/bias",
        "conv2/kernel",
        "dense/bias",
        "dense/kernel",
    ];
    let slots = weights
        .iter()
        .flat_map(|name| [format!("{name}/Adam"), format!("{name}/Adam_1")]);
    let names: Vec<String> = weights.iter().map(|name| (*name).to_owned()).chain(slots).collect();
    let mut variables: Vec<_> = names
        .iter()
        .filter_map(|name| Some((name, checkpoint.find(name).ok()?)))
        .map(|(name, info)| {
            let bytes = checkpoint.read_bytes(info.key()).unwrap();
            Variable::from_bytes(name.as_str(), info.dtype(), info.shape().clone(), bytes)
        })
        .collect();
    variables.push(Variable::scalar("global_step", 360i64));
    variables.push(Variable::scalar("beta1_power", 0.5f32));
    variables.push(Variable::scalar("Adam/iterations", 360i64));
    variables
}

#[test]
fn a_keras_3_model_written_again_has_the_keys_and_values_of_tensorflow() {
    let theirs = digits();
    let layout = ObjectLayout::keras3_sequential(LAYERS)
        .learning_rate(0.001)
        .step("step")
        .save_counter(3);
    let (_dir, ours) = written(&layout, digits_variables(&theirs));
    let mut expected = keys(&theirs);
    // Of no use to Keras, but to us.
    expected.push("beta1_power".to_owned());
    expected.sort();
    assert_eq!(keys(&ours), expected);
    for info in theirs.variables().filter(|info| info.name() != OBJECT_GRAPH_KEY) {
        assert_eq!(
            ours.read_bytes(info.key()).unwrap(),
            theirs.read_bytes(info.key()).unwrap(),
            "{}",
            info.name()
        );
    }
    for name in [
        "conv1/kernel",
        "dense/kernel/Adam",
        "dense/kernel/Adam_1",
        "Adam/iterations",
        "beta1_power",
    ] {
        assert!(ours.contains(name), "{name}");
    }
    assert_eq!(ours.global_step().unwrap(), Some(360));
    assert_eq!(ours.objects().unwrap().unwrap().slots().count(), 14);
}

#[test]
fn the_same_variables_give_the_same_bytes_in_any_order() {
    let layout = ObjectLayout::keras3_sequential(LAYERS).learning_rate(0.001);
    let graph = |variables: Vec<Variable<'static>>| {
        let (_dir, checkpoint) = written(&layout, variables);
        checkpoint
            .read_strings(OBJECT_GRAPH_KEY)
            .unwrap()
            .get(0)
            .unwrap()
            .to_vec()
    };
    let one = graph(digits_variables(&digits()));
    assert_eq!(one, graph(digits_variables(&digits())));
    let mut reversed = digits_variables(&digits());
    reversed.reverse();
    assert_eq!(one, graph(reversed));
}

#[test]
fn a_tree_of_the_same_objects_has_the_graph_of_tensorflow_byte_for_byte() {
    let theirs = fixture("tf2_module_slots/ckpt-3");
    let variable = |full_name: &str, key: &str| {
        let info = theirs.find(key).unwrap();
        let bytes = theirs.read_bytes(info.key()).unwrap();
        Variable::from_bytes(full_name, info.dtype(), info.shape().clone(), bytes)
    };
    let mut tree = ObjectTree::new();
    let (model, optimizer) = (tree.object("model"), tree.object("optimizer"));
    tree.variable("step", variable("Variable", "step")).unwrap();
    tree.variable("save_counter", variable("save_counter", "save_counter"))
        .unwrap();
    let layers = tree.object("model/layers");
    let extra = tree.child(model, "extra");
    for power in ["beta1_power", "beta2_power"] {
        tree.variable(&format!("optimizer/{power}"), variable(power, power))
            .unwrap();
    }
    for layer in ["0", "1"] {
        tree.child(layers, layer);
    }
    for (name, full_name) in [("a/b", "ab"), ("x.y", "xy")] {
        let object = tree.child(extra, name);
        tree.set(object, variable(full_name, full_name)).unwrap();
    }
    for layer in ["0", "1"] {
        for leaf in ["kernel", "bias"] {
            let path = format!("model/layers/{layer}/{leaf}");
            let object = tree.variable(&path, variable(&format!("dense/{leaf}"), &path)).unwrap();
            for slot in ["v", "m"] {
                let key = format!("{path}/.OPTIMIZER_SLOT/optimizer/{slot}/.ATTRIBUTES/VARIABLE_VALUE");
                let full_name = theirs
                    .objects()
                    .unwrap()
                    .unwrap()
                    .with_key(&key)
                    .unwrap()
                    .full_name()
                    .unwrap();
                tree.slot(optimizer, object, slot, variable(full_name, &key)).unwrap();
            }
        }
    }
    let variables = tree.finish().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable.name().into_owned()).collect();
    let graph = theirs.objects().unwrap().unwrap();
    let expected: Vec<_> = graph
        .variables()
        .map(|variable| variable.key())
        .chain([OBJECT_GRAPH_KEY])
        .collect();
    assert_eq!(names, expected, "in the order of TensorFlow's data file, too");

    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(LocalDir::create(dir.path()).unwrap());
    let mut writer = BundleWriter::create(storage, "m").unwrap();
    variables.into_iter().for_each(|variable| writer.add(variable).unwrap());
    writer.finish().unwrap();
    for suffix in ["index", "data-00000-of-00001"] {
        let ours = std::fs::read(dir.path().join(format!("m.{suffix}"))).unwrap();
        let theirs = root().join(format!("tests/fixtures/tf2_module_slots/ckpt-3.{suffix}"));
        assert!(ours == std::fs::read(theirs).unwrap(), "{suffix}");
    }
}

#[test]
fn layers_of_keras_2_are_numbered_twice() {
    let names = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"];
    let slots: Vec<String> = names
        .iter()
        .flat_map(|name| [format!("{name}/m"), format!("{name}/v")])
        .collect();
    let all: Vec<&str> = names.iter().copied().chain(slots.iter().map(String::as_str)).collect();
    let layout = ObjectLayout::keras2(["dense", "dense_1"])
        .optimizer(Convention::Keras2Legacy)
        .iterations(3)
        .learning_rate(0.1)
        .hyperparameter("beta_1", 0.9)
        .hyperparameter("beta_2", 0.999)
        .hyperparameter("decay", 0.)
        .save_counter(1);
    let (_dir, ours) = written(&layout, zeros(&all));
    assert_eq!(keys(&ours), keys(&fixture("tf2_keras2_legacy_adam/ckpt-1")));
    let model = ours
        .objects()
        .unwrap()
        .unwrap()
        .node(0)
        .unwrap()
        .child("model")
        .unwrap();
    let children: Vec<_> = model.children().map(|(name, node)| (name, node.id())).collect();
    let names: Vec<_> = children.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["layer_with_weights-0", "layer-0", "layer_with_weights-1", "layer-1"]
    );
    assert_eq!(children[0].1, children[1].1);

    // A model alone, as `save_weights` writes it.
    let names = [
        "dense_2/kernel",
        "dense_2/bias",
        "bn/gamma",
        "bn/beta",
        "bn/moving_mean",
        "bn/moving_variance",
    ];
    let layout = ObjectLayout::keras2(["dense_2", "bn"]).root("");
    let (_dir, ours) = written(&layout, zeros(&names));
    let theirs = keys(&fixture("tf2_keras2_save_weights/w"));
    assert!(keys(&ours).iter().all(|key| theirs.contains(key)));
}

#[test]
fn a_variable_without_a_place_is_an_error_that_names_it() {
    let layout = ObjectLayout::keras3_functional(["input", "conv1"]);
    match layout.apply(zeros(&["conv/kernel"])) {
        Err(Error::NoPlace { name, candidates }) => {
            assert_eq!((name.as_str(), candidates), ("conv/kernel", vec!["conv1".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    let layout = layout.place("conv/kernel", "model/extra").outside("scheduler/");
    let variables = layout
        .apply(zeros(&["conv/kernel", "conv1/bias", "scheduler/rate"]))
        .unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable.name().into_owned()).collect();
    let suffix = ".ATTRIBUTES/VARIABLE_VALUE";
    let expected = [
        format!("model/extra/{suffix}"),
        format!("model/_operations/1/bias/{suffix}"),
        "scheduler/rate".to_owned(),
        OBJECT_GRAPH_KEY.to_owned(),
    ];
    assert_eq!(names, expected);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let layout = ObjectLayout::module("model");
    let twice = layout.apply(zeros(&["a", "a"]));
    assert!(matches!(twice, Err(Error::DuplicateName { .. })), "{twice:?}");
    let same_slot = layout.apply(zeros(&["a", "a/Adam", "a/m", "a/v"]));
    assert!(matches!(same_slot, Err(Error::DuplicateName { .. })), "{same_slot:?}");
    let same_place = layout.clone().place("b", "model/a").apply(zeros(&["a", "b"]));
    assert!(matches!(same_place, Err(Error::DuplicateName { .. })), "{same_place:?}");
    let uncounted = ObjectLayout::keras3_subclassed().apply(zeros(&["a", "a/m", "a/v"]));
    assert!(uncounted.unwrap_err().to_string().contains("ObjectLayout::iterations"));
    let keras3 = ObjectLayout::keras3_subclassed().iterations(1);
    let mixed = keras3.apply(zeros(&["a", "a/Adam", "a/Adam_1", "a/RMSProp"]));
    assert!(mixed.unwrap_err().to_string().contains("ObjectLayout::optimizer_names"));
    let sum = keras3.apply(zeros(&["a", "a/Momentum"])).unwrap_err();
    assert!(sum.to_string().contains("a sum of gradients"), "{sum}");
    let no_text = layout.apply([Variable::scalar(vec![0xff], 1i64)]);
    assert!(matches!(no_text, Err(Error::InvalidArgument { .. })), "{no_text:?}");
}

#[test]
fn a_saver_with_a_layout_keeps_a_directory_of_object_based_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let layout = ObjectLayout::module("model").step("step");
    let mut saver = Saver::new(dir.path()).basename("ckpt").max_to_keep(2).objects(layout);
    for step in [10, 20, 30] {
        let mut variables = zeros(&["fc/bias", "fc/bias/Adam", "fc/bias/Adam_1"]);
        variables.push(Variable::scalar("beta1_power", step as f32));
        variables.push(Variable::scalar("Adam/iterations", step));
        saver.save(variables, step).unwrap();
    }
    let state = tfckpt::checkpoint_state(dir.path()).unwrap().unwrap();
    assert_eq!(
        state.all_model_checkpoint_paths,
        [dir.path().join("ckpt-20"), dir.path().join("ckpt-30")]
    );
    let checkpoint = saver.latest().unwrap().unwrap();
    assert_eq!(checkpoint.global_step().unwrap(), Some(30));
    assert_eq!(checkpoint.read::<i64>("save_counter").unwrap(), [30]);
    assert_eq!(checkpoint.read::<f32>("beta1_power").unwrap(), [30.]);
    assert_eq!(checkpoint.read::<i64>("Adam/iterations").unwrap(), [30]);
    assert_eq!(
        key(&checkpoint, "fc/bias/Adam_1"),
        "model/fc/bias/.OPTIMIZER_SLOT/optimizer/v/.ATTRIBUTES/VARIABLE_VALUE"
    );
}

/// The variables of a bidirectional LSTM, as an adapter gives them: sorted by name, with the two biases that frameworks have,
/// and the moments of Adam. Each holds its own number, and the two moments of Adam that number and 100 or 200 more.
fn bidirectional() -> Vec<Variable<'static>> {
    let mut variables = Vec::new();
    let mut number = 0f32;
    for direction in ["backward", "forward"] {
        for leaf in ["bias", "bias/input", "bias/recurrent", "kernel", "recurrent_kernel"] {
            let name = format!("bi/{direction}_lstm/lstm_cell/{leaf}");
            let mut add = |name: String, value: f32| {
                let bytes = value.to_le_bytes().to_vec();
                variables.push(Variable::from_bytes(name, DType::Float32, [1], bytes));
            };
            add(name.clone(), number);
            if leaf != "bias/input" {
                add(format!("{name}/Adam"), number + 100.0);
                add(format!("{name}/Adam_1"), number + 200.0);
            }
            number += 1.0;
        }
    }
    variables.push(Variable::scalar("global_step", 3i64));
    variables
}

/// The list of the first moments, of one number each.
fn momentums(checkpoint: &Checkpoint) -> Vec<f32> {
    let root = checkpoint.objects().unwrap().unwrap().node(0).unwrap();
    let list = root.child("optimizer").unwrap().child("_momentums").unwrap();
    let element = |at: usize| {
        let variable = list.child(&at.to_string()).unwrap().variable().unwrap();
        checkpoint.read::<f32>(variable.key()).unwrap()[0]
    };
    (0..list.children().len()).map(element).collect()
}

#[test]
fn layers_within_layers_are_where_keras_has_them_and_in_its_order() {
    let keras3 = ObjectLayout::keras3_functional(["x", "bi"]).learning_rate(0.5);
    let keras2 = ObjectLayout::keras2(["x", "bi"]).learning_rate(0.5);
    for (layout, layer, kernel) in [
        (keras3, "_operations/1", "_kernel"),
        (keras2, "layer_with_weights-0", "kernel"),
    ] {
        let (_dir, checkpoint) = written(&layout, bidirectional());
        for (direction, number) in [("forward", 8.0), ("backward", 3.0)] {
            let name = format!("bi/{direction}_lstm/lstm_cell/kernel");
            let place = format!("model/{layer}/{direction}_layer/cell/{kernel}");
            let root = checkpoint.objects().unwrap().unwrap().node(0).unwrap();
            let object = place.split('/').fold(root, |object, part| object.child(part).unwrap());
            assert_eq!(object.variable().unwrap().key(), key(&checkpoint, &name));
            assert_eq!(checkpoint.read::<f32>(&name).unwrap(), [number]);
            let moment = checkpoint.read::<f32>(&format!("{name}/Adam_1")).unwrap();
            assert_eq!(moment, [number + 200.0]);
        }
        // Keras makes the layer forwards first, and kernel, recurrent kernel and bias in this order.
        assert_eq!(momentums(&checkpoint), [108.0, 109.0, 105.0, 103.0, 104.0, 100.0]);
        // What Python does not have is kept under its own name.
        for (name, number) in [
            ("bias/input", 6.0),
            ("bias/recurrent", 7.0),
            ("bias/recurrent/Adam", 107.0),
        ] {
            let name = format!("bi/forward_lstm/lstm_cell/{name}");
            assert!(keys(&checkpoint).contains(&name), "{name}");
            assert_eq!(checkpoint.read::<f32>(&name).unwrap(), [number]);
        }
    }
}

#[test]
fn parts_of_attention_are_in_the_order_of_keras() {
    let names = ["attention_output", "key", "query", "value"].map(|part| format!("heads/{part}/kernel"));
    let slot = |slot: &'static str| names.iter().map(move |name| format!("{name}/{slot}"));
    let slots = slot("Adam").chain(slot("Adam_1"));
    let all: Vec<String> = names.iter().cloned().chain(slots).collect();
    let variables = all.iter().enumerate().map(|(number, name)| {
        Variable::from_bytes(
            name.as_str(),
            DType::Float32,
            [1],
            (number as f32).to_le_bytes().to_vec(),
        )
    });
    let layout = ObjectLayout::keras3_functional(["x", "heads"])
        .iterations(1)
        .learning_rate(0.5);
    let (_dir, checkpoint) = written(&layout, variables.collect());
    assert_eq!(momentums(&checkpoint), [6.0, 5.0, 7.0, 4.0]);
}
