//! The network of `data/make_tf_digits.py`, function `saver`, in Candle.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, VarBuilder};

pub(crate) struct Network {
    pub(crate) conv1: Conv2d,
    pub(crate) conv2: Conv2d,
    pub(crate) dense: Linear,
}

impl Network {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let same = Conv2dConfig {
            padding: 1,
            ..Default::default()
        };
        Ok(Network {
            conv1: candle_nn::conv2d(1, 8, 3, same, vb.pp("conv1"))?,
            conv2: candle_nn::conv2d(8, 16, 3, same, vb.pp("conv2"))?,
            dense: candle_nn::linear(64, 10, vb.pp("dense"))?,
        })
    }

    /// Of images `[n, 1, 8, 8]`.
    pub(crate) fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let x = max_pool(&self.conv1.forward(images)?.relu()?)?;
        let x = max_pool(&self.conv2.forward(&x)?.relu()?)?;
        self.dense.forward(&x.permute((0, 2, 3, 1))?.flatten_from(1)?)
    }
}

/// The maximum of each 2 x 2 window; the first of several gets the gradient, as in TensorFlow. (`Tensor::max_pool2d`
/// of Candle 0.11.1 finds the same maxima, but passes a quarter of the gradient to a single one.)
fn max_pool(x: &Tensor) -> Result<Tensor> {
    let (n, channels, height, width) = x.dims4()?;
    let windows = x
        .reshape(&[n, channels, height / 2, 2, width / 2, 2][..])?
        .permute([0, 1, 2, 4, 3, 5])?;
    let windows = windows.contiguous()?.reshape((n, channels, height / 2, width / 2, 4))?;
    windows.gather(&windows.argmax_keepdim(4)?, 4)?.squeeze(4)
}
