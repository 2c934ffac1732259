//! Convolutions of images, and their gradients.
//!
//! TensorFlow's layouts are kept: images in NHWC, filters in HWIO. The elements of each window become a row, and rows are
//! multiplied by the filter, which needs no other layout than the one it has. Any padding, stride and dilation is the same.

use candle_core::{Device, Tensor};

use super::arithmetic::same_dtype;
use super::depthwise::Depthwise;
use super::elementwise::on_cpu;
use super::table::{Args, Ops, one};
use super::windows::{Padding, Sliding, Windows, fold, pair, unfold};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Conv2D", |attrs| {
        let sliding = Sliding::new(attrs)?;
        one(move |args, context| {
            let (x, filter) = floats(args, 0, 1)?;
            let images = channels_last(&x.tensor, sliding.channels_first)?;
            let filter = filter.tensor.clone();
            let result = on_cpu(&images, |images| {
                Ok(convolve(&images, &cpu(&filter, &images)?, &sliding, context)?)
            })?;
            Ok(x.with(channels_back(&result, sliding.channels_first)?))
        })
    });
    ops.pure("Conv2DBackpropInput", |attrs| {
        let sliding = Sliding::new(attrs)?;
        one(move |args, context| {
            let (filter, gradient) = floats(args, 1, 2)?;
            let dims = image_dims(&args.sizes(0)?, &sliding)?;
            let gradients = channels_last(&gradient.tensor, sliding.channels_first)?;
            let filter = filter.tensor.clone();
            let result = on_cpu(&gradients, |gradients| {
                Ok(transposed(
                    dims,
                    &cpu(&filter, &gradients)?,
                    &gradients,
                    &sliding,
                    context,
                )?)
            })?;
            Ok(gradient.with(channels_back(&result, sliding.channels_first)?))
        })
    });
    ops.pure("Conv2DBackpropFilter", |attrs| {
        let sliding = Sliding::new(attrs)?;
        one(move |args, context| {
            let (x, gradient) = floats(args, 0, 2)?;
            let sizes = filter_sizes(args)?;
            let images = channels_last(&x.tensor, sliding.channels_first)?;
            let gradients = channels_last(&gradient.tensor, sliding.channels_first)?;
            let result = on_cpu(&images, |images| {
                Ok(filter_gradient(
                    &images,
                    sizes,
                    &cpu(&gradients, &images)?,
                    &sliding,
                    context,
                )?)
            })?;
            Ok(x.with(result))
        })
    });
    ops.pure("ExtractImagePatches", |attrs| {
        let kernel = pair(&attrs.ints("ksizes")?, false)?;
        let sliding = Sliding {
            padding: match attrs.text("padding", "VALID")? {
                "SAME" => Padding::Same,
                _ => Padding::Valid,
            },
            strides: pair(&attrs.ints("strides")?, false)?,
            dilations: pair(&attrs.ints("rates")?, false)?,
            channels_first: false,
        };
        one(move |args, context| {
            let x = args.tensor(0)?;
            args.float(0)?;
            let images = channels_last(&x.tensor, false)?;
            let windows = sliding.over(images.dims4()?, kernel)?;
            context.elements(&[windows.outputs(), windows.taps(), windows.channels], 8)?;
            let [n, h, w] = windows.output();
            let rows = on_cpu(&images, |images| unfold(&images, windows))?;
            Ok(x.with(rows.reshape((n, h, w, windows.taps() * windows.channels))?))
        })
    });
    ops.pure("DepthwiseConv2dNative", |attrs| {
        let sliding = Sliding::new(attrs)?;
        one(move |args, context| {
            let (x, filter) = floats(args, 0, 1)?;
            let images = channels_last(&x.tensor, sliding.channels_first)?;
            let (depthwise, wide) = depthwise(&sliding, images.dims4()?, filter.tensor.dims4()?, context)?;
            let filter = filter.tensor.reshape((depthwise.windows.taps(), wide))?;
            let result = on_cpu(&images, |images| depthwise.forward(&images, &cpu(&filter, &images)?))?;
            Ok(x.with(channels_back(&result, sliding.channels_first)?))
        })
    });
    ops.pure("DepthwiseConv2dNativeBackpropInput", |attrs| {
        let sliding = Sliding::new(attrs)?;
        one(move |args, context| {
            let (filter, gradient) = floats(args, 1, 2)?;
            let dims = image_dims(&args.sizes(0)?, &sliding)?;
            let (depthwise, wide) = depthwise(&sliding, dims, filter.tensor.dims4()?, context)?;
            let filter = filter.tensor.reshape((depthwise.windows.taps(), wide))?;
            let gradients = channels_last(&gradient.tensor, sliding.channels_first)?;
            let result = on_cpu(&filter, |filter| {
                depthwise.images_gradient(&filter, &cpu(&gradients, &filter)?)
            })?;
            Ok(gradient.with(channels_back(&result, sliding.channels_first)?))
        })
    });
    ops.pure("DepthwiseConv2dNativeBackpropFilter", |attrs| {
        let sliding = Sliding::new(attrs)?;
        one(move |args, context| {
            let (x, gradient) = floats(args, 0, 2)?;
            let sizes = filter_sizes(args)?;
            let images = channels_last(&x.tensor, sliding.channels_first)?;
            let (depthwise, _) = depthwise(&sliding, images.dims4()?, sizes, context)?;
            let gradients = channels_last(&gradient.tensor, sliding.channels_first)?;
            let result = on_cpu(&images, |images| {
                depthwise.filter_gradient(&images, &cpu(&gradients, &images)?)
            })?;
            Ok(x.with(result.reshape(sizes)?))
        })
    });
}

