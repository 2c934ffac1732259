//! The network of `data/make_tf_digits.py`, function `saver`, in Burn.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub(crate) struct Network {
    pub(crate) conv1: Conv2d,
    pub(crate) conv2: Conv2d,
    pool: MaxPool2d,
    pub(crate) dense: Linear,
}

impl Network {
    pub(crate) fn new(device: &Device) -> Self {
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same);
        Network {
            conv1: conv([1, 8]).init(device),
            conv2: conv([8, 16]).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dense: LinearConfig::new(64, 10).init(device),
        }
    }

    /// Of images `[n, 1, 8, 8]`.
    pub(crate) fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.conv1.forward(images)));
        let x = self.pool.forward(relu(self.conv2.forward(x)));
        self.dense.forward(x.permute([0, 2, 3, 1]).flatten(1, 3))
    }
}
