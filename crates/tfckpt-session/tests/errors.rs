//! What is wrong with a graph or a call is told, all at once where that is possible; and nothing in a file makes a session
//! panic or take more memory than its limits allow.

mod support;
#[path = "support/wire.rs"]
mod wire;

use candle_core::{DType, Device, Tensor};
use support::{digits, repository};
use tfckpt::MetaGraph;
use tfckpt_session::{Error, Graph, Limits, Missing, Session, TfTensor, Value, import_meta_graph};
use wire::{attr, bytes, constant, dtype, meta_graph, node, number};

const FLOAT: u64 = 1;
const INT: u64 = 3;
const COMPLEX: u64 = 8;

fn session(nodes: &[Vec<u8>]) -> Session {
    let graph = MetaGraph::parse(meta_graph(nodes), &tfckpt::Limits::default()).unwrap();
    Session::new(&Graph::from(graph), &Device::Cpu).unwrap()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn ints(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn three_unknown() -> Vec<Vec<u8>> {
    vec![
        node("x", "Placeholder", &[], &[dtype("dtype", FLOAT)]),
        node("a", "Wobble", &["x"], &[]),
        node("b", "Frobnicate", &["a"], &[]),
        node("c", "Wobble", &["b:1"], &[]),
        node("d", "Untangle", &["c", "x"], &[]),
        node("unrelated", "Elsewhere", &["x"], &[]),
    ]
}

#[test]
fn all_unknown_operations_are_named_with_their_nodes_in_one_error() {
    let x = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    let error = session(&three_unknown()).run(&["d"], &[("x", &x)]).unwrap_err();
    let Error::Unsupported { missing } = &error else {
        panic!("{error}")
    };
    let op = |missing: &Missing| match missing {
        Missing::Op { op, nodes } => (op.clone(), nodes.clone()),
        other => panic!("{other:?}"),
    };
    let expected = [
        ("Frobnicate", vec!["b"]),
        ("Untangle", vec!["d"]),
        ("Wobble", vec!["a", "c"]),
    ];
    let found: Vec<(String, Vec<String>)> = missing.iter().map(op).collect();
    assert_eq!(found.len(), 3);
    for ((op, nodes), (expected, at)) in found.iter().zip(expected) {
        assert_eq!(
            (op.as_str(), nodes.iter().map(String::as_str).collect::<Vec<_>>()),
            (expected, at)
        );
    }
    let text = error.to_string();
    assert!(
        text.contains("Frobnicate (`b`), Untangle (`d`), Wobble (`a`, `c`)"),
        "{text}"
    );
    assert!(text.contains("Session::register"), "{text}");
}

#[test]
fn registered_operations_take_part() {
    let mut session = session(&three_unknown());
    session.register("Wobble", |attrs| {
        let times = attrs.float("times", 2.0)?;
        Ok(Box::new(move |args, _| {
            Ok(vec![Value::Tensor(TfTensor::natural(
                (args.float(0)? * f64::from(times))?,
            )?)])
        }))
    });
    session.register("Frobnicate", |_| {
        Ok(Box::new(|args, _| {
            Ok(vec![args.value(0)?.clone(), args.value(0)?.clone()])
        }))
    });
    session.register("Untangle", |_| {
        Ok(Box::new(|args, _| {
            Ok(vec![Value::Tensor(TfTensor::natural(
                (args.float(0)? - args.float(1)?)?,
            )?)])
        }))
    });
    let x = Tensor::new(&[1f32, 3.], &Device::Cpu).unwrap();
    let d = session.run(&["d:0"], &[("x:0", &x)]).unwrap().remove(0);
    assert_eq!(d.to_vec1::<f32>().unwrap(), [3., 9.]);
}

#[test]
fn unknown_dtypes_are_named_with_their_nodes() {
    let nodes = [
        constant("z", COMPLEX, &[1], &[0; 8]),
        node("y", "Identity", &["z"], &[dtype("T", COMPLEX)]),
    ];
    let error = session(&nodes).run(&["y"], &[]).unwrap_err();
    assert!(
        matches!(&error, Error::Unsupported { missing } if missing.len() == 1),
        "{error}"
    );
    assert!(error.to_string().contains("complex64 (`y`, `z`)"), "{error}");
}

#[test]
fn a_name_that_is_almost_right_is_told_the_right_one() {
    let graph = import_meta_graph(repository("data/tf-digits/saver/model.ckpt-240.meta")).unwrap();
    let session = Session::new(&graph, &Device::Cpu).unwrap();
    let error = session.run(&["probabilites:0"], &[]).unwrap_err();
    assert!(error.to_string().contains("did you mean `probabilities`?"), "{error}");
    let error = session.variable("conv1/kernal").unwrap_err();
    assert!(error.to_string().contains("did you mean `conv1/kernel`?"), "{error}");
}

#[test]
fn what_is_not_fed_is_asked_for() {
    let nodes = [
        node("x", "Placeholder", &[], &[dtype("dtype", FLOAT)]),
        node("y", "Exp", &["x"], &[]),
    ];
    let error = session(&nodes).run(&["y"], &[]).unwrap_err();
    assert!(matches!(&error, Error::NotFed { name } if name == "x"), "{error}");
    let wrong = Tensor::zeros(2, DType::F64, &Device::Cpu).unwrap();
    let error = session(&nodes).run(&["y"], &[("x", &wrong)]).unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("expected float32, found a tensor of F64"), "{text}");
}

#[test]
fn a_tensor_that_is_too_large_is_refused_before_it_is_made() {
    let large = ints(&[1 << 30, 1 << 30]);
    let fill = [
        constant("dims", INT, &[2], &large),
        constant("value", FLOAT, &[], &floats(&[1.0])),
        node("y", "Fill", &["dims", "value"], &[]),
    ];
    let tile = [
        constant("x", FLOAT, &[2], &floats(&[1.0, 2.0])),
        constant("times", INT, &[1], &ints(&[i32::MAX])),
        node("y", "Tile", &["x", "times"], &[]),
    ];
    let full = [constant("y", FLOAT, &[1 << 20, 1 << 20], &[])];
    let one_hot = [
        constant("i", INT, &[1], &ints(&[0])),
        constant("depth", INT, &[], &ints(&[i32::MAX])),
        constant("on", FLOAT, &[], &floats(&[1.0])),
        node("y", "OneHot", &["i", "depth", "on", "on"], &[]),
    ];
    for nodes in [&fill[..], &tile[..], &full[..], &one_hot[..]] {
        let error = session(nodes)
            .with_limits(Limits::new().with_tensor_bytes(1 << 20))
            .run(&["y"], &[])
            .unwrap_err();
        let Error::Node { source, .. } = &error else {
            panic!("{error}")
        };
        assert!(matches!(**source, Error::Limit { .. }), "{error}: {source}");
    }
}

#[test]
fn a_graph_that_needs_its_own_result_is_an_error() {
    let nodes = [node("a", "Exp", &["b"], &[]), node("b", "Exp", &["a"], &[])];
    let error = session(&nodes).run(&["a"], &[]).unwrap_err();
    assert!(error.to_string().contains("needs its own result"), "{error}");
    let error = session(&[node("a", "Exp", &["nowhere"], &[])])
        .run(&["a"], &[])
        .unwrap_err();
    assert!(error.to_string().contains("`nowhere`, an input of node `a`"), "{error}");
}

#[test]
fn a_failed_restore_changes_nothing() {
    let graph = import_meta_graph(repository("data/tf-digits/saver/model.ckpt-240.meta")).unwrap();
    let session = Session::new(&graph, &Device::Cpu).unwrap();
    session
        .restore(repository("data/tf-digits/saver/model.ckpt-240"))
        .unwrap();
    let before = session.variable("dense/kernel").unwrap().to_vec2::<f32>().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let variables = [tfckpt::Variable::new("dense/kernel", [2, 2], &[1f32, 2., 3., 4.])];
    let saved = tfckpt::Saver::new(dir.path()).save(variables, 1).unwrap();
    let error = session.restore(&saved.prefix).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`dense/kernel` has shape [2, 2], expected [64, 10]")
            && text.contains("`conv1/kernel` is not there"),
        "{text}"
    );
    assert_eq!(
        session.variable("dense/kernel").unwrap().to_vec2::<f32>().unwrap(),
        before
    );
}

