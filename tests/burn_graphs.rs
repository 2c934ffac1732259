//! A graph's variables become those of a module of Burn by name, and the module computes what the graph computes: from a
//! `.meta` with its checkpoint, a SavedModel, and frozen graphs, whose weights are constants.
#![cfg(all(feature = "burn", feature = "candle"))]

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, LeakyReluConfig, Linear, LinearConfig};
use burn::store::ModuleSnapshot;
use burn::tensor::{Device, Tensor, TensorData};
use tfckpt::Checkpoint;
use tfckpt::map::NameMap;
use tfckpt_burn::TfCheckpointStore;
use tfckpt_session::{Graph, Session, import_meta_graph};

fn network(name: &str) -> PathBuf {
    Path::new("tests/fixtures/networks").join(name)
}

/// The weights of a graph, as a checkpoint that Burn is loaded from.
fn weights(graph: &Graph, checkpoint: Option<&Path>, dir: &Path) -> PathBuf {
    let session = Session::new(graph, &candle_core::Device::Cpu).unwrap();
    if let Some(prefix) = checkpoint {
        session.restore(prefix).unwrap();
    }
    session.save_weights(dir.join("weights")).unwrap()
}

/// A tensor of two dimensions that TensorFlow stored.
fn stored(network: &Path, key: &str) -> (Vec<f32>, [usize; 2]) {
    let values = Checkpoint::open(network.join("cases")).unwrap();
    let [rows, columns] = values.variable(key).unwrap().shape().dims() else {
        panic!("{key} is no matrix")
    };
    let dims = [*rows, *columns];
    (values.read(key).unwrap(), dims)
}

/// Fails if the module does not compute what TensorFlow computed; or if it does so before it was loaded.
fn assert_computes<M: Module>(
    network: &Path,
    (feed, output): (&str, &str),
    module: &mut M,
    store: &mut TfCheckpointStore,
    forward: impl Fn(&M, Tensor<2>) -> Tensor<2>,
) {
    let ((x, dims), (y, _)) = (stored(network, feed), stored(network, output));
    let difference = |module: &M| {
        let x = Tensor::<2>::from_data(TensorData::new(x.clone(), dims), &Device::flex());
        let ours = forward(module, x).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(ours.len(), y.len());
        let pairs = ours.iter().zip(&y);
        pairs.fold(0f32, |largest, (a, b)| largest.max((a - b).abs() / b.abs().max(0.1)))
    };
    assert!(difference(module) > 1e-2);
    module.load_from(store).unwrap();
    let found = difference(module);
    println!("{}: {found:e}", network.display());
    assert!(found < 1e-5, "{found}");
}

#[derive(Module, Debug)]
struct Sigmoid {
    dense: Linear,
}

#[test]
fn the_variables_of_a_meta_file_and_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let folder = network("dense_ref");
    let graph = import_meta_graph(folder.join("model.meta")).unwrap();
    let saved = weights(&graph, Some(&folder.join("model")), dir.path());
    let mut store = TfCheckpointStore::from_file(saved);
    let mut module = Sigmoid {
        dense: LinearConfig::new(10, 1).init(&Device::flex()),
    };
    let case = ("predict/feed/x:0", "predict/output/dense/Sigmoid:0");
    assert_computes(&folder, case, &mut module, &mut store, |module, x| {
        burn::tensor::activation::sigmoid(module.dense.forward(x))
    });
    // What the module has no place for is told.
    let report = store.report().unwrap().to_string();
    assert!(report.contains("dense/kernel/Adam"), "{report}");
}

#[derive(Module, Debug)]
struct Layers {
    dense: Linear,
    batch_normalization: BatchNorm,
    dense_1: Linear,
}

fn layers() -> Layers {
    let device = Device::flex();
    Layers {
        dense: LinearConfig::new(6, 8).with_bias(false).init(&device),
        batch_normalization: BatchNormConfig::new(8).with_epsilon(1e-3).init(&device),
        dense_1: LinearConfig::new(8, 3).init(&device),
    }
}

fn forward(module: &Layers, x: Tensor<2>) -> Tensor<2> {
    let h = module.dense.forward(x);
    let h = module.batch_normalization.forward(h);
    let h = LeakyReluConfig::new().with_negative_slope(0.2).init().forward(h);
    module.dense_1.forward(h)
}

#[test]
fn the_variables_of_a_saved_model_by_the_names_of_its_graph() {
    let dir = tempfile::tempdir().unwrap();
    let folder = network("keras2_save");
    let graph = import_meta_graph(&folder).unwrap();
    let saved = weights(&graph, graph.checkpoint(), dir.path());
    let names: Vec<String> = Checkpoint::open(&saved)
        .unwrap()
        .variables()
        .map(|variable| variable.name().into_owned())
        .collect();
    assert!(
        names.contains(&"batch_normalization/moving_mean".to_owned()),
        "{names:?}"
    );
    let case = ("serving_default/feed/input_1", "serving_default/output/dense_1");
    let mut store = TfCheckpointStore::from_file(saved);
    assert_computes(&folder, case, &mut layers(), &mut store, forward);
}

#[test]
fn the_constants_of_a_graph_that_tensorflow_2_has_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let folder = network("frozen_function");
    let graph = import_meta_graph(folder.join("frozen.pb")).unwrap();
    assert!(graph.variables().is_empty());
    let saved = weights(&graph.thawed(), None, dir.path());
    // Constants go by the operations that read them, so their names have to be said.
    let mut names = NameMap::keras();
    for (path, read) in [
        ("dense.weight", "dense/MatMul/ReadVariableOp"),
        (
            "batch_normalization.gamma",
            "batch_normalization/batchnorm/mul/ReadVariableOp",
        ),
        (
            "batch_normalization.beta",
            "batch_normalization/batchnorm/ReadVariableOp_2",
        ),
        (
            "batch_normalization.running_mean",
            "batch_normalization/batchnorm/ReadVariableOp_1",
        ),
        (
            "batch_normalization.running_var",
            "batch_normalization/batchnorm/ReadVariableOp",
        ),
        ("dense_1.weight", "dense_1/MatMul/ReadVariableOp"),
        ("dense_1.bias", "dense_1/BiasAdd/ReadVariableOp"),
    ] {
        names = names.rename(path, format!("sequential/{read}/resource"));
    }
    let values = Checkpoint::open(folder.join("cases")).unwrap();
    let mut keys = values.variables().map(|variable| variable.name().into_owned());
    let (feed, output) = (keys.next().unwrap(), keys.next().unwrap());
    let mut store = TfCheckpointStore::from_file(saved).names(names);
    assert_computes(&folder, (&feed, &output), &mut layers(), &mut store, forward);
}

#[test]
fn the_constants_of_a_graph_that_tensorflow_1_has_frozen_are_its_variables_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let graph = import_meta_graph(network("frozen").join("frozen.pb")).unwrap();
    let saved = Checkpoint::open(weights(&graph.thawed(), None, dir.path())).unwrap();
    let trained = Checkpoint::open(network("mobilenet").join("model")).unwrap();
    let mut compared = 0;
    for variable in saved.variables() {
        let name = variable.name();
        let (ours, theirs) = (saved.read_bytes(&*name), trained.read_bytes(&*name));
        assert_eq!(ours.unwrap(), theirs.unwrap(), "{name}");
        compared += 1;
    }
    // All that inference needs: weights, norms and their moving averages.
    let needed = trained.variables().filter(|variable| {
        let name = variable.name().into_owned();
        name.starts_with("MobilenetV1") && !name.contains("RMSProp")
    });
    assert_eq!(compared, needed.count());
}
