//! The names that each library gives: networks that TensorFlow made and computed, `tests/fixtures/names`.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::{BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, Module, ModuleT, VarBuilder, VarMap};
use tfckpt::map::{Averages, Layer, LoadReport, Mapping, NameMap};
use tfckpt::{Checkpoint, Saver};
use tfckpt_candle::{Import, Layers, Variables};

type Test<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/names")
        .join(name)
}

/// What TensorFlow computed, or the input.
fn known(name: &str) -> Test<Tensor> {
    let io = Checkpoint::open(fixture("io"))?;
    let dims = io.variable(name)?.shape().dims().to_vec();
    Ok(Tensor::from_vec(io.read::<f32>(name)?, dims, &Device::Cpu)?)
}

/// A convolution, a batch normalization, the mean over all pixels, dense layers.
struct Net {
    conv: Conv2d,
    bn: BatchNorm,
    dense: Vec<Linear>,
}

/// Where its layers are.
struct Paths {
    conv: &'static str,
    bn: &'static str,
    dense: &'static [&'static str],
}

const PLAIN: Paths = Paths {
    conv: "conv",
    bn: "bn",
    dense: &["fc1", "fc2"],
};

impl Net {
    fn new(vb: &VarBuilder<'_>, paths: &Paths, biased: bool) -> candle_core::Result<Self> {
        let config = Conv2dConfig::default();
        let conv = match biased {
            true => candle_nn::conv2d(4, 5, 3, config, vb.pp(paths.conv))?,
            false => candle_nn::conv2d_no_bias(4, 5, 3, config, vb.pp(paths.conv))?,
        };
        let config = BatchNormConfig {
            eps: 1e-3,
            ..Default::default()
        };
        let bn = candle_nn::batch_norm(5, config, vb.pp(paths.bn))?;
        let sizes = [(5, 7), (7, 3)];
        let dense = paths.dense.iter().zip(sizes);
        let dense = dense.map(|(path, (from, to))| candle_nn::linear(from, to, vb.pp(path)));
        Ok(Net {
            conv,
            bn,
            dense: dense.collect::<Result<_, _>>()?,
        })
    }

    fn forward(&self, x: &Tensor) -> Test<Tensor> {
        let x = self.conv.forward(&x.permute([0, 3, 1, 2])?.contiguous()?)?;
        let mut x = self.bn.forward_t(&x, false)?.relu()?.mean((2, 3))?;
        for (number, dense) in self.dense.iter().enumerate() {
            x = dense.forward(&x)?;
            if number + 1 < self.dense.len() {
                x = x.relu()?;
            }
        }
        Ok(x)
    }
}

/// How far two tensors are apart, in proportion to the largest number; NaN counts as far.
fn distance(ours: &Tensor, theirs: &Tensor) -> Test<f32> {
    let largest = theirs.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    let difference = (ours - theirs)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    Ok(difference / largest)
}

fn assert_close(ours: &Tensor, theirs: &Tensor) -> Test {
    let distance = distance(ours, theirs)?;
    assert!(distance < 1e-5, "{distance}");
    Ok(())
}

fn names_of(checkpoint: &Checkpoint) -> Vec<String> {
    let names = checkpoint.variables().map(|info| info.name().into_owned());
    names.filter(|name| name != "global_step").collect()
}

/// Restores the network, compares what it computes, and saves it again: all variables have their old names and bytes.
fn there_and_back(style: &str, paths: &Paths, biased: bool, names: impl Fn(&Layers) -> NameMap) -> Test<LoadReport> {
    let varmap = VarMap::new();
    let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
    let net = Net::new(&vb, paths, biased)?;
    let names = names(&layers);
    let variables = Variables::new(&varmap).layers(&layers).names(names.clone());
    let checkpoint = Checkpoint::open(fixture(style))?;
    let y = known(&format!("{style}/y"))?;
    let x = known("x")?;
    let before = distance(&net.forward(&x)?, &y)?;
    assert!(before.is_nan() || before >= 1e-2, "it is another network before");
    let report = variables.restore(&checkpoint)?;
    assert_close(&net.forward(&x)?, &y)?;

    let dir = tempfile::tempdir()?;
    Saver::new(dir.path()).save(variables.to_save()?, 1)?;
    let again = Checkpoint::open(dir.path())?;
    for name in names_of(&again) {
        assert_eq!(again.read_bytes(&name)?, checkpoint.read_bytes(&name)?, "{name}");
    }
    let mut stored: Vec<String> = report.loaded.iter().map(|loaded| loaded.name.clone()).collect();
    stored.sort();
    assert_eq!(names_of(&again), stored);

    let import = Import::new(checkpoint, names);
    let built = Net::new(&import.var_builder(DType::F32, &Device::Cpu), paths, biased)?;
    assert_close(&built.forward(&x)?, &y)?;
    Ok(report)
}

