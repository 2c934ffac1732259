//! `TfCheckpointStore`: names and shapes on disk are TensorFlow's, what was saved comes back, what does not fit changes
//! nothing.

use std::fs;
use std::path::Path;

use burn::module::{Module, Param, ParamId};
use burn::nn::conv::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d};
use burn::nn::conv::{Conv1dConfig, Conv2dConfig, Conv3dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig,
    Linear, LinearConfig, LinearLayout, PRelu, PReluConfig, RmsNorm, RmsNormConfig,
};
use burn::store::{ModuleSnapshot, ModuleStore};
use burn::tensor::{Bool, DType, Device, Distribution, Int, Tensor};
use tfckpt::Checkpoint;
use tfckpt::map::{Layer, NameMap};
use tfckpt_burn::{Error, TfCheckpointStore};

#[derive(Module, Debug)]
struct Zoo {
    dense: Linear,
    turned: Linear,
    square: Linear,
    conv1: Conv1d,
    conv2: Conv2d,
    conv3: Conv3d,
    up1: ConvTranspose1d,
    up2: ConvTranspose2d,
    depthwise: Conv2d,
    batch: BatchNorm,
    layer: LayerNorm,
    group: GroupNorm,
    rms: RmsNorm,
    table: Embedding,
    prelu: PRelu,
    blocks: Vec<Linear>,
    counts: Param<Tensor<1, Int>>,
    mask: Param<Tensor<1, Bool>>,
    half: Param<Tensor<1>>,
}

impl Zoo {
    fn new(device: &Device) -> Self {
        let col = |from, to| LinearConfig::new(from, to).with_layout(LinearLayout::Col).init(device);
        Zoo {
            dense: LinearConfig::new(3, 5).init(device),
            turned: col(3, 5),
            square: col(4, 4),
            conv1: Conv1dConfig::new(2, 6, 3).init(device),
            conv2: Conv2dConfig::new([2, 6], [3, 5]).init(device),
            conv3: Conv3dConfig::new([2, 6], [1, 3, 5]).init(device),
            up1: ConvTranspose1dConfig::new([2, 6], 3).init(device),
            up2: ConvTranspose2dConfig::new([2, 6], [3, 5]).init(device),
            depthwise: Conv2dConfig::new([4, 8], [3, 5]).with_groups(4).init(device),
            batch: BatchNormConfig::new(6).init(device),
            layer: LayerNormConfig::new(6).init(device),
            group: GroupNormConfig::new(2, 6).init(device),
            rms: RmsNormConfig::new(6).init(device),
            table: EmbeddingConfig::new(7, 4).init(device),
            prelu: PReluConfig::new().with_num_parameters(6).init(device),
            blocks: vec![
                LinearConfig::new(2, 2).init(device),
                LinearConfig::new(2, 3).init(device),
            ],
            counts: Param::initialized(ParamId::new(), Tensor::from_ints([1, -2, 3], device)),
            mask: Param::initialized(ParamId::new(), Tensor::from_bool([true, false, true], device)),
            half: Param::from_tensor(Tensor::<1>::random([5], Distribution::Default, device).cast(DType::BF16)),
        }
    }
}

fn names() -> NameMap {
    NameMap::keras().with_layer("depthwise", Layer::DepthwiseConv2d { multiplier: 2 })
}

fn store(path: &Path) -> TfCheckpointStore {
    TfCheckpointStore::from_file(path).names(names())
}

fn bytes(module: &Zoo) -> Vec<u8> {
    module.clone().into_record().into_bytes().unwrap().to_vec()
}

/// The live values alone: identities of parameters differ from model to model.
fn values(module: &Zoo) -> Vec<(String, Vec<u8>)> {
    let tensors = module.collect(None, None, false);
    tensors
        .into_iter()
        .map(|tensor| (tensor.name.clone(), tensor.to_bytes().unwrap().to_vec()))
        .collect()
}

#[test]
fn names_and_shapes_on_disk_are_those_of_keras() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("zoo");
    Zoo::new(&Device::flex()).save_into(&mut store(&prefix)).unwrap();
    let checkpoint = Checkpoint::open(&prefix).unwrap();
    let expected: [(&str, &str, &[usize]); 19] = [
        ("dense/kernel", "float32", &[3, 5]),
        ("turned/kernel", "float32", &[3, 5]),
        ("conv1/kernel", "float32", &[3, 2, 6]),
        ("conv2/kernel", "float32", &[3, 5, 2, 6]),
        ("conv2/bias", "float32", &[6]),
        ("conv3/kernel", "float32", &[1, 3, 5, 2, 6]),
        ("up1/kernel", "float32", &[3, 6, 2]),
        ("up2/kernel", "float32", &[3, 5, 6, 2]),
        ("depthwise/kernel", "float32", &[3, 5, 4, 2]),
        ("batch/gamma", "float32", &[6]),
        ("batch/moving_variance", "float32", &[6]),
        ("layer/beta", "float32", &[6]),
        ("group/gamma", "float32", &[6]),
        ("rms/scale", "float32", &[6]),
        ("table/embeddings", "float32", &[7, 4]),
        ("prelu/alpha", "float32", &[6]),
        ("blocks/1/kernel", "float32", &[2, 3]),
        ("mask", "bool", &[3]),
        ("half", "bfloat16", &[5]),
    ];
    for (name, dtype, shape) in expected {
        let info = checkpoint.variable(name).unwrap();
        assert_eq!((info.dtype().name(), info.shape().dims()), (dtype, shape), "{name}");
    }
    assert_eq!(checkpoint.read_bytes("mask").unwrap(), [1, 0, 1]);
}

