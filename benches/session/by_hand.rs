//! The networks as one writes them in Candle: its own layers and layouts, weights by the names that their TensorFlow has.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Module, ModuleT, Tensor};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, Linear, VarBuilder, batch_norm, conv2d, conv2d_no_bias, linear};
use candle_transformers::models::bert::{BertModel, Config};
use tfckpt::Checkpoint;
use tfckpt::map::NameMap;

type Candle<T> = candle_core::Result<T>;

/// Computes a network's output, in TensorFlow's layout, from its inputs.
pub(crate) type Network = Box<dyn Fn(&BTreeMap<String, Tensor>) -> Result<Tensor>>;

/// An input in Candle's layout: images as `[n, channels, height, width]`.
pub(crate) fn given(input: &Tensor) -> Candle<Tensor> {
    match input.rank() {
        4 => input.permute((0, 3, 1, 2))?.contiguous(),
        _ => Ok(input.clone()),
    }
}

pub(crate) fn network(kind: &str, checkpoint: Checkpoint) -> Result<Network> {
    let checkpoint = Arc::new(checkpoint);
    let import = |names: NameMap| tfckpt_candle::var_builder(checkpoint.clone(), names, DType::F32, &Device::Cpu);
    match kind {
        "digits" => digits(&import(NameMap::keras())?),
        "bert" => bert(&import(NameMap::bert())?),
        "mobilenet" => mobilenet(&import(NameMap::mobilenet_v1())?),
        "resnet" => resnet(&import(NameMap::resnet_v1("resnet_v1_50"))?),
        _ => {
            let info = checkpoint.variable("filter")?;
            let channels = *info.shape().dims().get(2).context("a filter")?;
            let filter = Tensor::from_vec(checkpoint.read::<f32>("filter")?, (3, 3, channels, 1), &Device::Cpu)?;
            let filter = filter.permute((2, 3, 0, 1))?.contiguous()?;
            Ok(Box::new(move |inputs| {
                let x = input(inputs, "images")?.conv2d(&filter, 1, 1, 1, channels)?;
                Ok(x.permute((0, 2, 3, 1))?)
            }))
        }
    }
}

fn input<'i>(inputs: &'i BTreeMap<String, Tensor>, name: &str) -> Result<&'i Tensor> {
    inputs.get(name).with_context(|| name.to_owned())
}

fn digits(vb: &VarBuilder) -> Result<Network> {
    let padded = Conv2dConfig {
        padding: 1,
        ..Default::default()
    };
    let first = conv2d(1, 8, 3, padded, vb.pp("conv1"))?;
    let second = conv2d(8, 16, 3, padded, vb.pp("conv2"))?;
    let dense = linear(64, 10, vb.pp("dense"))?;
    Ok(Box::new(move |inputs| {
        let x = first.forward(input(inputs, "image")?)?.relu()?.max_pool2d(2)?;
        let x = second.forward(&x)?.relu()?.max_pool2d(2)?;
        Ok(dense.forward(&x.permute((0, 2, 3, 1))?.flatten_from(1)?)?)
    }))
}

fn bert(vb: &VarBuilder) -> Result<Network> {
    let config = Config::default();
    let model = BertModel::load(vb.pp("bert"), &config)?;
    Ok(Box::new(move |inputs| {
        let [ids, types] = ["input_ids", "token_type_ids"].map(|name| input(inputs, name));
        Ok(model.forward(ids?, types?, None)?)
    }))
}

/// A convolution and its batch normalization.
struct Normed {
    conv: Conv2d,
    norm: BatchNorm,
    /// What TensorFlow's `SAME` pads before and after; nothing where the convolution pads by itself.
    pads: Option<(usize, usize)>,
}

impl Module for Normed {
    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        let conv = match self.pads {
            Some((before, after)) => {
                let x = x.pad_with_zeros(2, before, after)?.pad_with_zeros(3, before, after)?;
                self.conv.forward(&x)?
            }
            None => self.conv.forward(x)?,
        };
        self.norm.forward_t(&conv, false)
    }
}