/// Beside another tensor, and in its dtype.
fn cpu(tensor: &Tensor, like: &Tensor) -> candle_core::Result<Tensor> {
    tensor.to_device(&Device::Cpu)?.to_dtype(like.dtype())
}

fn floats(args: &Args, a: usize, b: usize) -> Result<(&TfTensor, &TfTensor)> {
    args.float(a)?;
    args.float(b)?;
    let (a, b) = (args.tensor(a)?, args.tensor(b)?);
    same_dtype(a, b)?;
    Ok((a, b))
}

pub(crate) fn channels_last(x: &Tensor, channels_first: bool) -> Result<Tensor> {
    if x.rank() != 4 {
        return Err(Error::operand(format!("images of shape {:?}", x.dims())));
    }
    Ok(match channels_first {
        true => x.permute((0, 2, 3, 1))?.contiguous()?,
        false => x.contiguous()?,
    })
}

pub(crate) fn channels_back(x: &Tensor, channels_first: bool) -> Result<Tensor> {
    Ok(match channels_first {
        true => x.permute((0, 3, 1, 2))?.contiguous()?,
        false => x.clone(),
    })
}

/// The dimensions of images as an operand gives them: `[n, h, w, c]`.
fn image_dims(sizes: &[usize], sliding: &Sliding) -> Result<(usize, usize, usize, usize)> {
    match (sizes, sliding.channels_first) {
        ([n, h, w, c], false) | ([n, c, h, w], true) => Ok((*n, *h, *w, *c)),
        _ => Err(Error::operand(format!("images of shape {sizes:?}"))),
    }
}

fn filter_sizes(args: &Args) -> Result<(usize, usize, usize, usize)> {
    match args.sizes(1)?.as_slice() {
        [h, w, i, o] => Ok((*h, *w, *i, *o)),
        sizes => Err(Error::operand(format!("a filter of shape {sizes:?}"))),
    }
}

fn depthwise(
    sliding: &Sliding,
    images: (usize, usize, usize, usize),
    (h, w, channels, multiplier): (usize, usize, usize, usize),
    context: &Context<'_>,
) -> Result<(Depthwise, usize)> {
    if channels != images.3 || multiplier == 0 {
        return Err(Error::operand(format!(
            "a filter of {channels} channels for images of {}",
            images.3
        )));
    }
    let windows = sliding.over(images, [h, w])?;
    let wide = context.elements(&[channels, multiplier], 1)?;
    context.elements(&[windows.n, windows.h.output, windows.w.output, wide], 8)?;
    Ok((Depthwise { windows, multiplier }, wide))
}

/// Groups of channels: how many of them, and the input channels of each.
fn groups(channels: usize, of_filter: usize, outputs: usize) -> Result<usize> {
    let groups = channels
        .checked_div(of_filter)
        .filter(|groups| groups * of_filter == channels);
    let groups = groups.filter(|groups| *groups > 0 && outputs.is_multiple_of(*groups));
    groups.ok_or_else(|| Error::operand(format!("a filter of {of_filter} channels for images of {channels}")))
}

/// Rows of windows of a part of this many bytes are multiplied at once, which caches hold.
const PART_BYTES: usize = 8 << 20;

