//! MobileNet v1 and v2, which Candle has not: the networks, with the paths of Hugging Face.

use super::parts::{Normed, SameConv, classify};
use super::{Kept, Network, Outputs};
use candle_core::{Module, Result, Tensor};
use candle_nn::{Linear, VarBuilder, batch_norm, linear};

fn conv(channels: [usize; 2], size: usize, stride: usize, groups: usize, vb: VarBuilder) -> Result<Normed<SameConv>> {
    Ok(Normed {
        conv: SameConv::new(channels, size, stride, groups, vb.pp("convolution"))?,
        norm: batch_norm(channels[1], 1e-3, vb.pp("normalization"))?,
    })
}

fn relu6(x: &Tensor) -> Result<Tensor> {
    x.clamp(0f32, 6f32)
}

pub(crate) struct MobileNet {
    layers: Vec<Box<dyn Module>>,
    classifier: Linear,
}

impl Network for MobileNet {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let x = self
            .layers
            .iter()
            .try_fold(kept.images(), |x, layer| layer.forward(&x))?;
        // TensorFlow has channels last.
        Ok(vec![
            ("features", x.permute((0, 2, 3, 1))?),
            ("logits", classify(&x, &self.classifier)?),
        ])
    }
}

impl MobileNet {
    pub(crate) fn v1(vb: &VarBuilder) -> Result<Self> {
        let net = vb.pp("mobilenet_v1");
        let mut layers: Vec<Box<dyn Module>> = Vec::new();
        let mut add = |layer: Normed<SameConv>| {
            layers.push(Box::new(candle_nn::Func::new(move |x| relu6(&layer.forward(x)?))));
        };
        add(conv([3, 8], 3, 2, 1, net.pp("conv_stem"))?);
        let mut width = 8;
        for (pair, (stride, units)) in [(1, 12), (2, 16), (1, 16), (2, 24)].into_iter().enumerate() {
            add(conv(
                [width; 2],
                3,
                stride,
                width,
                net.pp(format!("layer.{}", 2 * pair)),
            )?);
            add(conv(
                [width, units],
                1,
                1,
                1,
                net.pp(format!("layer.{}", 2 * pair + 1)),
            )?);
            width = units;
        }
        let classifier = linear(24, 5, vb.pp("classifier"))?;
        Ok(MobileNet { layers, classifier })
    }

    pub(crate) fn v2(vb: &VarBuilder) -> Result<Self> {
        let net = vb.pp("mobilenet_v2");
        let stem = net.pp("conv_stem");
        let mut layers: Vec<Box<dyn Module>> = Vec::new();
        let first = conv([3, 8], 3, 2, 1, stem.pp("first_conv"))?;
        layers.push(Box::new(candle_nn::Func::new(move |x| relu6(&first.forward(x)?))));
        layers.push(Box::new(Inverted::new(8, 8, 8, 1, &stem, false)?));
        let mut width = 8;
        for (number, (stride, units)) in [(2, 12), (1, 12), (2, 16)].into_iter().enumerate() {
            let vb = net.pp(format!("layer.{number}"));
            layers.push(Box::new(Inverted::new(width, 6 * width, units, stride, &vb, true)?));
            width = units;
        }
        let last = conv([16, 24], 1, 1, 1, net.pp("conv_1x1"))?;
        layers.push(Box::new(candle_nn::Func::new(move |x| relu6(&last.forward(x)?))));
        let classifier = linear(24, 5, vb.pp("classifier"))?;
        Ok(MobileNet { layers, classifier })
    }
}

/// Expanded, filtered, and reduced.
struct Inverted {
    expand: Option<Normed<SameConv>>,
    filter: Normed<SameConv>,
    reduce: Normed<SameConv>,
    adds: bool,
}

impl Inverted {
    fn new(width: usize, wide: usize, units: usize, stride: usize, vb: &VarBuilder, expands: bool) -> Result<Self> {
        let expand = expands.then(|| conv([width, wide], 1, 1, 1, vb.pp("expand_1x1")));
        Ok(Inverted {
            expand: expand.transpose()?,
            filter: conv([wide; 2], 3, stride, wide, vb.pp("conv_3x3"))?,
            reduce: conv([wide, units], 1, 1, 1, vb.pp("reduce_1x1"))?,
            adds: stride == 1 && width == units,
        })
    }
}

impl Module for Inverted {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let wide = match &self.expand {
            Some(expand) => relu6(&expand.forward(x)?)?,
            None => x.clone(),
        };
        let reduced = self.reduce.forward(&relu6(&self.filter.forward(&wide)?)?)?;
        if self.adds { reduced + x } else { Ok(reduced) }
    }
}