fn mobilenet(vb: &VarBuilder) -> Result<Network> {
    let net = vb.pp("mobilenet_v1");
    // Images of an even size: a stride of 2 pads at the end alone.
    let conv = |channels: [usize; 2], size: usize, stride: usize, groups: usize, vb: VarBuilder| -> Candle<Normed> {
        let config = Conv2dConfig {
            stride,
            groups,
            padding: if stride == 1 { size / 2 } else { 0 },
            ..Default::default()
        };
        Ok(Normed {
            conv: conv2d_no_bias(channels[0], channels[1], size, config, vb.pp("convolution"))?,
            norm: batch_norm(channels[1], 1e-3, vb.pp("normalization"))?,
            pads: (stride == 2).then_some((0, 1)),
        })
    };
    let mut layers = vec![conv([3, 32], 3, 2, 1, net.pp("conv_stem"))?];
    let mut width = 32;
    let widths = [(1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)];
    let widths = widths.into_iter().chain([(1, 512); 5]).chain([(2, 1024), (1, 1024)]);
    for (pair, (stride, units)) in widths.enumerate() {
        layers.push(conv(
            [width; 2],
            3,
            stride,
            width,
            net.pp(format!("layer.{}", 2 * pair)),
        )?);
        layers.push(conv(
            [width, units],
            1,
            1,
            1,
            net.pp(format!("layer.{}", 2 * pair + 1)),
        )?);
        width = units;
    }
    let classifier = linear(width, 1001, vb.pp("classifier"))?;
    Ok(Box::new(move |inputs| {
        let mut x = input(inputs, "images")?.clone();
        for layer in &layers {
            x = layer.forward(&x)?.clamp(0f32, 6f32)?;
        }
        classify(&x, &classifier)
    }))
}

fn classify(x: &Tensor, classifier: &Linear) -> Result<Tensor> {
    Ok(classifier.forward(&x.mean(3)?.mean(2)?)?)
}

/// A unit of a ResNet: three convolutions, and the way around them.
struct Bottleneck {
    convs: [Normed; 3],
    around: Option<Normed>,
    stride: usize,
}

impl Bottleneck {
    fn new(width: usize, base: usize, stride: usize, vb: &VarBuilder) -> Candle<Self> {
        let conv = |number: usize, channels, size, stride| {
            normed(
                channels,
                size,
                stride,
                vb.pp(format!("conv{number}")),
                vb.pp(format!("bn{number}")),
            )
        };
        let around = (width != 4 * base).then(|| {
            let vb = vb.pp("downsample");
            normed([width, 4 * base], 1, stride, vb.pp("0"), vb.pp("1"))
        });
        Ok(Bottleneck {
            convs: [
                conv(1, [width, base], 1, 1)?,
                conv(2, [base, base], 3, stride)?,
                conv(3, [base, 4 * base], 1, 1)?,
            ],
            around: around.transpose()?,
            stride,
        })
    }

    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        let short = match &self.around {
            Some(around) => around.forward(x)?,
            None if self.stride > 1 => x.max_pool2d_with_stride(1, self.stride)?,
            None => x.clone(),
        };
        let [first, second, third] = &self.convs;
        let y = second.forward(&first.forward(x)?.relu()?)?.relu()?;
        (short + third.forward(&y)?)?.relu()
    }
}

fn normed(channels: [usize; 2], size: usize, stride: usize, conv: VarBuilder, norm: VarBuilder) -> Candle<Normed> {
    let config = Conv2dConfig {
        stride,
        padding: size / 2,
        ..Default::default()
    };
    Ok(Normed {
        conv: conv2d_no_bias(channels[0], channels[1], size, config, conv)?,
        norm: batch_norm(channels[1], 1e-5, norm)?,
        pads: None,
    })
}

fn resnet(vb: &VarBuilder) -> Result<Network> {
    let stem = normed([3, 64], 7, 2, vb.pp("conv1"), vb.pp("bn1"))?;
    let mut units = Vec::new();
    let mut width = 64;
    for (block, (base, count, last)) in [(64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1)]
        .into_iter()
        .enumerate()
    {
        for unit in 0..count {
            let stride = if unit + 1 == count { last } else { 1 };
            let vb = vb.pp(format!("layer{}.{unit}", block + 1));
            units.push(Bottleneck::new(width, base, stride, &vb)?);
            width = 4 * base;
        }
    }
    let classifier = linear(width, 1000, vb.pp("fc"))?;
    Ok(Box::new(move |inputs| {
        let x = stem.forward(input(inputs, "images")?)?.relu()?;
        // The edge is padded at the end alone, and nothing is below the zero of a ReLU.
        let x = x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
        let mut x = x.max_pool2d_with_stride(3, 2)?;
        for unit in &units {
            x = unit.forward(&x)?;
        }
        classify(&x, &classifier)
    }))
}
