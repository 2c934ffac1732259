//! The networks that `fixtures/make/names.py` has built in TensorFlow, in Candle: for the tests of `tfckpt-candle`, and for the
//! peer of `tests/interop`.

use std::path::{Path, PathBuf};

use candle_core::{Device, Result, Tensor};
use candle_nn::{BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, Module, ModuleT, VarBuilder};
use tfckpt::Checkpoint;
use tfckpt::map::{Averages, Layer, NameMap};
use tfckpt_candle::Layers;

/// A checkpoint of TensorFlow's.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = above.map(|folder| folder.join("tests/fixtures/names"));
    let folder = folders.find(|folder| folder.is_dir());
    folder.expect("they are in the repository").join(name)
}

/// What TensorFlow computed, or the input.
pub(crate) fn known(name: &str) -> Tensor {
    let io = Checkpoint::open(fixture("io")).expect("it is in the repository");
    let dims = io.variable(name).expect("it has this one").shape().dims().to_vec();
    let values: Vec<f32> = io.read(name).expect("all are float32");
    Tensor::from_vec(values, dims, &Device::Cpu).expect("it has that shape")
}

fn norm(channels: usize, vb: VarBuilder<'_>) -> Result<BatchNorm> {
    let config = BatchNormConfig {
        eps: 1e-3,
        ..Default::default()
    };
    candle_nn::batch_norm(channels, config, vb)
}

/// A convolution, a batch normalization, the mean over all pixels, dense layers.
pub(crate) struct Net {
    conv: Conv2d,
    bn: BatchNorm,
    dense: Vec<Linear>,
}

/// Where its layers are, and whether the convolution has a bias.
#[derive(Clone, Copy)]
pub(crate) struct Paths {
    pub(crate) conv: &'static str,
    pub(crate) bn: &'static str,
    pub(crate) dense: &'static [&'static str],
    pub(crate) biased: bool,
}

pub(crate) const PLAIN: Paths = Paths {
    conv: "conv",
    bn: "bn",
    dense: &["fc1", "fc2"],
    biased: true,
};

impl Net {
    pub(crate) fn new(vb: &VarBuilder<'_>, paths: &Paths) -> Result<Self> {
        let config = Conv2dConfig::default();
        let conv = match paths.biased {
            true => candle_nn::conv2d(4, 5, 3, config, vb.pp(paths.conv))?,
            false => candle_nn::conv2d_no_bias(4, 5, 3, config, vb.pp(paths.conv))?,
        };
        let sizes = [(5, 7), (7, 3)];
        let dense = paths.dense.iter().zip(sizes);
        let dense = dense.map(|(path, (from, to))| candle_nn::linear(from, to, vb.pp(path)));
        Ok(Net {
            conv,
            bn: norm(5, vb.pp(paths.bn))?,
            dense: dense.collect::<Result<_>>()?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
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

/// A way to call its variables: the checkpoint that is called so, where the layers are, and their names, which may depend on
/// the layers.
pub(crate) struct Style {
    pub(crate) checkpoint: &'static str,
    pub(crate) paths: Paths,
    pub(crate) names: fn(&Layers) -> NameMap,
}

/// The style of this name.
pub(crate) fn style(name: &str) -> Option<Style> {
    let unbiased = Paths { biased: false, ..PLAIN };
    let (checkpoint, paths, names): (_, _, fn(&Layers) -> NameMap) = match name {
        "numbered" => ("numbered", PLAIN, numbered),
        "averages" => ("ema", PLAIN, |layers| numbered(layers).averages(Averages::Trained)),
        "scopes" => {
            let dense = &["block.0.fc", "block.1.fc"];
            ("scopes", Paths { dense, ..PLAIN }, |_| NameMap::tf_layers())
        }
        "slim" => {
            let bn = "conv.bn";
            ("slim", Paths { bn, ..unbiased }, |_| NameMap::slim().scope("net"))
        }
        // The normalization beside the convolution.
        "slim beside" => ("slim", unbiased, |_| {
            let names = NameMap::slim().scope("net").batch_norm_of("bn", "conv");
            names.expect("both are paths")
        }),
        _ => return None,
    };
    Some(Style {
        checkpoint,
        paths,
        names,
    })
}

/// Layers that nobody named.
fn numbered(layers: &Layers) -> NameMap {
    NameMap::tf_layers().scope("net").numbered(layers.in_order())
}

/// A depthwise convolution, a batch normalization, the mean over all pixels, a dense layer.
pub(crate) struct Depthwise {
    dw: Conv2d,
    bn: BatchNorm,
    head: Linear,
}

/// The kinds of its layers, which Candle cannot know.
pub(crate) const MULTIPLIER: Layer = Layer::DepthwiseConv2d { multiplier: 2 };

impl Depthwise {
    pub(crate) fn new(vb: &VarBuilder<'_>) -> Result<Self> {
        let config = Conv2dConfig {
            groups: 4,
            ..Default::default()
        };
        Ok(Depthwise {
            dw: candle_nn::conv2d(4, 8, 3, config, vb.pp("dw"))?,
            bn: norm(8, vb.pp("bn"))?,
            head: candle_nn::linear(8, 3, vb.pp("head"))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.dw.forward(&x.permute([0, 3, 1, 2])?.contiguous()?)?;
        self.head.forward(&self.bn.forward_t(&x, false)?.relu()?.mean((2, 3))?)
    }
}

/// The names of its variables in Keras 2, or those of its objects.
pub(crate) fn names_of_objects(name: &str) -> Option<NameMap> {
    let modules = [("dw", MULTIPLIER), ("bn", Layer::BatchNorm), ("head", Layer::Dense)];
    let names = match name {
        "keras2" => NameMap::keras2(),
        "keras3" => NameMap::keras3(),
        "object_paths" => NameMap::object_paths("model").numbered(modules),
        _ => return None,
    };
    Some(names.with_layer("dw", MULTIPLIER))
}
