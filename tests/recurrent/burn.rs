//! Burn's recurrent layers.

use std::path::Path;

use burn::module::Module;
use burn::nn::GateController;
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::store::ModuleSnapshot;
use burn::tensor::Device;
use tfckpt::Checkpoint;
use tfckpt::map::NameMap;
use tfckpt::objects::ObjectLayout;
use tfckpt::optimizers::Convention;
use tfckpt_burn::optim::{Adam, Momentum, RmsProp};
use tfckpt_burn::{TfCheckpointStore, TfCheckpoints};

use crate::burn_net::{LAYERS, Net, Training, checkpoints};

fn load<M: Module>(module: &mut M, path: &Path, names: NameMap) {
    let mut store = TfCheckpointStore::from_file(path).names(names);
    module.load_from(&mut store).unwrap();
}

fn save<M: Module>(module: &M, path: &Path, names: NameMap) {
    let mut store = TfCheckpointStore::from_file(path).names(names);
    module.save_into(&mut store).unwrap();
}

/// All that is in the latest checkpoint, by the names of variables, sorted.
fn content(path: &Path) -> Vec<(String, Vec<u8>)> {
    let latest = Checkpoint::open(path).unwrap();
    let graph = latest.objects().unwrap();
    let read = |info: &tfckpt::VariableInfo| {
        let key = info.name().into_owned();
        let object = graph.and_then(|graph| graph.with_key(&key));
        let bytes = latest.read_bytes(info.key()).unwrap();
        (object.map_or(key, |object| object.name()), bytes)
    };
    let mut all: Vec<_> = latest.variables().map(read).collect();
    all.sort();
    all
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let words = bytes.as_chunks::<4>().0.iter();
    words.map(|word| f32::from_le_bytes(*word))
}

/// Trains in a directory, going on with what it finds there.
fn trained(dir: &Path, until: i64, layout: Option<ObjectLayout>) -> Vec<(String, Vec<u8>)> {
    let run = match layout {
        Some(layout) => checkpoints(dir).objects(layout),
        None => checkpoints(dir),
    };
    Training::new(AdamConfig::new().init()).until(&run, until).unwrap();
    drop(run);
    content(dir)
}