#[test]
fn an_endless_loop_ends_at_its_limit() {
    let always = number(5, 1);
    let frame = [attr("frame_name", &wire::bytes(2, b"loop"))];
    let nodes = [
        constant("zero", INT, &[], &ints(&[0])),
        node("enter", "Enter", &["zero"], &frame),
        node("merge", "Merge", &["enter", "next"], &[]),
        node("same", "Equal", &["merge", "merge"], &[]),
        node("cond", "LoopCond", &["same"], &[]),
        node("switch", "Switch", &["merge", "cond"], &[]),
        node(
            "body",
            "Identity",
            &["switch:1"],
            &[dtype("T", INT), attr("flag", &always)],
        ),
        node("next", "NextIteration", &["body"], &[]),
        node("exit", "Exit", &["switch"], &[]),
    ];
    let session = session(&nodes).with_limits(Limits::new().with_iterations(1000));
    let error = session.run(&["exit"], &[]).unwrap_err();
    let Error::Node { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(**source, Error::Limit { value: 1001, .. }), "{source}");
}

/// Bytes of real graphs, changed here and there: errors, or other numbers, but no panic and no large tensors.
#[test]
fn damaged_graphs_give_errors_and_never_panic() {
    let (images, labels) = digits();
    let (images, labels) = (images.narrow(0, 0, 2).unwrap(), labels.narrow(0, 0, 2).unwrap());
    let files = [
        ("data/tf-digits/saver/model.ckpt-240.meta", "loss:0"),
        ("tests/fixtures/networks/lstm/model.meta", "logits/BiasAdd:0"),
        ("tests/fixtures/networks/resnet/model.meta", "logits/BiasAdd:0"),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut parsed, mut ran) = (0, 0);
    for (path, fetch) in files {
        let original = std::fs::read(repository(path)).unwrap();
        for _ in 0..60 {
            let mut bytes = original.clone();
            for _ in 0..1 + next() % 8 {
                let at = next() as usize % bytes.len();
                bytes[at] = next() as u8;
            }
            let Ok(graph) = MetaGraph::parse(bytes, &tfckpt::Limits::default()) else {
                continue;
            };
            parsed += 1;
            let graph = Graph::from(graph);
            let session = Session::new(&graph, &Device::Cpu).unwrap();
            let limits = Limits::new().with_tensor_bytes(16 << 20).with_iterations(100);
            let session = session.with_limits(limits);
            let _ = session.initialize();
            for (name, var) in session.variables() {
                assert!(var.elem_count() <= 16 << 20, "{name}");
            }
            let x = Tensor::zeros((2, 8, 8, 1), DType::F32, &Device::Cpu).unwrap();
            let feeds: [(&str, &Tensor); 2] = [("image:0", &images), ("label:0", &labels)];
            let done = session.run(&[fetch], &feeds).is_ok() || session.run(&[fetch], &[("x:0", &x)]).is_ok();
            ran += usize::from(done);
        }
    }
    assert!(parsed > 20 && ran > 0, "{parsed} {ran}: the test has lost its point");
    println!("{parsed} of 180 parsed, {ran} ran");
}

