//! Meta graphs: those of TensorFlow read, ours written and read again. That TensorFlow imports ours is a matter of
//! `tests/interop`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tfckpt::{
    AttrValue, Checkpoint, Collection, DType, Error, Limits, MetaGraph, Saver, Shape, Slice, Variable, VariableKind,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

fn expected(case: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture(case).join("expected.json")).unwrap()).unwrap()
}

#[test]
fn every_node_of_tensorflows_graphs_is_there() {
    for case in ["meta_dense_resource", "meta_dense_ref"] {
        let graph = MetaGraph::open(fixture(case).join("model.ckpt.meta")).unwrap();
        let expected = expected(case);
        let nodes = expected["nodes"].as_array().unwrap();
        assert_eq!(graph.nodes().len(), nodes.len());
        for (node, expected) in graph.nodes().zip(nodes) {
            assert_eq!(
                (node.name(), node.op()),
                (expected["name"].as_str().unwrap(), expected["op"].as_str().unwrap())
            );
            assert_eq!(node.device(), expected["device"].as_str().unwrap());
            let inputs: Vec<&str> = expected["input"]
                .as_array()
                .unwrap()
                .iter()
                .map(|i| i.as_str().unwrap())
                .collect();
            assert_eq!(node.inputs(), inputs);
            let attrs: BTreeSet<&str> = node.attrs().map(|(key, _)| key).collect();
            let wanted: BTreeSet<&str> = expected["attrs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a.as_str().unwrap())
                .collect();
            assert_eq!(attrs, wanted, "{}", node.name());
        }
        let kernel = graph
            .variables()
            .iter()
            .find(|variable| variable.name == "dense/kernel")
            .unwrap();
        assert_eq!(kernel.checkpoint_key.as_deref(), Some("dense/kernel"));
        assert_eq!(
            (kernel.dtype, kernel.shape.clone()),
            (Some(DType::Float32), Some(Shape::from([10, 1])))
        );
        assert_eq!(
            (kernel.trainable, kernel.is_resource),
            (true, case == "meta_dense_resource")
        );
        let saver = graph.saver().unwrap();
        assert_eq!((saver.max_to_keep, saver.version), (5, 2));
        assert_eq!(saver.filename_tensor_name, "save/Const:0");
        assert_eq!(graph.ops()["MatMul"], 1);
    }
}

#[test]
fn constants_have_their_values() {
    let graph = MetaGraph::open(fixture("meta_dense_resource/model.ckpt.meta")).unwrap();
    let attr = |name: &str, key: &str| {
        graph
            .nodes()
            .find(|node| node.name() == name)
            .unwrap()
            .attr(key)
            .unwrap()
    };
    let AttrValue::Tensor(names) = attr("save/SaveV2/tensor_names", "value") else {
        panic!("a constant");
    };
    assert_eq!(names.strings(), [b"dense/bias".to_vec(), b"dense/kernel".to_vec()]);
    let AttrValue::Tensor(bias) = attr("dense/bias/Initializer/zeros", "value") else {
        panic!("a constant");
    };
    assert_eq!(
        (bias.dtype(), bias.shape()),
        (Some(DType::Float32), Some(Shape::from([1])))
    );
    assert_eq!(bias.to_bytes(1000).unwrap(), [0; 4]);
    assert_eq!(bias.to_bytes(3), None, "more than was allowed");
    assert_eq!(attr("dense/MatMul", "transpose_a"), AttrValue::Bool(false));
    assert_eq!(
        attr("Placeholder", "shape"),
        AttrValue::Shape(Some(vec![None, Some(10)]))
    );
}

#[test]
fn a_training_run_and_a_saved_model_are_described() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/tf-digits/saver/model.ckpt-360");
    let graph = MetaGraph::open(data.with_file_name("model.ckpt-360.meta")).unwrap();
    let checkpoint = Checkpoint::open(&data).unwrap();
    // Every variable of the graph is in the checkpoint, and the other way round.
    let of_graph: BTreeSet<&str> = graph
        .variables()
        .iter()
        .filter_map(|v| v.checkpoint_key.as_deref())
        .collect();
    let of_file: Vec<String> = checkpoint.variables().map(|info| info.name().into_owned()).collect();
    assert!(of_graph.iter().eq(of_file.iter()), "{of_graph:?}");
    let trainable: Vec<&str> = graph
        .variables()
        .iter()
        .filter(|v| v.trainable)
        .map(|v| v.name.as_str())
        .collect();
    let weights = [
        "conv1/kernel",
        "conv1/bias",
        "conv2/kernel",
        "conv2/bias",
        "dense/kernel",
        "dense/bias",
    ];
    assert_eq!(trainable, weights);
    assert_eq!(graph.saver().unwrap().max_to_keep, 2);
    let collections: BTreeMap<&str, Collection<'_>> = graph.collections().collect();
    assert!(matches!(collections["train_op"], Collection::Nodes([op]) if op == "train_op"));

    let model = MetaGraph::open(fixture("savedmodel")).unwrap();
    assert_eq!(model.tags(), ["serve"]);
    let signatures: Vec<(&str, tfckpt::Signature)> = model.signatures().collect();
    let [("__saved_model_init_op", signature)] = signatures.as_slice() else {
        panic!("{signatures:?}");
    };
    assert!(signature.inputs.is_empty() && signature.outputs.values().all(|output| output.name == "NoOp"));
    assert!(model.functions().next().is_some() && model.is_object_based());
}

