//! A run in Burn, by a loop written by hand, that goes on from whatever checkpoint its directory has.

use std::collections::BTreeMap;

use anyhow::Result;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use tfckpt::objects::ObjectLayout;
use tfckpt_burn::TfCheckpoints;
use tfckpt_burn::optim::Adam;

use crate::digits::{BATCH, Digits, print_run};

/// The network of `data/make_tf_digits.py`, function `saver`.
#[derive(Module, Debug)]
struct Model {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    dense: Linear,
}

impl Model {
    fn new(device: &Device) -> Self {
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same);
        Model {
            conv1: conv([1, 8]).init(device),
            conv2: conv([8, 16]).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dense: LinearConfig::new(64, 10).init(device),
        }
    }

    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.conv1.forward(images)));
        let x = self.pool.forward(relu(self.conv2.forward(x)));
        self.dense.forward(x.permute([0, 2, 3, 1]).flatten(1, 3))
    }
}

pub(crate) fn train(directory: &str, digits: &Digits, until: usize, layout: Option<ObjectLayout>) -> Result<()> {
    let device = Device::flex().autodiff();
    let mut model = Model::new(&device);
    let mut optimizer = Adam::v1().init();
    let mut rate: ModuleLrScheduler = ConstantLr::from(1e-3).into();
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut checkpoints = TfCheckpoints::new(directory);
    if let Some(layout) = layout {
        checkpoints = checkpoints.objects(layout);
    }
    let start = checkpoints.restore_or_initialize(&mut model, &mut optimizer, &mut rate)?;
    let mut losses = Vec::new();
    for step in start as usize..until {
        let (pixels, labels) = digits.batch(step);
        let images = Tensor::from_data(TensorData::new(pixels, [BATCH, 1, 8, 8]), &device);
        let labels: Tensor<1, Int> = Tensor::from_data(TensorData::new(labels, [BATCH]), &device);
        let loss = loss.forward(model.logits(images), labels);
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rate.step(), model, gradients);
        checkpoints.after_step(&model, &optimizer, &rate)?;
    }
    checkpoints.save(&model, &optimizer, &rate)?;

    let kernel = |conv: &Conv2d| values(conv.weight.val().permute([2, 3, 1, 0]));
    let live = BTreeMap::from([
        ("conv1/kernel", kernel(&model.conv1)?),
        ("conv2/kernel", kernel(&model.conv2)?),
        ("dense/kernel", values(model.dense.weight.val())?),
        (
            "dense/bias",
            model
                .dense
                .bias
                .as_ref()
                .map_or(Ok(Vec::new()), |bias| values(bias.val()))?,
        ),
    ]);
    print_run(&losses, live)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    Ok(tensor.into_data().try_to_vec()?)
}
