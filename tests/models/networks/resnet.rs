//! ResNet v1 and v2 as slim has them, where the last unit of a block has the stride. Candle's `resnet` has the paths of
//! torchvision for another network.

use candle_core::{Module, Result, Tensor};
use candle_nn::{
    BatchNorm, Conv2d, Conv2dConfig, Linear, ModuleT, VarBuilder, batch_norm, conv2d, conv2d_no_bias, linear,
};
use tfckpt::map::NameMap;

use super::parts::{Normed, classify};
use super::{Kept, Network, Outputs};

const EPSILON: f64 = 1e-5;
/// The width of each block of two units, and the stride of the last one.
const BLOCKS: [(usize, usize); 3] = [(4, 2), (6, 2), (8, 1)];

/// A convolution that pads alike at both ends.
fn config(size: usize, stride: usize) -> Conv2dConfig {
    Conv2dConfig {
        stride,
        padding: (size - 1) / 2,
        ..Default::default()
    }
}

fn normed(
    channels: [usize; 2],
    size: usize,
    stride: usize,
    conv: VarBuilder,
    norm: VarBuilder,
) -> Result<Normed<Conv2d>> {
    Ok(Normed {
        conv: conv2d_no_bias(channels[0], channels[1], size, config(size, stride), conv)?,
        norm: batch_norm(channels[1], EPSILON, norm)?,
    })
}

/// The maximum of each 3 x 3 window at a stride of 2, padded as `SAME`: an image of even size at the end alone.
fn pool(x: &Tensor) -> Result<Tensor> {
    let pad = |x: Tensor, axis: usize| -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        assert!(dims[axis].is_multiple_of(2));
        dims[axis] = 1;
        Tensor::cat(&[&x, &Tensor::full(f32::NEG_INFINITY, dims, x.device())?], axis)
    };
    pad(pad(x.clone(), 2)?, 3)?.max_pool2d_with_stride(3, 2)
}

/// Every so many pixels.
fn subsample(x: &Tensor, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        Ok(x.clone())
    } else {
        x.max_pool2d_with_stride(1, stride)
    }
}

fn relu(x: Result<Tensor>) -> Result<Tensor> {
    x?.relu()
}

pub(crate) fn names_v1() -> NameMap {
    NameMap::resnet_v1("resnet_v1_50")
}

pub(crate) fn names_v2() -> NameMap {
    NameMap::resnet_v2("resnet_v2_50")
}

pub(crate) struct V1 {
    conv: Normed<Conv2d>,
    units: Vec<UnitV1>,
    logits: Linear,
}

struct UnitV1 {
    short: Option<Normed<Conv2d>>,
    convs: [Normed<Conv2d>; 3],
    stride: usize,
}

impl V1 {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let mut units = Vec::new();
        let mut width = 8;
        for (block, (base, stride)) in BLOCKS.into_iter().enumerate() {
            for unit in 0..2 {
                let vb = vb.pp(format!("layer{}.{unit}", block + 1));
                let stride = if unit == 1 { stride } else { 1 };
                let conv = |number: usize, channels, size, stride| {
                    normed(
                        channels,
                        size,
                        stride,
                        vb.pp(format!("conv{number}")),
                        vb.pp(format!("bn{number}")),
                    )
                };
                let short = (width != 4 * base).then(|| {
                    normed(
                        [width, 4 * base],
                        1,
                        stride,
                        vb.pp("downsample.0"),
                        vb.pp("downsample.1"),
                    )
                });
                units.push(UnitV1 {
                    short: short.transpose()?,
                    convs: [
                        conv(1, [width, base], 1, 1)?,
                        conv(2, [base, base], 3, stride)?,
                        conv(3, [base, 4 * base], 1, 1)?,
                    ],
                    stride,
                });
                width = 4 * base;
            }
        }
        Ok(V1 {
            conv: normed([3, 8], 7, 2, vb.pp("conv1"), vb.pp("bn1"))?,
            units,
            logits: linear(width, 5, vb.pp("fc"))?,
        })
    }
}

impl Network for V1 {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let mut x = pool(&relu(self.conv.forward(&kept.images()))?)?;
        for UnitV1 { short, convs, stride } in &self.units {
            let short = match short {
                Some(short) => short.forward(&x)?,
                None => subsample(&x, *stride)?,
            };
            let y = relu(convs[1].forward(&relu(convs[0].forward(&x))?))?;
            x = relu(convs[2].forward(&y)? + short)?;
        }
        Ok(vec![
            ("features", x.permute((0, 2, 3, 1))?),
            ("logits", classify(&x, &self.logits)?),
        ])
    }
}

pub(crate) struct V2 {
    conv: Conv2d,
    units: Vec<UnitV2>,
    norm: BatchNorm,
    logits: Conv2d,
}

struct UnitV2 {
    before: BatchNorm,
    short: Option<Conv2d>,
    convs: [Normed<Conv2d>; 2],
    last: Conv2d,
    stride: usize,
}

impl V2 {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let mut units = Vec::new();
        let mut width = 8;
        for (block, (base, stride)) in BLOCKS.into_iter().enumerate() {
            for unit in 0..2 {
                let vb = vb.pp(format!("stages.{block}.blocks.{unit}"));
                let stride = if unit == 1 { stride } else { 1 };
                let conv = |number: usize, channels, size, stride| {
                    let norm = vb.pp(format!("norm{}", number + 1));
                    normed(channels, size, stride, vb.pp(format!("conv{number}")), norm)
                };
                let short = (width != 4 * base)
                    .then(|| conv2d(width, 4 * base, 1, config(1, stride), vb.pp("downsample.conv")));
                units.push(UnitV2 {
                    before: batch_norm(width, EPSILON, vb.pp("norm1"))?,
                    short: short.transpose()?,
                    convs: [conv(1, [width, base], 1, 1)?, conv(2, [base, base], 3, stride)?],
                    last: conv2d(base, 4 * base, 1, config(1, 1), vb.pp("conv3"))?,
                    stride,
                });
                width = 4 * base;
            }
        }
        Ok(V2 {
            conv: conv2d(3, 8, 7, config(7, 2), vb.pp("stem.conv"))?,
            units,
            norm: batch_norm(width, EPSILON, vb.pp("norm"))?,
            logits: conv2d(width, 5, 1, config(1, 1), vb.pp("head.fc"))?,
        })
    }
}

impl Network for V2 {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let mut x = pool(&self.conv.forward(&kept.images())?)?;
        for unit in &self.units {
            let before = relu(unit.before.forward_t(&x, false))?;
            let short = match &unit.short {
                Some(short) => short.forward(&before)?,
                None => subsample(&x, unit.stride)?,
            };
            let y = relu(unit.convs[1].forward(&relu(unit.convs[0].forward(&before))?))?;
            x = (unit.last.forward(&y)? + short)?;
        }
        let x = relu(self.norm.forward_t(&x, false))?;
        let pooled = x.mean_keepdim(3)?.mean_keepdim(2)?;
        Ok(vec![
            ("features", x.permute((0, 2, 3, 1))?),
            ("logits", self.logits.forward(&pooled)?.squeeze(3)?.squeeze(2)?),
        ])
    }
}
