//! Object-based checkpoints: what TensorFlow's graphs say, by which names variables are found, and what hostile
//! graphs do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tfckpt::map::{DenseOrder, Layer, NameMap, Plan, Target};
use tfckpt::objects::{OBJECT_GRAPH_KEY, ObjectGraph};
use tfckpt::{Checkpoint, DType, Error, Saver, Variable};

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
    let info = checkpoint.find(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    info.name().into_owned()
}

const FIXTURES: [&str; 6] = [
    "tf2_module_slots/ckpt-3",
    "tf2_keras3/ckpt-1",
    "tf2_keras2_legacy_adam/ckpt-1",
    "tf2_keras2_save_weights/w",
    "tf2_misc_trackables/c-1",
    "savedmodel",
];

#[test]
fn graphs_are_read_as_tensorflow_reads_them() {
    for name in FIXTURES {
        let case = name.split('/').next().unwrap();
        let path = root().join("tests/fixtures").join(case).join("expected.json");
        let expected: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let checkpoint = fixture(name);
        let graph = checkpoint.objects().unwrap().unwrap();
        let nodes: Vec<Value> = graph
            .nodes()
            .map(|node| {
                let children: Vec<Value> = node
                    .children()
                    .map(|(name, child)| (child.id(), name).into_value())
                    .collect();
                let attributes: Vec<Value> = node
                    .attributes()
                    .map(|a| serde_json::json!([a.attribute(), a.full_name().unwrap_or(""), a.key()]))
                    .collect();
                serde_json::json!({ "children": children, "attributes": attributes })
            })
            .collect();
        let expected = expected["object_graph"].as_array().unwrap();
        assert_eq!(nodes.len(), expected.len(), "{name}");
        for (node, expected) in nodes.iter().zip(expected) {
            assert_eq!(node["children"], expected["children"], "{name}");
            assert_eq!(node["attributes"], expected["attributes"], "{name}");
        }
        let slots: usize = expected
            .iter()
            .map(|node| node["slot_variables"].as_array().unwrap().len())
            .sum();
        if slots > 0 {
            assert_eq!(graph.slots().count(), slots, "{name}");
        }
    }
}

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for (usize, &str) {
    fn into_value(self) -> Value {
        serde_json::json!([self.0, self.1])
    }
}

#[test]
fn every_variable_is_found_by_its_key_its_name_and_its_path() {
    for name in FIXTURES {
        let checkpoint = fixture(name);
        let graph = checkpoint.objects().unwrap().unwrap();
        for variable in graph
            .variables()
            .filter(|variable| variable.attribute() == "VARIABLE_VALUE")
        {
            let path = variable.object_path().unwrap();
            for called in [variable.key().to_owned(), variable.name(), path.clone()] {
                // A full name may be the path of another variable, and then wins.
                if graph.named(&called).count() == 1 || called != path {
                    assert_eq!(key(&checkpoint, &called), graph.find(&called).unwrap().key());
                }
            }
            assert_eq!(graph.find(&variable.name()).unwrap().key(), variable.key(), "{name}");
        }
    }
}

