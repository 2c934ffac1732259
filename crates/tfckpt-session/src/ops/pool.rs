//! Pools of images, and their gradients.

use candle_core::{Device, Tensor, Var};
use tfckpt::DType;

use super::arithmetic::ints;
use super::conv::{channels_back, channels_last};
use super::elementwise::on_cpu;
use super::table::{Args, Ops, many, one};
use super::windows::{Padding, Sliding, largest_places, pair, pool};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    for (name, largest) in [("MaxPool", true), ("AvgPool", false)] {
        ops.pure(name, move |attrs| {
            let sliding = Sliding::new(attrs)?;
            let kernel = pair(&attrs.ints("ksize")?, sliding.channels_first)?;
            one(move |args, context| {
                let x = args.tensor(0)?;
                Ok(x.with(pooled(args.float(0)?, &sliding, kernel, largest, context)?))
            })
        });
    }
    ops.pure("MaxPoolV2", |attrs| {
        let (format, padding) = (
            attrs.text("data_format", "NHWC")? == "NCHW",
            attrs.text("padding", "VALID")? == "SAME",
        );
        one(move |args, context| {
            let sliding = Sliding {
                padding: if padding { Padding::Same } else { Padding::Valid },
                strides: pair(&args.ints(2)?, format)?,
                dilations: [1, 1],
                channels_first: format,
            };
            let kernel = pair(&args.ints(1)?, format)?;
            Ok(args
                .tensor(0)?
                .with(pooled(args.float(0)?, &sliding, kernel, true, context)?))
        })
    });
    ops.pure("MaxPoolWithArgmax", |attrs| {
        let sliding = Sliding::new(attrs)?;
        let kernel = pair(&attrs.ints("ksize")?, false)?;
        let dtype = attrs.dtype("Targmax", DType::Int64)?;
        let in_batch = attrs.bool("include_batch_in_index", false)?;
        many(move |args, context| {
            let x = args.tensor(0)?;
            let largest = pooled(args.float(0)?, &sliding, kernel, true, context)?;
            let windows = sliding.over(x.tensor.dims4()?, kernel)?;
            let flat = x
                .tensor
                .detach()
                .to_device(&Device::Cpu)?
                .to_dtype(candle_core::DType::F64)?;
            let places = largest_places(&flat.flatten_all()?.to_vec1::<f64>()?, &windows, in_batch);
            Ok(vec![
                x.with(largest.clone()).into(),
                ints(places, largest.dims(), dtype)?.into(),
            ])
        })
    });
    ops.pure("MaxPoolGrad", |attrs| {
        let sliding = Sliding::new(attrs)?;
        let kernel = pair(&attrs.ints("ksize")?, sliding.channels_first)?;
        one(move |args, context| gradient(args, args.float(0)?, 2, &sliding, kernel, true, context))
    });
    ops.pure("AvgPoolGrad", |attrs| {
        let sliding = Sliding::new(attrs)?;
        let kernel = pair(&attrs.ints("ksize")?, sliding.channels_first)?;
        one(move |args, context| {
            let dims = args.sizes(0)?;
            let like = args.float(1)?;
            context.elements(&dims, 8)?;
            let images = Tensor::zeros(dims, like.dtype(), like.device())?;
            gradient(args, &images, 1, &sliding, kernel, false, context)
        })
    });
}

fn pooled(x: &Tensor, sliding: &Sliding, kernel: [usize; 2], largest: bool, context: &Context<'_>) -> Result<Tensor> {
    let images = channels_last(x, sliding.channels_first)?;
    let windows = sliding.over(images.dims4()?, kernel)?;
    context.elements(&[windows.outputs(), windows.channels], 16)?;
    let result = on_cpu(&images, |images| pool(&images, windows, largest))?;
    channels_back(&result, sliding.channels_first)
}

/// The gradient of images that were pooled, as Candle follows it back.
fn gradient(
    args: &Args,
    images: &Tensor,
    operand: usize,
    sliding: &Sliding,
    kernel: [usize; 2],
    largest: bool,
    context: &Context<'_>,
) -> Result<TfTensor> {
    let images = Var::from_tensor(&images.detach())?;
    let result = pooled(images.as_tensor(), sliding, kernel, largest, context)?;
    let gradient = args.float(operand)?;
    if gradient.dims() != result.dims() {
        return Err(Error::operand(format!(
            "a gradient of {:?} for {:?}",
            gradient.dims(),
            result.dims()
        )));
    }
    let gradients = (result * gradient.detach())?.sum_all()?.backward()?;
    let found = gradients.get(&images).cloned();
    Ok(args.tensor(operand)?.with(match found {
        Some(found) => found,
        None => images.as_tensor().zeros_like()?,
    }))
}
