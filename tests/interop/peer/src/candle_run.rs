//! A run in Candle that goes on from whatever checkpoint its directory has.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Optimizer, VarBuilder, VarMap};
use tfckpt::objects::ObjectLayout;
use tfckpt_candle::{Adam, ParamsAdam, Run, recording};

use crate::digits::{BATCH, Digits, print_run};

/// The network of `data/make_tf_digits.py`, function `saver`.
struct Model {
    conv1: Conv2d,
    conv2: Conv2d,
    dense: Linear,
}

impl Model {
    fn new(vb: &VarBuilder) -> candle_core::Result<Self> {
        let same = Conv2dConfig {
            padding: 1,
            ..Default::default()
        };
        Ok(Model {
            conv1: candle_nn::conv2d(1, 8, 3, same, vb.pp("conv1"))?,
            conv2: candle_nn::conv2d(8, 16, 3, same, vb.pp("conv2"))?,
            dense: candle_nn::linear(64, 10, vb.pp("dense"))?,
        })
    }

    fn logits(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let x = max_pool(&self.conv1.forward(images)?.relu()?)?;
        let x = max_pool(&self.conv2.forward(&x)?.relu()?)?;
        self.dense.forward(&x.permute((0, 2, 3, 1))?.flatten_from(1)?)
    }
}

/// As TensorFlow's, gradient included; that of `Tensor::max_pool2d` of Candle 0.11.1 is a quarter of it.
fn max_pool(x: &Tensor) -> candle_core::Result<Tensor> {
    let (n, channels, height, width) = x.dims4()?;
    let windows = x
        .reshape(&[n, channels, height / 2, 2, width / 2, 2][..])?
        .permute([0, 1, 2, 4, 3, 5])?;
    let windows = windows.contiguous()?.reshape((n, channels, height / 2, width / 2, 4))?;
    windows.gather(&windows.argmax_keepdim(4)?, 4)?.squeeze(4)
}

pub(crate) fn train(directory: &str, digits: &Digits, until: usize, layout: Option<ObjectLayout>) -> Result<()> {
    let device = Device::Cpu;
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &device);
    let model = Model::new(&vb)?;
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
