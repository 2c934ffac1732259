//! Images of another size, in TensorFlow's three conventions: corners aligned, centres of pixels half a pixel in, or neither,
//! which is what TensorFlow 1 does by default.
//!
//! Rows and columns of the result are sums of a few rows and columns of the image: two products of matrices, through which
//! gradients lead.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::shape::signed;
use super::table::{Args, Ops, one};
use super::turns::picked;
use crate::attrs::Attrs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("ResizeBilinear", |attrs| {
        let convention = Convention::new(attrs)?;
        one(move |args, context| linear(args, |to, from| bilinear(to, from, convention), context))
    });
    ops.pure("ResizeBicubic", |attrs| {
        let convention = Convention::new(attrs)?;
        one(move |args, context| linear(args, |to, from| bicubic(to, from, convention), context))
    });
    ops.pure("ResizeArea", |attrs| {
        let convention = Convention::new(attrs)?;
        one(move |args, context| linear(args, |to, from| area(to, from, convention), context))
    });
    ops.pure("ResizeNearestNeighbor", |attrs| {
        let convention = Convention::new(attrs)?;
        one(move |args, context| nearest(args, convention, context))
    });
}

#[derive(Debug, Clone, Copy)]
struct Convention {
    corners: bool,
    centres: bool,
}

impl Convention {
    fn new(attrs: &Attrs<'_>) -> Result<Self> {
        Ok(Convention {
            corners: attrs.bool("align_corners", false)?,
            centres: attrs.bool("half_pixel_centers", false)?,
        })
    }

    /// How many pixels of the image one of the result is wide.
    #[expect(clippy::cast_precision_loss, reason = "no image is so large")]
    fn scale(self, to: usize, from: usize) -> f32 {
        match self.corners && to > 1 {
            true => (from - 1) as f32 / (to - 1) as f32,
            false => from as f32 / to as f32,
        }
    }

    /// Where a pixel of the result lies in the image.
    #[expect(clippy::cast_precision_loss, reason = "no image is so large")]
    fn place(self, pixel: usize, scale: f32) -> f32 {
        match self.centres {
            true => (pixel as f32 + 0.5) * scale - 0.5,
            false => pixel as f32 * scale,
        }
    }
}

/// The size that is asked for, and the image.
fn operands<'a>(args: &'a Args, context: &Context<'_>) -> Result<(&'a TfTensor, [usize; 4], [usize; 2])> {
    let x = args.tensor(0)?;
    let (n, h, w, c) = x.tensor.dims4()?;
    let [to_h, to_w] = args
        .sizes(1)?
        .try_into()
        .map_err(|_| Error::operand("a size is height and width"))?;
    if h == 0 || w == 0 || to_h == 0 || to_w == 0 {
        return Err(Error::operand(format!("{:?} is resized to {to_h} by {to_w}", x.dims())));
    }
    context.elements(&[n, to_h, to_w, c], 8)?;
    context.elements(&[to_h, h], 8)?;
    context.elements(&[to_w, w], 8)?;
    context.elements(&[n, to_h, w, c], 8)?;
    Ok((x, [n, h, w, c], [to_h, to_w]))
}

/// Weights of the image's pixels for each pixel of the result.
type Weights = Vec<Vec<(usize, f32)>>;

fn linear(args: &Args, weights: impl Fn(usize, usize) -> Weights, context: &Context<'_>) -> Result<TfTensor> {
    let (x, [n, h, w, c], [to_h, to_w]) = operands(args, context)?;
    let (images, dtype) = match x.tensor.dtype() {
        candle_core::DType::F64 => (x.tensor.clone(), DType::Float64),
        _ => (
            x.tensor.to_dtype(candle_core::DType::F32)?.to_device(context.device)?,
            DType::Float32,
        ),
    };
    let matrix = |to: usize, from: usize| -> Result<Tensor> {
        let mut values = vec![0f32; to * from];
        for (row, weights) in values.chunks_exact_mut(from).zip(weights(to, from)) {
            for (pixel, weight) in weights {
                if let Some(sum) = row.get_mut(pixel) {
                    *sum += weight;
                }
            }
        }
        let matrix = Tensor::from_vec(values, (to, from), &Device::Cpu)?;
        Ok(matrix.to_device(images.device())?.to_dtype(images.dtype())?)
    };
    // [n, h, w * c] by rows, then [n * to_h, w, c] by columns.
    let rows = matrix(to_h, h)?.broadcast_as((n, to_h, h))?.contiguous()?;
    let tall = rows.matmul(&images.contiguous()?.reshape((n, h, w * c))?)?;
    let columns = matrix(to_w, w)?.broadcast_as((n * to_h, to_w, w))?.contiguous()?;
    let wide = columns.matmul(&tall.reshape((n * to_h, w, c))?)?;
    Ok(TfTensor {
        tensor: wide.reshape((n, to_h, to_w, c))?,
        dtype,
    })
}