#[test]
fn a_partitioned_variable_is_known_by_its_whole() {
    let graph = MetaGraph::open(fixture("tf1_partitioned_adam/m.meta")).unwrap();
    let part = graph
        .variables()
        .iter()
        .find(|variable| variable.name == "emb/part_1")
        .unwrap();
    let (whole, shape, slice) = part.part.clone().unwrap();
    assert_eq!((whole.as_str(), shape, slice.rank()), ("emb", Shape::from([5, 2]), 2));
    assert_eq!(part.checkpoint_key.as_deref(), Some("emb"));
}

#[test]
fn of_several_savers_that_of_the_graph_gives_the_keys() {
    for (file, key) in [("everything", "a"), ("renamed", "other/a")] {
        let graph = MetaGraph::open(fixture(&format!("meta_two_savers/{file}.meta"))).unwrap();
        let variable = graph.variables().iter().find(|variable| variable.name == "a").unwrap();
        assert_eq!(variable.checkpoint_key.as_deref(), Some(key), "{file}");
    }
}

fn saved(dir: &Path, kind: VariableKind) -> PathBuf {
    let values = [0.5f32; 6];
    let row = |rows: std::ops::Range<usize>| {
        Variable::new("emb", [rows.len(), 2], &values[..rows.len() * 2])
            .slice_of([3, 2], Slice::new([Some(rows), None]))
    };
    let mut saver = Saver::new(dir).max_to_keep(3).variable_kind(kind).overwrite(true);
    let variables = [
        Variable::new("dense/kernel", [2, 3], &values),
        Variable::new("dense/kernel/Adam", [2, 3], &values).non_trainable(),
        Variable::scalar("é x", 3i64),
        row(0..1),
        row(1..3),
    ];
    saver.save(variables, 42).unwrap().prefix
}

#[test]
fn what_is_saved_is_described_and_the_same_each_time() {
    for kind in [VariableKind::Resource, VariableKind::Ref] {
        let [first, second] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let path = |dir: &tempfile::TempDir| PathBuf::from(format!("{}.meta", saved(dir.path(), kind).display()));
        let (one, two) = (fs::read(path(&first)).unwrap(), fs::read(path(&second)).unwrap());
        assert!(one == two, "the same variables give the same bytes");
        assert!(
            path(&first).exists() && fs::read(path(&first)).unwrap() == one,
            "it can be replaced"
        );
        let graph = MetaGraph::open(path(&first)).unwrap();
        assert_eq!(graph.to_bytes(), one);
        let found: Vec<(&str, Option<&str>, bool)> = graph
            .variables()
            .iter()
            .map(|variable| {
                assert_eq!(variable.is_resource, kind == VariableKind::Resource);
                (
                    variable.name.as_str(),
                    variable.checkpoint_key.as_deref(),
                    variable.trainable,
                )
            })
            .collect();
        let expected = [
            ("dense/kernel", Some("dense/kernel"), true),
            ("dense/kernel/Adam", Some("dense/kernel/Adam"), false),
            ("emb/part_0", Some("emb"), true),
            ("emb/part_1", Some("emb"), true),
            ("global_step", Some("global_step"), false),
            ("var__x", Some("é x"), false),
        ];
        assert_eq!(found, expected);
        let step = graph.collections().find(|(name, _)| *name == "global_step").unwrap().1;
        assert!(matches!(step, Collection::Bytes([_])));
        assert_eq!(graph.saver().unwrap().max_to_keep, 3);
    }
}

#[test]
fn a_graph_is_left_out_on_request_and_goes_with_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let there = |step: i64| dir.path().join(format!("model.ckpt-{step}.meta")).exists();
    let mut saver = Saver::new(dir.path()).max_to_keep(1);
    saver.save([Variable::scalar("x", 1f32)], 1).unwrap();
    saver.save([Variable::scalar("x", 1f32)], 2).unwrap();
    assert!(!there(1) && there(2));
    drop(saver);
    let mut saver = Saver::new(dir.path()).write_meta_graph(false);
    saver.save([Variable::scalar("x", 1f32)], 3).unwrap();
    assert!(!there(3));
}

#[test]
fn damaged_graphs_are_errors() {
    let whole = fs::read(fixture("meta_dense_resource/model.ckpt.meta")).unwrap();
    let limits = Limits::default();
    for cut in 0..whole.len() {
        // A message may well end there; all that counts is that nothing breaks.
        if let Ok(graph) = MetaGraph::parse(&whole[..cut], &limits) {
            graph.nodes().flat_map(|node| node.attrs()).for_each(drop);
        }
    }
    for garbage in [
        &[0xff; 100][..],
        b"\x12\x05",
        &vec![0x12; 100_000],
        &vec![0x0b; 100_000],
    ] {
        let error = MetaGraph::parse(garbage, &limits).unwrap_err();
        assert!(matches!(error, Error::CorruptMetaGraph { .. }), "{error}");
    }
    let text = MetaGraph::parse(&b"graph_def {\n  node {\n    name: \"x\"\n  }\n}\n"[..], &limits).unwrap_err();
    assert!(matches!(text, Error::Unsupported { .. }), "{text}");
    let small = Limits::default().with_graph_bytes(1000);
    let error = MetaGraph::parse(whole, &small).unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    let missing = MetaGraph::open(fixture("none.meta")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}