/// Burn adds gradients up in an order of its own each time, so that two runs differ in the last bits.
fn assert_ends_alike(ours: &[(String, Vec<u8>)], expected: &[(String, Vec<u8>)]) {
    // Of two biases whose moments differ in the last bits alone, those of the second are there or not.
    let is_ours = |name: &str| !name.contains("/bias/recurrent/") && name != "_CHECKPOINTABLE_OBJECT_GRAPH";
    let names = |all: &[(String, Vec<u8>)]| {
        let names = all.iter().map(|(name, _)| name.clone());
        names.filter(|name| is_ours(name)).collect::<Vec<_>>()
    };
    assert_eq!(names(ours), names(expected));
    let weights = expected
        .iter()
        .filter(|(name, _)| is_ours(name) && !name.contains("Adam") && !name.contains("adam") && name.contains("lstm"));
    let mut count = 0;
    for (name, bytes) in weights {
        let (_, other) = ours.iter().find(|(own, _)| own == name).unwrap();
        for (a, b) in floats(bytes).zip(floats(other)) {
            assert!((a - b).abs() <= 1e-5 * (1.0 + a.abs()), "{name}: {a} and {b}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn a_resumed_training_of_recurrent_layers_ends_with_the_same_weights() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let expected = trained(whole.path(), 8, None);
    trained(parts.path(), 4, None);
    let checkpoint = Checkpoint::open(parts.path()).unwrap();
    for (name, dims) in [
        ("lstm/lstm_cell/kernel/Adam", vec![3, 20]),
        ("bi/backward_lstm/lstm_cell/recurrent_kernel/Adam_1", vec![2, 8]),
        ("lstm/lstm_cell/bias/Adam", vec![20]),
        ("lstm/lstm_cell/bias/recurrent", vec![20]),
        // They have other gradients.
        ("lstm/lstm_cell/bias/recurrent/Adam", vec![20]),
        ("gru/gru_cell/bias/Adam", vec![2, 12]),
    ] {
        assert_eq!(checkpoint.variable(name).unwrap().shape().dims(), dims, "{name}");
    }
    assert_ends_alike(&trained(parts.path(), 8, None), &expected);
}

/// Python has neither of the two biases: they are beside its objects, and so are the moments of the second.
#[test]
fn so_does_one_that_is_saved_as_objects_of_keras() {
    let keras3 = || ObjectLayout::keras3_sequential(["input"].into_iter().chain(LAYERS));
    let keras2 = || ObjectLayout::keras2(LAYERS);
    let legacy = || keras2().optimizer(Convention::Keras2Legacy);
    let layouts: [(&dyn Fn() -> ObjectLayout, &str); 3] = [
        (&keras3, "model/_functional/_operations/2"),
        (&keras2, "model/layer-1"),
        (&legacy, "model/layer_with_weights-1"),
    ];
    for (layout, bi) in layouts {
        let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let expected = trained(whole.path(), 4, Some(layout()));
        trained(parts.path(), 2, Some(layout()));
        let checkpoint = Checkpoint::open(parts.path()).unwrap();
        for direction in ["forward", "backward"] {
            let found = checkpoint
                .find(&format!("bi/{direction}_lstm/lstm_cell/recurrent_kernel"))
                .unwrap();
            let place = format!("{bi}/{direction}_layer/cell/recurrent_kernel");
            let root = checkpoint.objects().unwrap().unwrap().node(0).unwrap();
            let object = place.split('/').fold(root, |object, part| object.child(part).unwrap());
            assert_eq!(object.variable().unwrap().key(), found.name());
        }
        assert!(checkpoint.contains("lstm/lstm_cell/bias/input"));
        assert_ends_alike(&trained(parts.path(), 4, Some(layout())), &expected);
    }
}

/// What is read is written again as it was, the moments of both biases of each gate included. Nothing is computed meanwhile,
/// so that every byte must be the same.
#[test]
fn the_moments_of_both_biases_come_back_to_the_last_bit() {
    type Make = fn() -> ModuleOptimizer;
    let burns: Make = || AdamConfig::new().init();
    let amsgrad: Make = || AdamConfig::new().with_amsgrad(true).init();
    let adam: Make = || Adam::keras().init();
    let momentum: Make = || Momentum::v1(0.9).init();
    let centered: Make = || RmsProp::v1().with_centered(true).init();
    let [v1, keras2, keras3] = [Convention::V1, Convention::Keras2, Convention::Keras3];
    for (make, convention) in [
        (burns, v1),
        (amsgrad, keras2),
        (adam, keras3),
        (momentum, v1),
        (centered, v1),
    ] {
        let [first, second] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let at = |dir: &Path| -> TfCheckpoints { checkpoints(dir).optimizer_convention(convention) };
        Training::new(make()).until(&at(first.path()), 2).unwrap();
        let again = Training::new(make()).until(&at(first.path()), 2).unwrap();
        at(second.path())
            .save(&again.net, &again.optimizer, &again.rate)
            .unwrap();
        // Another run, which has made no step of its own.
        let own = |(name, _): &(String, Vec<u8>)| name != "global_step" && !name.starts_with("burn/");
        let [before, after] =
            [&first, &second].map(|dir| content(dir.path()).into_iter().filter(own).collect::<Vec<_>>());
        let names = |all: &[(String, Vec<u8>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&before), names(&after));
        let differ = before.iter().zip(&after).filter(|(before, after)| before.1 != after.1);
        let differ: Vec<&String> = differ.map(|((name, _), _)| name).collect();
        assert!(differ.is_empty(), "{convention:?}: {differ:?}");
        let of_second = |name: &String| name.contains("bias") && name.contains("recurrent") && !name.contains("kernel");
        let second: Vec<String> = names(&before).into_iter().filter(of_second).collect();
        assert!(second.len() > 2, "the moments of a second bias differ: {second:?}");
    }
}

#[test]
fn two_biases_that_were_saved_as_their_sum_come_back_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::flex();
    // Biases whose sum is rounded.
    let (drawn, mut restored) = (Net::new(&device), Net::new(&device).map(&mut Zero));
    let path = dir.path().join("drawn");
    save(&drawn, &path, NameMap::keras());
    load(&mut restored, &path, NameMap::keras());
    let own = |model: &Net, name: &str| {
        let path = dir.path().join(name);
        save(model, &path, NameMap::identity());
        content(&path)
    };
    assert!(own(&drawn, "a") == own(&restored, "b"));
    // Another sum, as TensorFlow would leave it behind: it counts, and what was kept does not.
    let saved = Checkpoint::open(&path).unwrap();
    let changed = saved.variables().map(|info| {
        let mut bytes = saved.read_bytes(info.key()).unwrap();
        if info.name() == "lstm/lstm_cell/bias" {
            bytes = 0.5f32.to_le_bytes().repeat(20);
        }
        tfckpt::Variable::from_bytes(info.key(), info.dtype(), info.shape().clone(), bytes)
    });
    let other = dir.path().join("other");
    tfckpt::Saver::new(&other).save(changed.collect::<Vec<_>>(), 1).unwrap();
    load(&mut restored, &other, NameMap::keras());
    let bias = |gate: &GateController| {
        let both = [&gate.input_transform, &gate.hidden_transform].map(|part| part.bias.as_ref().unwrap().val());
        both.map(|bias| bias.into_data().try_to_vec::<f32>().unwrap())
    };
    assert_eq!(bias(&restored.lstm.input_gate), [vec![0.5; 5], vec![0.0; 5]]);
}

/// Nothing but zeros.
struct Zero;

impl burn::module::ModuleMapper for Zero {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<burn::tensor::Tensor<D>>,
    ) -> burn::module::Param<burn::tensor::Tensor<D>> {
        let (id, value, mapper) = param.consume();
        burn::module::Param::from_mapped_value(id, value * 0.0, mapper)
    }
}