#[test]
fn a_claim_that_does_not_hold_is_an_error_with_its_message_unless_claims_are_left_out() {
    const BOOL: u64 = 10;
    const STRING: u64 = 7;
    let text = [number(1, STRING), bytes(2, &[]), bytes(8, b"not all:")].concat();
    let nodes = [
        node("x", "Placeholder", &[], &[dtype("dtype", FLOAT)]),
        node("holds", "Placeholder", &[], &[dtype("dtype", BOOL)]),
        node(
            "message",
            "Const",
            &[],
            &[dtype("dtype", STRING), attr("value", &bytes(8, &text))],
        ),
        node("claim", "Assert", &["holds", "message", "x"], &[]),
        node("group", "NoOp", &["^claim"], &[]),
        node("y", "Neg", &["x", "^group"], &[dtype("T", FLOAT)]),
        node("z", "Neg", &["x"], &[dtype("T", FLOAT)]),
    ];
    let x = Tensor::from_vec(vec![1f32, 2.5, -3.0, 4.0], 4, &Device::Cpu).unwrap();
    let holds = |holds: u8| Tensor::new(holds, &Device::Cpu).unwrap();
    let run = |session: &Session, name: &str, truth: u8| {
        let feeds = [("x", &x), ("holds", &holds(truth))];
        session
            .run(&[name], &feeds)
            .map(|mut found| found.remove(0).to_vec1::<f32>().unwrap())
    };
    let plain = session(&nodes);
    assert_eq!(run(&plain, "y", 1).unwrap(), [-1.0, -2.5, 3.0, -4.0]);
    let error = run(&plain, "y", 0).unwrap_err();
    assert!(error.to_string().contains("`claim`"), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "assertion failed: not all: [1 2.5 -3 ...]");
    // Nobody waits for it there.
    assert_eq!(run(&plain, "z", 0).unwrap(), [-1.0, -2.5, 3.0, -4.0]);
    let without = session(&nodes).without_asserts(true);
    assert_eq!(run(&without, "y", 0).unwrap(), [-1.0, -2.5, 3.0, -4.0]);
}