#[test]
fn layers_that_nobody_named_are_numbered() -> Test {
    let names = |layers: &Layers| NameMap::tf_layers().scope("net").numbered(layers.in_order());
    let report = there_and_back("numbered", &PLAIN, true, names)?;
    assert_eq!((report.loaded.len(), report.unused.len()), (10, 0));
    Ok(())
}

#[test]
fn the_second_scope_of_a_name_has_a_number() -> Test {
    let paths = Paths {
        dense: &["block.0.fc", "block.1.fc"],
        ..PLAIN
    };
    let report = there_and_back("scopes", &paths, true, |_| NameMap::tf_layers())?;
    assert_eq!((report.loaded.len(), report.unused.len()), (10, 0));
    Ok(())
}

#[test]
fn slim_has_weights_and_biases_and_the_normalization_in_the_convolution() -> Test {
    let paths = Paths { bn: "conv.bn", ..PLAIN };
    let report = there_and_back("slim", &paths, false, |_| NameMap::slim().scope("net"))?;
    assert_eq!((report.loaded.len(), report.unused.len()), (9, 0));
    // The normalization may as well be beside the convolution.
    let names = NameMap::slim().scope("net").batch_norm_of("bn", "conv")?;
    there_and_back("slim", &PLAIN, false, |_| names.clone())?;
    Ok(())
}

#[test]
fn averages_are_taken_where_they_are_asked_for() -> Test {
    let numbered = |layers: &Layers| NameMap::tf_layers().scope("net").numbered(layers.in_order());

    let varmap = VarMap::new();
    let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
    let net = Net::new(&vb, &PLAIN, true)?;
    let restore = |path: &str, averages| {
        let names = numbered(&layers).averages(averages);
        let checkpoint = Checkpoint::open(fixture(path))?;
        Variables::new(&varmap)
            .layers(&layers)
            .names(names)
            .restore(&checkpoint)
    };
    let x = known("x")?;
    let report = restore("ema", Averages::WhereThere)?;
    assert_close(&net.forward(&x)?, &known("ema/y")?)?;
    let without: Vec<&str> = report
        .loaded
        .iter()
        .filter(|loaded| loaded.instead_of.is_some())
        .map(|loaded| loaded.path.as_str())
        .collect();
    assert_eq!(without, ["bn.running_mean", "bn.running_var"]);
    restore("ema", Averages::Never)?;
    assert_close(&net.forward(&x)?, &known("ema/plain")?)?;
    // Averages that are asked for and not there are an error that names them.
    let error = restore("numbered", Averages::Trained).unwrap_err().to_string();
    assert!(error.contains("net/conv2d/kernel/ExponentialMovingAverage"), "{error}");
    Ok(())
}

#[test]
fn keras_2_by_the_names_of_its_layers_and_by_its_objects() -> Test {
    let multiplier = Layer::DepthwiseConv2d { multiplier: 2 };
    let modules = [("dw", multiplier), ("bn", Layer::BatchNorm), ("head", Layer::Dense)];
    let by_objects = NameMap::object_paths("model").numbered(modules);
    for names in [NameMap::keras2(), NameMap::keras3(), by_objects] {
        let names = names.with_layer("dw", multiplier);
        let import = Import::new(Checkpoint::open(fixture("keras2"))?, names);
        let vb = import.var_builder(DType::F32, &Device::Cpu);
        let config = Conv2dConfig {
            groups: 4,
            ..Default::default()
        };
        let dw = candle_nn::conv2d(4, 8, 3, config, vb.pp("dw"))?;
        let config = BatchNormConfig {
            eps: 1e-3,
            ..Default::default()
        };
        let bn = candle_nn::batch_norm(8, config, vb.pp("bn"))?;
        let head = candle_nn::linear(8, 3, vb.pp("head"))?;
        let x = dw.forward(&known("x")?.permute([0, 3, 1, 2])?.contiguous()?)?;
        let x = bn.forward_t(&x, false)?.relu()?.mean((2, 3))?;
        assert_close(&head.forward(&x)?, &known("keras2/y")?)?;
    }
    Ok(())
}

#[test]
fn a_mapping_from_a_file_does_what_a_preset_does() -> Test {
    let text = r#"{
        "names": "slim",
        "scope": "net",
        "rules": [
            { "path": "bn", "scope": "conv/BatchNorm" },
            { "path": "fc2.weight", "variable": "fc2/weights", "transpose": [1, 0] }
        ]
    }"#;
    let mapping = Mapping::from_json(text)?;
    there_and_back("slim", &PLAIN, false, |_| NameMap::from(&mapping))?;
    // A rule that is of no use keeps everything from being loaded.
    let text = text.replace("fc2.weight", "fc3.weight");
    let mapping = Mapping::from_json(&text)?;
    let error = there_and_back("slim", &PLAIN, false, |_| NameMap::from(&mapping))
        .unwrap_err()
        .to_string();
    assert!(error.contains("fc3.weight") && error.contains("no use"), "{error}");
    Ok(())
}
