//! A run in Burn, by a loop written by hand, that goes on from whatever checkpoint its directory has.

use std::collections::BTreeMap;

use anyhow::Result;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::nn::conv::Conv2d;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use network::Network;
use tfckpt::objects::ObjectLayout;
use tfckpt_burn::TfCheckpoints;
use tfckpt_burn::optim::Adam;

use crate::digits::{BATCH, Digits, print_run};

#[path = "../../../digits/burn.rs"]
mod network;

pub(crate) fn train(directory: &str, digits: &Digits, until: usize, layout: Option<ObjectLayout>) -> Result<()> {
    let device = Device::flex().autodiff();
    let mut model = Network::new(&device);
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