#[test]
fn a_loop_that_pops_more_than_it_pushed_is_an_error() {
    let nodes = [
        constant("most", INT, &[], &ints(&[-1])),
        node("stack", "StackV2", &["most"], &[dtype("elem_type", FLOAT)]),
        node("popped", "StackPopV2", &["stack"], &[dtype("elem_type", FLOAT)]),
    ];
    let error = session(&nodes).run(&["popped"], &[]).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("a stack that is empty"), "{source}");
}

#[test]
fn strings_that_would_be_repeated_beyond_the_limit_are_an_error_before_they_are_made() {
    const STRING: u64 = 7;
    let strings = |name: &str, dims: &[u64], texts: &[&[u8]]| {
        let dims: Vec<u8> = dims.iter().flat_map(|dim| bytes(2, &number(1, *dim))).collect();
        let texts: Vec<u8> = texts.iter().flat_map(|text| bytes(8, text)).collect();
        let tensor = [number(1, STRING), bytes(2, &dims), texts].concat();
        node(
            name,
            "Const",
            &[],
            &[dtype("dtype", STRING), attr("value", &bytes(8, &tensor))],
        )
    };
    let long = vec![b'x'; 1 << 16];
    let nodes = [
        strings("long", &[], &[&long]),
        strings("row", &[1], &[&long]),
        strings("many", &[1 << 12], &[b""]),
        constant("dims", INT, &[1], &ints(&[1 << 12])),
        constant("zero", INT, &[], &ints(&[0])),
        node("zeros", "Fill", &["dims", "zero"], &[dtype("T", INT)]),
        node("filled", "Fill", &["dims", "long"], &[dtype("T", STRING)]),
        node("joined", "StringJoin", &["long", "many"], &[]),
        node("gathered", "Gather", &["row", "zeros"], &[dtype("Tparams", STRING)]),
    ];
    let session = session(&nodes).with_limits(Limits::new().with_tensor_bytes(16 << 20));
    for name in ["filled", "joined", "gathered"] {
        let error = session.run_values(&[name], &[]).unwrap_err();
        let Error::Node { source, .. } = &error else {
            panic!("{name}: {error}")
        };
        assert!(matches!(**source, Error::Limit { .. }), "{name}: {source}");
    }
}
