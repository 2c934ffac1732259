//! A part of a module begins with values of another one's checkpoint.

use std::path::{Path, PathBuf};

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, LinearLayout};
use burn::optim::AdamConfig;
use burn::store::ModuleSnapshot;
use burn::tensor::Device;
use tfckpt::map::{AssignmentMap, NameMap, WarmStart};
use tfckpt::{AssignmentFault, Checkpoint};
use tfckpt_burn::{Error, TfCheckpoints, init_from_checkpoint};

/// What TensorFlow saved: the networks of `data/make_tf_digits.py`.
fn trained(which: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../data/tf-digits")
        .join(which)
}

/// The network of function `saver` there, with a head of another size.
#[derive(Module, Debug)]
struct Network {
    conv1: Conv2d,
    conv2: Conv2d,
    head: Linear,
}

impl Network {
    fn new(classes: usize) -> Self {
        let device = Device::flex();
        Network {
            conv1: Conv2dConfig::new([1, 8], [3, 3]).init(&device),
            conv2: Conv2dConfig::new([8, 16], [3, 3]).init(&device),
            head: LinearConfig::new(64, classes)
                .with_layout(LinearLayout::Col)
                .init(&device),
        }
    }
}

/// The live values.
fn values<M: ModuleSnapshot>(module: &M) -> Vec<(String, Vec<u8>)> {
    let tensors = module.collect(None, None, false);
    tensors
        .into_iter()
        .map(|tensor| (tensor.name.clone(), tensor.to_bytes().unwrap().to_vec()))
        .collect()
}

fn floats<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn faults(error: Error) -> Vec<AssignmentFault> {
    match error {
        Error::Checkpoint(tfckpt::Error::Assignment { faults, .. }) => faults,
        other => panic!("{other}"),
    }
}

#[test]
fn convolutions_of_tensorflow_go_under_another_head() {
    let checkpoint = Checkpoint::open(trained("saver")).unwrap();
    let kernel = |name: &str| checkpoint.read::<f32>(name).unwrap();
    for map in [
        AssignmentMap::from([
            ("conv1/", "conv1/"),
            ("conv2/kernel", "conv2.weight"),
            ("conv2/bias", "conv2/bias"),
        ]),
        AssignmentMap::new().replace("(conv.)/", "$1/"),
    ] {
        let mut network = Network::new(2);
        let head = (floats(network.head.weight.val()), network.head.weight.id);
        let report = init_from_checkpoint(&mut network, &checkpoint, &NameMap::keras(), &map).unwrap();
        assert_eq!(report.loaded.len(), 4);
        assert_eq!((floats(network.head.weight.val()), network.head.weight.id), head);
        assert_eq!(
            floats(network.conv1.weight.val().permute([2, 3, 1, 0])),
            kernel("conv1/kernel")
        );
        assert_eq!(
            floats(network.conv2.weight.val().permute([2, 3, 1, 0])),
            kernel("conv2/kernel")
        );
        assert_eq!(floats(network.conv2.bias.clone().unwrap().val()), kernel("conv2/bias"));
    }
}

#[test]
fn a_warm_start_takes_what_has_the_same_name_and_a_head_of_another_name() {
    let checkpoint = Checkpoint::open(trained("saver")).unwrap();
    let mut network = Network::new(10);
    let warm_start = WarmStart::trained(".*")
        .prev_name("head/kernel", "dense/kernel")
        .prev_name("head.bias", "dense/bias");
    let report = init_from_checkpoint(&mut network, &checkpoint, &NameMap::keras(), &warm_start).unwrap();
    assert_eq!(report.loaded.len(), 6);
    let head = floats(network.head.weight.val());
    assert_eq!(head, checkpoint.read::<f32>("dense/kernel").unwrap());
}

#[test]
fn objects_of_keras_are_called_by_their_full_names() {
    #[derive(Module, Debug)]
    struct Body {
        conv1: Conv2d,
        bn1: BatchNorm,
    }
    let device = Device::flex();
    let mut body = Body {
        conv1: Conv2dConfig::new([1, 8], [3, 3]).with_bias(false).init(&device),
        bn1: BatchNormConfig::new(8).init(&device),
    };
    let checkpoint = Checkpoint::open(trained("keras")).unwrap();
    let map = AssignmentMap::from([("digits/", "/")]);
    let report = init_from_checkpoint(&mut body, &checkpoint, &NameMap::keras(), &map).unwrap();
    assert_eq!(report.loaded.len(), 5, "{report}");
    let gamma = checkpoint.read::<f32>("digits/bn1/gamma").unwrap();
    assert_eq!(floats(body.bn1.gamma.val()), gamma);
    // Trained variables alone.
    let warm_start = WarmStart::trained(".*")
        .except("conv1")
        .prev_name("bn1/gamma", "digits/bn1/gamma");
    let warm_start = warm_start.prev_name("bn1/beta", "digits/bn1/beta");
    let report = init_from_checkpoint(&mut body, &checkpoint, &NameMap::keras(), &warm_start).unwrap();
    assert_eq!(report.loaded.len(), 2);
}

#[test]
fn after_an_error_nothing_is_changed() {
    let checkpoint = Checkpoint::open(trained("saver")).unwrap();
    let mut network = Network::new(2);
    let before = values(&network);
    let map = AssignmentMap::from([
        ("conv1/", "conv1/"),
        ("dense/", "head/"),
        ("conv2/kernel", "conv2.wight"),
    ]);
    let found = faults(init_from_checkpoint(&mut network, &checkpoint, &NameMap::keras(), &map).unwrap_err());
    assert!(
        matches!(
            &found[..],
            [
                AssignmentFault::UnknownVariable { .. },
                AssignmentFault::Mismatched(_),
                AssignmentFault::Mismatched(_)
            ]
        ),
        "{found:?}"
    );
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("model.ckpt-360");
    std::fs::copy(
        trained("saver").join("model.ckpt-360.index"),
        prefix.with_file_name("model.ckpt-360.index"),
    )
    .unwrap();
    let map = AssignmentMap::from([("conv1/", "conv1/")]);
    let gone = Checkpoint::open(prefix).unwrap();
    let error = init_from_checkpoint(&mut network, &gone, &NameMap::keras(), &map).unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint(tfckpt::Error::ShardMissing { .. })),
        "{error}"
    );
    assert_eq!(values(&network), before);
}

#[test]
fn a_run_begins_so_only_if_it_has_no_checkpoint_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let map = AssignmentMap::new().replace("(conv.)/", "$1/");
    let begin = |path: &Path| {
        let checkpoints = TfCheckpoints::new(dir.path());
        let (mut network, mut optimizer) = (Network::new(2), AdamConfig::new().init());
        let mut rate: ModuleLrScheduler = ConstantLr::from(1e-3).into();
        let report = checkpoints.init_from(&mut network, path, &map).unwrap();
        let step = checkpoints
            .restore_or_initialize(&mut network, &mut optimizer, &mut rate)
            .unwrap();
        checkpoints.after_step(&network, &optimizer, &rate).unwrap();
        checkpoints.save(&network, &optimizer, &rate).unwrap();
        (report, step, values(&network))
    };
    let (report, step, first) = begin(&trained("saver"));
    assert_eq!((report.unwrap().loaded.len(), step), (4, 0));
    let (report, step, second) = begin(Path::new("gone"));
    assert!(
        report.is_none(),
        "the run's own checkpoint wins, and the other one is not needed any more"
    );
    assert_eq!((step, second), (1, first));
}