fn convolve(images: &Tensor, filter: &Tensor, sliding: &Sliding, context: &Context<'_>) -> Result<Tensor> {
    let (n, height, width, channels) = images.dims4()?;
    let (h, w, inputs, outputs) = filter.dims4()?;
    let groups = groups(channels, inputs, outputs)?;
    if groups > 1 {
        let part = |group: usize| {
            let images = images.narrow(3, group * inputs, inputs)?.contiguous()?;
            let filter = filter
                .narrow(3, group * (outputs / groups), outputs / groups)?
                .contiguous()?;
            convolve(&images, &filter, sliding, context)
        };
        let parts = (0..groups).map(part).collect::<Result<Vec<Tensor>>>()?;
        return Ok(Tensor::cat(&parts, 3)?);
    }
    let windows = sliding.over((n, height, width, channels), [h, w])?;
    let rows = context.elements(&[windows.outputs(), windows.taps(), channels], 8)?;
    let [_, out_h, out_w] = windows.output();
    context.elements(&[n, out_h, out_w, outputs], 8)?;
    let filter = filter.reshape((h * w * channels, outputs))?;
    if rows == 0 || outputs == 0 {
        return Ok(Tensor::zeros(
            (n, out_h, out_w, outputs),
            images.dtype(),
            images.device(),
        )?);
    }
    let product = |images: &Tensor, windows: Windows| -> Result<Tensor> {
        let rows = match windows.is_plain() {
            true => images.reshape((windows.outputs(), channels))?,
            false => unfold(images, windows)?,
        };
        Ok(rows.matmul(&filter)?)
    };
    let each = (PART_BYTES / (rows / n * images.dtype().size_in_bytes()).max(1)).max(1);
    let result = match each >= n || windows.is_plain() {
        true => product(images, windows)?,
        false => {
            let part = |start: usize| {
                let count = each.min(n - start);
                product(&images.narrow(0, start, count)?, Windows { n: count, ..windows })
            };
            let parts = (0..n).step_by(each).map(part).collect::<Result<Vec<Tensor>>>()?;
            Tensor::cat(&parts, 0)?
        }
    };
    Ok(result.reshape((n, out_h, out_w, outputs))?)
}

/// The gradient of images, which is what a transposed convolution computes.
fn transposed(
    dims: (usize, usize, usize, usize),
    filter: &Tensor,
    gradients: &Tensor,
    sliding: &Sliding,
    context: &Context<'_>,
) -> Result<Tensor> {
    let (h, w, inputs, outputs) = filter.dims4()?;
    let groups = groups(dims.3, inputs, outputs)?;
    if groups > 1 {
        let part = |group: usize| {
            let each = outputs / groups;
            let filter = filter.narrow(3, group * each, each)?.contiguous()?;
            let gradients = gradients.narrow(3, group * each, each)?.contiguous()?;
            transposed((dims.0, dims.1, dims.2, inputs), &filter, &gradients, sliding, context)
        };
        let parts = (0..groups).map(part).collect::<Result<Vec<Tensor>>>()?;
        return Ok(Tensor::cat(&parts, 3)?);
    }
    let windows = sliding.over(dims, [h, w])?;
    fits(&windows, gradients, outputs)?;
    context.elements(&[dims.0, dims.1, dims.2, dims.3], 8)?;
    let rows = context.elements(&[windows.outputs(), windows.taps(), inputs], 8)?;
    if rows == 0 || outputs == 0 {
        return Ok(Tensor::zeros(dims, gradients.dtype(), gradients.device())?);
    }
    let filter = filter.reshape((h * w * inputs, outputs))?;
    let rows = gradients.reshape((windows.outputs(), outputs))?.matmul(&filter.t()?)?;
    Ok(fold(&rows, windows)?)
}

fn filter_gradient(
    images: &Tensor,
    sizes: (usize, usize, usize, usize),
    gradients: &Tensor,
    sliding: &Sliding,
    context: &Context<'_>,
) -> Result<Tensor> {
    let dims = images.dims4()?;
    let (h, w, inputs, outputs) = sizes;
    let groups = groups(dims.3, inputs, outputs)?;
    if groups > 1 {
        let part = |group: usize| {
            let each = outputs / groups;
            let images = images.narrow(3, group * inputs, inputs)?.contiguous()?;
            let gradients = gradients.narrow(3, group * each, each)?.contiguous()?;
            filter_gradient(&images, (h, w, inputs, each), &gradients, sliding, context)
        };
        let parts = (0..groups).map(part).collect::<Result<Vec<Tensor>>>()?;
        return Ok(Tensor::cat(&parts, 3)?);
    }
    let windows = sliding.over(dims, [h, w])?;
    fits(&windows, gradients, outputs)?;
    let rows = context.elements(&[windows.outputs(), windows.taps(), inputs], 8)?;
    context.elements(&[h, w, inputs, outputs], 8)?;
    if rows == 0 || outputs == 0 {
        return Ok(Tensor::zeros(sizes, images.dtype(), images.device())?);
    }
    let gradients = gradients.reshape((windows.outputs(), outputs))?;
    Ok(unfold(images, windows)?.t()?.matmul(&gradients)?.reshape(sizes)?)
}

fn fits(windows: &Windows, gradients: &Tensor, outputs: usize) -> Result<()> {
    let [n, h, w] = windows.output();
    match gradients.dims() == [n, h, w, outputs] {
        true => Ok(()),
        false => Err(Error::operand(format!(
            "a gradient of {:?} where the result is {:?}",
            gradients.dims(),
            [n, h, w, outputs]
        ))),
    }
}