#[test]
fn the_digits_of_keras_3_are_found_by_the_names_of_their_layers() {
    let checkpoint = digits();
    let shapes = [
        (
            "conv1/kernel",
            "optimizer/_trainable_variables/0/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "bn1/gamma",
            "optimizer/_trainable_variables/1/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "bn1/moving_mean",
            "model/_functional/_operations/2/moving_mean/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "conv2/bias",
            "optimizer/_trainable_variables/4/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "dense/kernel",
            "optimizer/_trainable_variables/5/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "digits/dense/kernel",
            "optimizer/_trainable_variables/5/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "model/_functional/_operations/8/_kernel",
            "optimizer/_trainable_variables/5/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "model/_functional/_operations/8/kernel",
            "optimizer/_trainable_variables/5/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "_operations/8/kernel",
            "optimizer/_trainable_variables/5/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "optimizer/_trainable_variables/5",
            "optimizer/_trainable_variables/5/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "dense/kernel/momentum",
            "optimizer/_variables/12/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "dense/kernel/Adam",
            "optimizer/_variables/12/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (
            "dense/kernel/Adam_1",
            "optimizer/_variables/13/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        ("dense/kernel/v", "optimizer/_variables/13/.ATTRIBUTES/VARIABLE_VALUE"),
        ("Adam/iterations", "optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"),
        ("global_step", "step/.ATTRIBUTES/VARIABLE_VALUE"),
    ];
    for (name, expected) in shapes {
        assert_eq!(key(&checkpoint, name), expected, "{name}");
    }
    assert_eq!(checkpoint.global_step().unwrap(), Some(360));
    assert_eq!(checkpoint.read::<f32>("bn1/gamma").unwrap().len(), 8);
    assert!(
        !checkpoint.contains("dense/kernel/Momentum"),
        "Adam has no momentum alone"
    );
    assert!(!checkpoint.contains("dense/weight"));
}

#[test]
fn paths_run_through_the_layers_and_not_through_the_optimizer() {
    let checkpoint = digits();
    let graph = checkpoint.objects().unwrap().unwrap();
    let path = |name: &str| graph.find(name).unwrap().object_path().unwrap();
    assert_eq!(path("conv1/kernel"), "model/_functional/_operations/1/_kernel");
    assert_eq!(
        path("conv1/kernel/m"),
        "model/_functional/_operations/1/_kernel/momentum"
    );
    assert_eq!(path("adam/iteration"), "optimizer/_iterations");
    assert_eq!(graph.slots().count(), 14);
    let slot = graph.find("conv1/kernel/velocity").unwrap().as_slot().unwrap();
    assert_eq!(slot.variable.full_name(), Some("digits/conv1/kernel"));
    assert_eq!(slot.optimizer.path().as_deref(), Some("optimizer"));
}

#[test]
fn a_name_that_several_variables_have_is_an_error_that_lists_them() {
    let checkpoint = fixture("tf2_module_slots/ckpt-3");
    match checkpoint.find("dense/kernel") {
        Err(Error::AmbiguousName { candidates, .. }) => {
            assert_eq!(candidates, ["model/layers/0/kernel", "model/layers/1/kernel"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        key(&checkpoint, "layers/0/kernel"),
        "model/layers/0/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    );
    let slot = "model/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE";
    for name in ["layers/0/kernel/m", "model/layers/0/kernel/Adam", "dense/kernel/Adam"] {
        assert_eq!(key(&checkpoint, name), slot);
    }
    // Names with a slash or a dot, as they are and as keys have them.
    for name in ["ab", "extra/a/b", "model/extra/a.Sb"] {
        assert_eq!(key(&checkpoint, name), "model/extra/a.Sb/.ATTRIBUTES/VARIABLE_VALUE");
    }
    for name in ["model/extra/x.y", "model/extra/x..y"] {
        assert_eq!(key(&checkpoint, name), "model/extra/x..y/.ATTRIBUTES/VARIABLE_VALUE");
    }
}

#[test]
fn an_unknown_name_is_an_error_with_names_that_people_know() {
    match digits().find("conv1/kernels") {
        Err(Error::VariableNotFound { candidates, .. }) => assert_eq!(candidates[0], "digits/conv1/kernel"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_that_are_no_variables_are_there_too() {
    let checkpoint = fixture("tf2_misc_trackables/c-1");
    let graph = checkpoint.objects().unwrap().unwrap();
    let paths: Vec<_> = graph.variables().map(|value| value.object_path().unwrap()).collect();
    assert_eq!(
        paths,
        ["it/ITERATOR", "table/table", "v", "save_counter", "gen/_state_var"]
    );
    // The key of a hash table is that of no variable.
    assert!(matches!(checkpoint.find("table"), Err(Error::VariableNotFound { .. })));
    assert!(checkpoint.contains("StateVar"));
}

#[test]
fn a_name_based_checkpoint_has_no_objects() {
    assert!(fixture("simple_float/a").objects().unwrap().is_none());
}

#[test]
fn a_plan_finds_the_variables_of_an_object_based_checkpoint_and_names_them() {
    let checkpoint = digits();
    let names = NameMap::keras();
    let target = |path: &str, layer: Layer, shape: &[usize]| Target {
        path: path.to_owned(),
        names: names.names(path, layer),
        dtypes: vec![DType::Float32],
        shape: shape.to_vec(),
        layout: names.layout(path, layer, DenseOrder::OutIn),
        ..Target::default()
    };
    let targets = [
        target("conv1.weight", Layer::Conv2d, &[8, 1, 3, 3]),
        target("bn1.running_var", Layer::BatchNorm, &[8]),
        target("dense.weight", Layer::Dense, &[10, 64]),
    ];
    let plan = Plan::new(&checkpoint, &targets).unwrap();
    let loaded: Vec<_> = plan.report().loaded.iter().map(|loaded| loaded.name.as_str()).collect();
    assert_eq!(
        loaded,
        [
            "digits/conv1/kernel",
            "digits/bn1/moving_variance",
            "digits/dense/kernel"
        ]
    );
    let unused = &plan.report().unused;
    assert!(unused.contains(&"global_step".to_owned()) && !unused.iter().any(|name| name == OBJECT_GRAPH_KEY));
    match Plan::new(&checkpoint, &[target("conv3.weight", Layer::Conv2d, &[8, 1, 3, 3])]) {
        Err(Error::Mismatch { report, .. }) => assert_eq!(report.missing[0].candidates[0], "digits/conv1/kernel"),
        other => panic!("{other:?}"),
    }
    // `kernel` alone may be any of them.
    match Plan::new(&checkpoint, &[target("weight", Layer::Dense, &[10, 64])]) {
        Err(Error::Mismatch { report, .. }) => assert_eq!(report.missing[0].candidates.len(), 3),
        other => panic!("{other:?}"),
    }
}

// --- hostile graphs -------------------------------------------------------------------------------------------------

/// A field of a protocol buffer: a message or string.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
    out
}

fn number(tag: u8, mut value: u64) -> Vec<u8> {
    let mut out = vec![tag << 3];
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn child(id: u64, name: &str) -> Vec<u8> {
    field(1, &[number(1, id), field(2, name.as_bytes())].concat())
}

fn value(key: &str) -> Vec<u8> {
    field(2, &[field(1, b"VARIABLE_VALUE"), field(3, key.as_bytes())].concat())
}

fn graph(nodes: &[Vec<u8>]) -> Vec<u8> {
    nodes.iter().flat_map(|node| field(1, node)).collect()
}

#[test]
fn cycles_and_shared_objects_have_short_paths() {
    let bytes = graph(&[
        [child(0, "top"), child(1, "a"), child(1, "b")].concat(),
        [child(0, "up"), child(1, "self"), value("k")].concat(),
    ]);
    let graph = ObjectGraph::parse(bytes).unwrap();
    let variable = graph.with_key("k").unwrap();
    assert_eq!(variable.object_path().as_deref(), Some("a"));
    for name in ["a", "b", "top/top/b", "a/up/a/self/self", "self"] {
        assert_eq!(graph.find(name).unwrap().key(), "k", "{name}");
    }
}

#[test]
fn exponentially_many_paths_take_no_more_than_the_graph() {
    // A chain of diamonds: 2^60 paths.
    let mut nodes: Vec<Vec<u8>> = (0..60)
        .map(|i| [child(i + 1, "l"), child(i + 1, "r")].concat())
        .collect();
    nodes.push(value("k"));
    let graph = ObjectGraph::parse(graph(&nodes)).unwrap();
    let path = graph.with_key("k").unwrap().object_path().unwrap();
    assert_eq!(graph.find(&path.replace('l', "r")).unwrap().key(), "k");
    assert_eq!(graph.find("l/r/l").unwrap().key(), "k");
    assert!(graph.find("r/x").is_err());
}

#[test]
fn a_path_of_a_hundred_thousand_steps_is_walked_without_recursion() {
    let count = 100_000;
    let mut nodes: Vec<Vec<u8>> = (0..count)
        .map(|i| [child(i + 1, "n"), value(&format!("k{i}"))].concat())
        .collect();
    nodes.push(value("end"));
    let graph = ObjectGraph::parse(graph(&nodes)).unwrap();
    assert_eq!(
        graph.with_key("end").unwrap().object_path(),
        None,
        "no program has such a path"
    );
    assert_eq!(graph.find(&vec!["n"; count as usize].join("/")).unwrap().key(), "end");
}

#[test]
fn a_hundred_thousand_names_for_one_object_are_followed_once() {
    let loops: Vec<u8> = (0..100_000).flat_map(|_| child(0, "a")).collect();
    let graph = ObjectGraph::parse(graph(&[loops])).unwrap();
    assert!(graph.find("a/a/a/b").is_err());
}

#[test]
fn many_optimizers_cannot_claim_one_list() {
    let count = 2000u64;
    let lists = [
        child(1, "_trainable_variables"),
        child(1, "_m"),
        child(2, "_n"),
        child(3, "_iterations"),
    ]
    .concat();
    let elements: Vec<u8> = (0..count).flat_map(|i| child(3, &i.to_string())).collect();
    let mut nodes = vec![lists.clone(), elements.clone(), elements, value("k")];
    nodes.resize(count as usize, lists);
    let graph = ObjectGraph::parse(graph(&nodes)).unwrap();
    assert_eq!(graph.slots().count(), count as usize);
}

#[test]
fn what_is_no_graph_is_an_error() {
    let cases = [
        (graph(&[child(7, "a")]), "a reference to a node that is not there"),
        (
            graph(&[child(u64::MAX, "a")]),
            "a reference to a node that is not there",
        ),
        (vec![0x0a, 0x7f], "no field of a protocol buffer"),
        (vec![0x0b], "no field of a protocol buffer"),
        (vec![0xff; 11], "no field of a protocol buffer"),
        (graph(&[field(1, &field(2, b"\xff"))]), "a name that is not UTF-8"),
    ];
    for (bytes, reason) in cases {
        assert_eq!(ObjectGraph::parse(bytes).unwrap_err().reason, reason);
    }
    assert_eq!(ObjectGraph::parse(Vec::new()).unwrap().nodes().len(), 0);
    assert!(ObjectGraph::parse(Vec::new()).unwrap().find("").is_err());
}

#[test]
fn a_damaged_graph_leaves_the_keys_readable() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [
        Variable::scalar("a/.ATTRIBUTES/VARIABLE_VALUE", 7i64),
        Variable::strings(OBJECT_GRAPH_KEY, Vec::new(), [b"\x0b".as_slice()]),
    ];
    Saver::new(dir.path()).save(variables, 1).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.read::<i64>("a/.ATTRIBUTES/VARIABLE_VALUE").unwrap(), [7]);
    assert_eq!(checkpoint.global_step().unwrap(), Some(1));
    let error = checkpoint.read::<i64>("a").unwrap_err();
    assert!(matches!(error, Error::ObjectGraph { .. }), "{error}");
    assert_eq!(error.kind(), tfckpt::ErrorKind::Corrupt);
}

#[test]
fn no_damage_of_a_graph_is_a_panic() {
    let checkpoint = digits();
    let strings = checkpoint.read_strings(OBJECT_GRAPH_KEY).unwrap();
    let bytes = strings.get(0).unwrap();
    let mut seed = 7u64;
    for _ in 0..300 {
        let mut damaged = bytes.to_vec();
        for _ in 0..3 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (seed >> 33) as usize % damaged.len();
            damaged[at] = (seed >> 20) as u8;
        }
        damaged.truncate(damaged.len() - (seed >> 50) as usize % 3 * 100);
        let Ok(graph) = ObjectGraph::parse(damaged) else {
            continue;
        };
        let paths: BTreeMap<_, _> = graph
            .variables()
            .map(|v| (v.key(), (v.object_path(), v.name())))
            .collect();
        assert!(paths.len() < 100);
        let _ = graph.find("conv1/kernel");
        let _ = graph.find("conv1/kernel/Adam");
    }
}