#[test]
fn a_kernel_is_stored_as_the_model_multiplies_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("zoo");
    let zoo = Zoo::new(&Device::flex());
    zoo.save_into(&mut store(&prefix)).unwrap();
    let checkpoint = Checkpoint::open(&prefix).unwrap();
    // x · kernel, whatever the layout in memory, square kernels included.
    for (layer, name) in [(&zoo.dense, "dense"), (&zoo.turned, "turned"), (&zoo.square, "square")] {
        let kernel = checkpoint.read::<f32>(format!("{name}/kernel")).unwrap();
        let live = layer.weight.val().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(kernel, live, "{name}");
    }
    // [out, in, h, w] to [h, w, in, out].
    let kernel = checkpoint.read::<f32>("conv2/kernel").unwrap();
    let live = zoo
        .conv2
        .weight
        .val()
        .permute([2, 3, 1, 0])
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    assert_eq!(kernel, live);
}

#[test]
fn what_was_saved_comes_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("zoo");
    let zoo = Zoo::new(&Device::flex());
    zoo.save_into(&mut store(&prefix)).unwrap();
    let mut other = Zoo::new(&Device::flex());
    assert_ne!(values(&other), values(&zoo));
    let mut from = store(&prefix);
    let result = other.load_from(&mut from).unwrap();
    assert!(result.is_success() && result.missing.is_empty() && result.unused.is_empty());
    assert_eq!(values(&other), values(&zoo));
    assert_eq!(from.report().unwrap().loaded.len(), result.applied.len());
}

#[test]
fn every_problem_is_told_at_once_and_the_module_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("zoo");
    let zoo = Zoo::new(&Device::flex());
    let names = names().rename("rms.gamma", "elsewhere").rename("group.gamma", "mask");
    zoo.save_into(&mut store(&prefix)).unwrap();
    let mut other = Zoo::new(&Device::flex());
    let before = bytes(&other);
    let result = other.load_from(&mut TfCheckpointStore::from_file(&prefix).names(names.clone()));
    let Err(Error::Checkpoint(tfckpt::Error::Mismatch { report, .. })) = result else {
        panic!("it does not fit")
    };
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.mismatched.len(), 1, "a dtype that does not fit: {report}");
    assert_eq!(bytes(&other), before);

    let mut partial = TfCheckpointStore::from_file(&prefix).names(names).allow_partial(true);
    let result = other.load_from(&mut partial).unwrap();
    assert_eq!(result.missing[0].0, "rms.gamma");
    assert_eq!(result.skipped, ["group.gamma"]);
}

#[test]
fn a_damaged_file_leaves_the_module_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("zoo");
    Zoo::new(&Device::flex()).save_into(&mut store(&prefix)).unwrap();
    let data = dir.path().join("zoo.data-00000-of-00001");
    let good = fs::read(&data).unwrap();
    let mut other = Zoo::new(&Device::flex());
    let before = bytes(&other);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for damaged in [bad, good[..good.len() - 1].to_vec()] {
        fs::write(&data, damaged).unwrap();
        assert!(other.load_from(&mut store(&prefix)).is_err());
        assert_eq!(
            bytes(&other),
            before,
            "running statistics included, which Burn shares between clones"
        );
    }
}

#[test]
fn nothing_is_overwritten_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("made/here/zoo");
    let zoo = Zoo::new(&Device::flex());
    zoo.save_into(&mut store(&prefix)).unwrap();
    let again = zoo.save_into(&mut store(&prefix));
    assert!(matches!(
        again,
        Err(Error::Checkpoint(tfckpt::Error::AlreadyExists { .. }))
    ));
    zoo.save_into(&mut store(&prefix).overwrite(true)).unwrap();
}

#[test]
fn single_tensors_can_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("zoo");
    let zoo = Zoo::new(&Device::flex());
    zoo.save_into(&mut store(&prefix)).unwrap();
    let mut store = store(&prefix);
    assert!(store.keys().unwrap().contains(&"dense/kernel".to_owned()));
    let tensor = store.get_tensor("dense/kernel").unwrap().unwrap();
    assert_eq!(tensor.shape.to_vec(), [3, 5]);
    let live = zoo.dense.weight.val().into_data();
    assert_eq!(tensor.to_bytes().unwrap().to_vec(), live.bytes().to_vec());
    assert!(store.get_tensor("nothing").unwrap().is_none());
}