/// The index of a pixel, which is within the image.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
fn clamped(place: f32, len: usize) -> usize {
    (place.max(0.0) as usize).min(len - 1)
}

fn bilinear(to: usize, from: usize, convention: Convention) -> Weights {
    let scale = convention.scale(to, from);
    let weights = |pixel: usize| {
        let place = convention.place(pixel, scale);
        let floor = place.floor();
        let (lower, upper) = (clamped(floor, from), clamped(place.ceil(), from));
        let share = place - floor;
        vec![(lower, 1.0 - share), (upper, share)]
    };
    (0..to).map(weights).collect()
}

/// Keys' cubic, by a table of 1024 places as TensorFlow has it. Centres half a pixel in are weighted without the pixels that
/// lie outside.
fn bicubic(to: usize, from: usize, convention: Convention) -> Weights {
    const TABLE: f32 = 1024.0;
    let a = if convention.centres { -0.5f32 } else { -0.75 };
    let near = move |x: f32| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = move |x: f32| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    let scale = convention.scale(to, from);
    let weights = |pixel: usize| {
        let place = convention.place(pixel, scale);
        let floor = place.floor();
        let share = ((place - floor) * TABLE).round_ties_even() / TABLE;
        let all = [
            (floor - 1.0, far(1.0 + share)),
            (floor, near(share)),
            (floor + 1.0, near(1.0 - share)),
            (floor + 2.0, far(2.0 - share)),
        ];
        match convention.centres {
            false => all.map(|(place, weight)| (clamped(place, from), weight)).to_vec(),
            true => {
                #[expect(clippy::cast_precision_loss, reason = "no image is so large")]
                let within = |place: f32| place >= 0.0 && place <= (from - 1) as f32;
                let sum: f32 = all
                    .iter()
                    .filter(|(place, _)| within(*place))
                    .map(|(_, weight)| weight)
                    .sum();
                let norm = if sum.abs() >= 1000.0 * f32::MIN_POSITIVE {
                    1.0 / sum
                } else {
                    1.0
                };
                let inside = all.into_iter().filter(|(place, _)| within(*place));
                inside
                    .map(|(place, weight)| (clamped(place, from), weight * norm))
                    .collect()
            }
        }
    };
    (0..to).map(weights).collect()
}

/// Means of the area that a pixel of the result covers.
fn area(to: usize, from: usize, convention: Convention) -> Weights {
    let scale = convention.scale(to, from);
    let weights = |pixel: usize| {
        #[expect(clippy::cast_precision_loss, reason = "no image is so large")]
        let (start, end) = (pixel as f32 * scale, (pixel + 1) as f32 * scale);
        let mut weights = Vec::new();
        let mut place = start.floor();
        while place < end.ceil() {
            let share = match place < start {
                true if place + 1.0 > end => scale,
                true => place + 1.0 - start,
                false if place + 1.0 > end => end - place,
                false => 1.0,
            };
            weights.push((clamped(place, from), share / scale));
            place += 1.0;
        }
        weights
    };
    (0..to).map(weights).collect()
}

fn nearest(args: &Args, convention: Convention, context: &Context<'_>) -> Result<TfTensor> {
    let (x, [_, h, w, _], [to_h, to_w]) = operands(args, context)?;
    let places = |to: usize, from: usize| -> Vec<i64> {
        let scale = convention.scale(to, from);
        #[expect(clippy::cast_precision_loss, reason = "no image is so large")]
        let place = |pixel: usize| match convention {
            Convention { corners: true, .. } => (pixel as f32 * scale).round(),
            Convention { centres: true, .. } => ((pixel as f32 + 0.5) * scale).floor(),
            _ => (pixel as f32 * scale).floor(),
        };
        (0..to).map(|pixel| signed(clamped(place(pixel), from))).collect()
    };
    let tall = picked(&x.tensor, 1, places(to_h, h))?;
    Ok(x.with(picked(&tall, 2, places(to_w, w))?))
}
