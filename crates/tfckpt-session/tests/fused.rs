//! Operations that are computed together, block by block, give the bits that their kernels give one after the other: a run whose
//! gradients are wanted takes the kernels.

#[path = "support/wire.rs"]
mod wire;

use candle_core::{DType, Device, Tensor};
use tfckpt::MetaGraph;
use tfckpt_session::{Error, Graph, Session};
use wire::{attr, bytes, dtype, meta_graph, node, number};

const FLOAT: u64 = 1;
const DOUBLE: u64 = 2;

fn session(nodes: &[Vec<u8>]) -> Session {
    let graph = MetaGraph::parse(meta_graph(nodes), &tfckpt::Limits::default()).unwrap();
    Session::new(&Graph::from(graph), &Device::Cpu).unwrap()
}

fn placeholders(names: &[&str], of: u64) -> Vec<Vec<u8>> {
    names
        .iter()
        .map(|name| node(name, "Placeholder", &[], &[dtype("dtype", of)]))
        .collect()
}

/// Numbers of every size, some of them special.
fn numbers(dims: &[usize], seed: usize) -> Tensor {
    let count = dims.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|place: usize| match (place + seed) % 23 {
            7 => f32::NAN,
            11 => f32::INFINITY,
            13 => -0.0,
            17 => -1e-20,
            _ => (((place * 7919 + seed * 104_729) % 2003) as f32 - 1001.0) / 333.0,
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> (Vec<usize>, Vec<u32>) {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    // One NaN is as good as another.
    let bits = |x: &f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
    (tensor.dims().to_vec(), values.iter().map(bits).collect())
}

fn assert_is_what_the_kernels_compute(session: &Session, fetches: &[&str], feeds: &[(&str, &Tensor)]) {
    let together = session.run(fetches, feeds).unwrap();
    let one_by_one = session.run_tracked(fetches, feeds).unwrap();
    for ((fetch, ours), theirs) in fetches.iter().zip(&together).zip(&one_by_one) {
        assert_eq!(bits(ours), bits(theirs), "{fetch} of {feeds:?}");
    }
}

/// Everything that can be computed together, in a row of its own and in one chain.
fn chain(of: u64) -> Vec<Vec<u8>> {
    let mut nodes = placeholders(&["x", "y", "z"], of);
    let two = [
        ("Sub", "y"),
        ("Mul", "z"),
        ("AddV2", "x"),
        ("Maximum", "y"),
        ("SquaredDifference", "z"),
        ("Minimum", "x"),
        ("RealDiv", "y"),
        ("Add", "z"),
    ];
    let mut last = "x".to_owned();
    for (number, (op, other)) in two.iter().enumerate() {
        let name = format!("two{number}");
        nodes.push(node(&name, op, &[&last, other], &[]));
        last = name;
    }
    let one = [
        "Neg",
        "Relu6",
        "Square",
        "Sqrt",
        "Exp",
        "Rsqrt",
        "Erf",
        "Tanh",
        "Sigmoid",
        "Reciprocal",
        "Relu",
    ];
    for (number, op) in one.iter().enumerate() {
        let name = format!("one{number}");
        nodes.push(node(&name, op, &[&last], &[]));
        last = name;
    }
    nodes
}

#[test]
fn chains_of_all_operations_and_of_operands_that_are_stretched_in_every_way() {
    let session = session(&chain(FLOAT));
    let shapes: [[&[usize]; 3]; 9] = [
        [&[3, 5], &[3, 5], &[3, 5]],
        [&[3, 5], &[5], &[]],
        [&[3, 1], &[1, 5], &[1]],
        [&[2, 3, 300], &[300], &[2, 3, 1]],
        [&[1, 1], &[2, 1, 700], &[1, 9, 1]],
        [&[4, 1, 3, 2], &[5, 1, 2], &[3, 1]],
        [&[700], &[700], &[1]],
        // Enough for several threads.
        [&[300, 513], &[300, 1], &[513]],
        [&[0, 3], &[3], &[1, 3]],
    ];
    for (seed, [x, y, z]) in shapes.iter().enumerate() {
        let (x, y, z) = (numbers(x, seed), numbers(y, seed + 1), numbers(z, seed + 2));
        let feeds = [("x", &x), ("y", &y), ("z", &z)];
        assert_is_what_the_kernels_compute(&session, &["one10"], &feeds);
        assert_is_what_the_kernels_compute(&session, &["two7"], &feeds);
        // What is fetched is there, in the middle of a chain, too.
        assert_is_what_the_kernels_compute(&session, &["one4", "two3", "one10"], &feeds);
    }
}

#[test]
fn operands_that_do_not_lie_in_a_row_are_found() {
    let session = session(&chain(FLOAT));
    let x = numbers(&[6, 40], 3).t().unwrap();
    let y = numbers(&[40, 12], 4).narrow(1, 3, 6).unwrap();
    let z = numbers(&[1, 40], 5).t().unwrap();
    assert_is_what_the_kernels_compute(&session, &["one10"], &[("x", &x), ("y", &y), ("z", &z)]);
}

#[test]
fn what_is_needed_twice_is_computed_as_it_is_alone() {
    // GELU, and a value that somebody else needs.
    let mut nodes = placeholders(&["x", "half", "root", "one"], FLOAT);
    nodes.extend([
        node("h", "Mul", &["half", "x"], &[]),
        node("r", "RealDiv", &["x", "root"], &[]),
        node("e", "Erf", &["r"], &[]),
        node("p", "AddV2", &["one", "e"], &[]),
        node("gelu", "Mul", &["h", "p"], &[]),
        node("elsewhere", "Neg", &["r"], &[]),
    ]);
    let session = session(&nodes);
    let scalar = |x: f32| Tensor::from_vec(vec![x], (), &Device::Cpu).unwrap();
    let (half, root, one, x) = (scalar(0.5), scalar(2f32.sqrt()), scalar(1.0), numbers(&[17, 31], 1));
    let feeds = [("x", &x), ("half", &half), ("root", &root), ("one", &one)];
    assert_is_what_the_kernels_compute(&session, &["gelu"], &feeds);
    assert_is_what_the_kernels_compute(&session, &["gelu", "elsewhere"], &feeds);
}

fn normalized(channels_first: bool) -> Session {
    let format = if channels_first { "NCHW" } else { "NHWC" };
    let attrs = [
        dtype("T", FLOAT),
        attr("is_training", &number(5, 0)),
        attr("epsilon", &[0x25, 0x6f, 0x12, 0x83, 0x3a]),
        attr("data_format", &bytes(2, format.as_bytes())),
    ];
    let mut nodes = placeholders(&["x", "scale", "offset", "mean", "variance", "bias", "short"], FLOAT);
    let operands = ["x", "scale", "offset", "mean", "variance"];
    nodes.extend([
        node("norm", "FusedBatchNormV3", &operands, &attrs),
        node("sum", "AddV2", &["norm", "short"], &[]),
        node("y", "Relu", &["sum"], &[]),
        node(
            "biased",
            "BiasAdd",
            &["x", "bias"],
            &[attr("data_format", &bytes(2, format.as_bytes()))],
        ),
        node("z", "Relu6", &["biased"], &[]),
    ]);
    session(&nodes)
}

#[test]
fn normalized_images_and_biases_in_either_layout() {
    for channels_first in [false, true] {
        let session = normalized(channels_first);
        let dims = if channels_first { [2, 6, 9, 9] } else { [2, 9, 9, 6] };
        let (x, short) = (numbers(&dims, 1), numbers(&dims, 2));
        let vectors: Vec<Tensor> = (3..8).map(|seed| numbers(&[6], seed)).collect();
        let variance = vectors[3].abs().unwrap();
        let feeds = [
            ("x", &x),
            ("short", &short),
            ("scale", &vectors[0]),
            ("offset", &vectors[1]),
            ("mean", &vectors[2]),
            ("variance", &variance),
            ("bias", &vectors[4]),
        ];
        for fetches in [&["y"][..], &["norm"], &["y", "norm:1"], &["z"], &["biased", "z"]] {
            assert_is_what_the_kernels_compute(&session, fetches, &feeds);
        }
        // A bias for other channels is what the kernel says it is.
        let wrong = numbers(&[5], 1);
        let error = session.run(&["z"], &[("x", &x), ("bias", &wrong)]).unwrap_err();
        assert!(
            matches!(&error, Error::Node { node, .. } if node == "biased"),
            "{error}"
        );
    }
}

/// An image of one pixel is no larger than its scale, which is then computed among the rest.
#[test]
fn a_scale_that_is_computed_is_used_as_it_is() {
    let attrs = [
        dtype("T", FLOAT),
        attr("is_training", &number(5, 0)),
        attr("epsilon", &[0x25, 0x6f, 0x12, 0x83, 0x3a]),
    ];
    let mut nodes = placeholders(&["x", "scale", "offset", "mean", "variance", "factor"], FLOAT);
    let operands = ["x", "scaled", "offset", "mean", "varied"];
    nodes.extend([
        node("scaled", "Mul", &["scale", "factor"], &[]),
        node("varied", "Square", &["variance"], &[]),
        node("norm", "FusedBatchNormV3", &operands, &attrs),
        node("y", "Relu", &["norm"], &[]),
    ]);
    let session = session(&nodes);
    let x = numbers(&[1, 1, 1, 6], 1);
    let [scale, offset, mean, variance, factor] = [2, 3, 4, 5, 6].map(|seed| numbers(&[6], seed));
    let feeds = [
        ("x", &x),
        ("scale", &scale),
        ("offset", &offset),
        ("mean", &mean),
        ("variance", &variance),
        ("factor", &factor),
    ];
    assert_is_what_the_kernels_compute(&session, &["y"], &feeds);
}

#[test]
fn other_dtypes_and_shapes_that_do_not_fit_are_left_to_the_kernels() {
    let doubles = session(&chain(DOUBLE));
    let [x, y, z] = [1, 2, 3].map(|seed| numbers(&[4, 6], seed).to_dtype(DType::F64).unwrap());
    let feeds = [("x", &x), ("y", &y), ("z", &z)];
    let together = doubles.run(&["one10"], &feeds).unwrap().remove(0);
    let one_by_one = doubles.run_tracked(&["one10"], &feeds).unwrap().remove(0);
    assert_eq!(together.dtype(), DType::F64);
    let [ours, theirs] = [together, one_by_one].map(|x| x.flatten_all().unwrap().to_vec1::<f64>().unwrap());
    assert!(
        ours.iter()
            .zip(&theirs)
            .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
    );

    let session = session(&chain(FLOAT));
    let (x, y, z) = (numbers(&[4, 6], 1), numbers(&[4, 6], 2), numbers(&[5], 3));
    let error = session.run(&["one10"], &[("x", &x), ("y", &y), ("z", &z)]).unwrap_err();
    // The operation that it is, and not the one that the others became a part of.
    assert!(matches!(&error, Error::Node { node, .. } if node == "two1"), "{error}");
}

#[test]
fn an_operation_of_the_users_own_is_not_replaced() {
    let mut session = session(&chain(FLOAT));
    session.register("Neg", |_| {
        Ok(Box::new(|args, _| {
            let x = args.float(0)?;
            let all = x.ones_like()?;
            Ok(vec![tfckpt_session::Value::Tensor(tfckpt_session::TfTensor::natural(
                all,
            )?)])
        }))
    });
    let [x, y, z] = [1, 2, 3].map(|seed| numbers(&[3, 4], seed));
    let ones = session
        .run(&["one0"], &[("x", &x), ("y", &y), ("z", &z)])
        .unwrap()
        .remove(0);
    assert_eq!(
        bits(&ones),
        bits(&Tensor::ones((3, 4), DType::F32, &Device::Cpu).unwrap())
    );
}
