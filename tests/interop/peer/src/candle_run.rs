//! A run in Candle that goes on from whatever checkpoint its directory has.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Conv2d, Optimizer, VarMap};
use network::Network;
use tfckpt::objects::ObjectLayout;
use tfckpt_candle::{Adam, ParamsAdam, Run, recording};

use crate::digits::{BATCH, Digits, print_run};

#[path = "../../../digits/candle.rs"]
mod network;

pub(crate) fn train(directory: &str, digits: &Digits, until: usize, layout: Option<ObjectLayout>) -> Result<()> {
    let device = Device::Cpu;
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &device);
    let model = Network::new(&vb)?;
    let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;
    let mut run = Run::new(directory, &varmap, &optimizer).layers(&layers);
    if let Some(layout) = layout {
        run = run.objects(layout);
    }
    let mut losses = Vec::new();
    for step in run.restore_or_initialize()? as usize..until {
        let (pixels, labels) = digits.batch(step);
        let images = Tensor::from_vec(pixels, (BATCH, 1, 8, 8), &device)?;
        let labels = Tensor::from_vec(labels, BATCH, &device)?.to_dtype(DType::U32)?;
        let loss = candle_nn::loss::cross_entropy(&model.logits(&images)?, &labels)?;
        losses.push(loss.to_scalar::<f32>()?);
        optimizer.backward_step(&loss)?;
        run.after_step()?;
    }
    run.save()?;

    let kernel = |conv: &Conv2d| conv.weight().permute((2, 3, 1, 0))?.flatten_all()?.to_vec1();
    let live = BTreeMap::from([
        ("conv1/kernel", kernel(&model.conv1)?),
        ("conv2/kernel", kernel(&model.conv2)?),
        ("dense/kernel", model.dense.weight().t()?.flatten_all()?.to_vec1()?),
        (
            "dense/bias",
            model.dense.bias().map_or(Ok(Vec::new()), Tensor::to_vec1)?,
        ),
    ]);
    print_run(&losses, live)
}
