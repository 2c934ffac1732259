//! Frozen graphs: their weights are constants, and become variables again when that is asked for.

mod support;
#[path = "support/wire.rs"]
mod wire;

use candle_core::{DType, Device, Tensor};
use support::repository;
use tfckpt::MetaGraph;
use tfckpt_session::{Graph, Session, import_meta_graph};
use wire::{constant, dtype, meta_graph, node};

const FLOAT: u64 = 1;
const INT: u64 = 3;

fn frozen() -> Graph {
    import_meta_graph(repository("tests/fixtures/networks/frozen/frozen.pb")).unwrap()
}

fn images() -> Tensor {
    let pixels = (0..3 * 10 * 10 * 3).map(|place| (place % 17) as f32 / 17.0 - 0.5);
    Tensor::from_vec(pixels.collect::<Vec<f32>>(), (3, 10, 10, 3), &Device::Cpu).unwrap()
}

const OUTPUT: &str = "MobilenetV1/Predictions:0";

#[test]
fn a_thawed_graph_computes_the_same_and_can_be_trained() {
    let plain = Session::new(&frozen(), &Device::Cpu).unwrap();
    assert!(plain.variables().is_empty());
    let before = plain.run(&[OUTPUT], &[("input:0", &images())]).unwrap().remove(0);
    let session = Session::new(&frozen().thawed(), &Device::Cpu).unwrap();
    let run = || {
        session
            .run_tracked(&[OUTPUT], &[("input:0", &images())])
            .unwrap()
            .remove(0)
    };
    let same = (run() - before).unwrap().abs().unwrap().max_all().unwrap();
    assert!(same.to_scalar::<f32>().unwrap() < 1e-7);

    let loss = || {
        run()
            .narrow(1, 0, 1)
            .unwrap()
            .log()
            .unwrap()
            .neg()
            .unwrap()
            .mean_all()
            .unwrap()
    };
    let first = loss();
    let gradients = first.backward().unwrap();
    for (name, var) in session.variables() {
        let gradient = gradients.get(&var);
        let gradient = gradient.unwrap_or_else(|| panic!("no gradient of {name}"));
        if !name.contains("moving") {
            var.set(&(var.as_tensor() - (gradient * 0.1).unwrap()).unwrap())
                .unwrap();
        }
    }
    let (first, second) = (first.to_scalar::<f32>().unwrap(), loss().to_scalar::<f32>().unwrap());
    assert!(second < first, "{second} after {first}");
}

#[test]
fn weights_are_what_is_read_as_variables_are_or_else_all_floats_that_are_no_scalars() {
    let floats = |count: usize| vec![0u8; 4 * count];
    let identity = |name: &str, from: &str| node(name, "Identity", &[from], &[dtype("T", FLOAT)]);
    let names = |nodes: &[Vec<u8>]| -> Vec<String> {
        let graph = Graph::from(MetaGraph::parse(meta_graph(nodes), &tfckpt::Limits::default()).unwrap());
        let session = Session::new(&graph.thawed(), &Device::Cpu).unwrap();
        session.variables().into_iter().map(|(name, _)| name).collect()
    };
    let constants = [
        constant("kernel", FLOAT, &[2], &floats(2)),
        constant("scale", FLOAT, &[], &floats(1)),
        constant("other", FLOAT, &[3], &floats(3)),
        constant("axis", INT, &[1], &floats(1)),
    ];
    let with = |more: &[Vec<u8>]| names(&[&constants[..], more].concat());
    assert_eq!(
        with(&[
            identity("kernel/read", "kernel"),
            identity("scale/Read/ReadVariableOp", "scale:0")
        ]),
        ["kernel", "scale"]
    );
    assert_eq!(
        with(&[
            identity("x/ReadVariableOp_1", "other"),
            identity("y/ReadVariableOpen", "kernel")
        ]),
        ["other"]
    );
    assert_eq!(with(&[identity("copy", "kernel")]), ["kernel", "other"]);
}

#[test]
fn a_weight_that_is_damaged_is_an_error_that_names_it() {
    let nodes = [constant("kernel", FLOAT, &[1 << 40], &[])];
    let graph = Graph::from(MetaGraph::parse(meta_graph(&nodes), &tfckpt::Limits::default()).unwrap());
    let error = Session::new(&graph.thawed(), &Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("`kernel`"), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("the size of a tensor"), "{source}");
}

#[test]
fn weights_are_saved_under_the_names_of_the_graph_and_parts_make_a_whole() {
    let folder = repository("tests/fixtures/networks/dropout_partitioned");
    let graph = import_meta_graph(folder.join("model.meta")).unwrap();
    let session = Session::new(&graph, &Device::Cpu).unwrap();
    session.restore(folder.join("model")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ours = tfckpt::Checkpoint::open(session.save_weights(dir.path().join("deeper/weights")).unwrap()).unwrap();
    let theirs = tfckpt::Checkpoint::open(folder.join("model")).unwrap();
    let whole = theirs.variable("hidden/kernel").unwrap();
    assert!(whole.slices().len() > 1);
    assert_eq!(ours.variable("hidden/kernel").unwrap().shape(), whole.shape());
    assert_eq!(
        ours.read_bytes("hidden/kernel").unwrap(),
        theirs.read_bytes("hidden/kernel").unwrap()
    );
    assert!(session.save_weights("..").is_err());
    assert_eq!(session.variable("out/bias").unwrap().dtype(), DType::F32);
}
