//! Boxes cut out of images, and resized.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::shape::signed;
use super::table::{Args, Ops, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("CropAndResize", |attrs| {
        let linear = match attrs.text("method", "bilinear")? {
            "bilinear" => true,
            "nearest" => false,
            other => return Err(Error::graph(format!("method `{other}`"))),
        };
        let outside = attrs.float("extrapolation_value", 0.0)?;
        one(move |args, context| crop(args, linear, outside, context))
    });
}

/// Each pixel of a box is a mean of pixels of its image: their places are gathered, and weighted.
fn crop(args: &Args, linear: bool, outside: f32, context: &Context<'_>) -> Result<TfTensor> {
    let images = args
        .tensor(0)?
        .tensor
        .to_dtype(candle_core::DType::F32)?
        .to_device(context.device)?;
    let (n, height, width, depth) = images.dims4()?;
    let boxes = args
        .float(1)?
        .to_device(&Device::Cpu)?
        .to_dtype(candle_core::DType::F32)?
        .to_vec2::<f32>()?;
    let owners = args.ints(2)?;
    let [rows, columns] = args
        .sizes(3)?
        .try_into()
        .map_err(|_| Error::operand("a size is height and width"))?;
    if owners.len() != boxes.len() || height == 0 || width == 0 {
        return Err(Error::operand(format!(
            "{} boxes of {} images",
            boxes.len(),
            owners.len()
        )));
    }
    let count = context.elements(&[boxes.len(), rows, columns], 16)?;
    context.elements(&[boxes.len(), rows, columns, depth, 4], 4)?;
    // For each of four neighbours: where it lies, and its weight.
    let mut corners: [(Vec<i64>, Vec<f32>); 4] = Default::default();
    let mut beyond = Vec::with_capacity(count);
    for (corner, owner) in boxes.iter().zip(&owners) {
        let [y1, x1, y2, x2] = corner.as_slice() else {
            return Err(Error::operand("a box is four numbers"));
        };
        if !(0..signed(n)).contains(owner) {
            return Err(Error::operand(format!("image {owner} of {n}")));
        }
        for row in 0..rows {
            let y = place(row, rows, *y1, *y2, height);
            for column in 0..columns {
                let x = place(column, columns, *x1, *x2, width);
                let within = y.zip(x);
                beyond.push(if within.is_some() { 0.0 } else { outside });
                let (y, x) = within.unwrap_or((0.0, 0.0));
                let weights = match (within, linear) {
                    (None, _) => [0.0; 4],
                    (_, false) => [1.0, 0.0, 0.0, 0.0],
                    (_, true) => {
                        let (dy, dx) = (y - y.floor(), x - x.floor());
                        [(1.0 - dy) * (1.0 - dx), (1.0 - dy) * dx, dy * (1.0 - dx), dy * dx]
                    }
                };
                let neighbours = match linear {
                    true => [
                        (y.floor(), x.floor()),
                        (y.floor(), x.ceil()),
                        (y.ceil(), x.floor()),
                        (y.ceil(), x.ceil()),
                    ],
                    false => [(y.round(), x.round()); 4],
                };
                for ((places, shares), ((y, x), weight)) in corners.iter_mut().zip(neighbours.into_iter().zip(weights))
                {
                    let (y, x) = (pixel(y, height), pixel(x, width));
                    places.push((owner * signed(height) + y) * signed(width) + x);
                    shares.push(weight);
                }
            }
        }
    }
    let table = images.reshape((n * height * width, depth))?;
    let mut sum = Tensor::from_vec(beyond, (count, 1), &Device::Cpu)?
        .to_device(context.device)?
        .broadcast_as((count, depth))?
        .contiguous()?;
    for (places, shares) in corners {
        if count == 0 {
            break;
        }
        let shares = Tensor::from_vec(shares, (count, 1), &Device::Cpu)?.to_device(context.device)?;
        sum = (sum + super::turns::picked(&table, 0, places)?.broadcast_mul(&shares)?)?;
    }
    Ok(TfTensor {
        tensor: sum.reshape((boxes.len(), rows, columns, depth))?,
        dtype: DType::Float32,
    })
}

/// Where a row of the box lies in the image; `None` outside.
#[expect(clippy::cast_precision_loss, reason = "no image is so large")]
fn place(row: usize, rows: usize, start: f32, end: f32, len: usize) -> Option<f32> {
    let last = (len - 1) as f32;
    let place = match rows {
        1 => 0.5 * (start + end) * last,
        rows => start * last + row as f32 * ((end - start) * last / (rows - 1) as f32),
    };
    (place >= 0.0 && place <= last).then_some(place)
}

#[expect(clippy::cast_possible_truncation, reason = "it is within the image")]
fn pixel(place: f32, len: usize) -> i64 {
    (place as i64).clamp(0, signed(len) - 1)
}
