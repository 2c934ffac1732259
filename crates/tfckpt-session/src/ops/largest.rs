//! The largest elements, and where others stand among them.

use candle_core::{Device, Tensor};
use tfckpt::{AttrValue, DType};

use super::arithmetic::ints;
use super::shape::signed;
use super::table::{Args, Ops, many, one};
use crate::dtype::is_float;
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Bucketize", |attrs| {
        let list = match attrs.get("boundaries") {
            Some(AttrValue::List(list)) => list,
            _ => Vec::new(),
        };
        let boundary = |value: AttrValue<'_>| match value {
            AttrValue::Float(value) => Ok(f64::from(value)),
            _ => Err(Error::graph("a boundary is no number")),
        };
        let boundaries = list.into_iter().map(boundary).collect::<Result<Vec<f64>>>()?;
        one(move |args, _| {
            let x = args.tensor(0)?;
            let bucket = |value: f64| signed(boundaries.partition_point(|boundary| *boundary <= value));
            ints(ordered(x)?.into_iter().map(bucket).collect(), x.dims(), DType::Int32)
        })
    });
    for name in ["TopK", "TopKV2"] {
        ops.pure(name, move |attrs| {
            let count = attrs.count("k", 0)?;
            let sorted = attrs.dtype("index_type", DType::Int32)?;
            many(move |args, _| {
                let count = match name {
                    "TopK" => count,
                    _ => usize::try_from(args.int(1)?).map_err(|_| Error::operand("a negative k"))?,
                };
                top_k(args, count, sorted)
            })
        });
    }
    for name in ["InTopK", "InTopKV2"] {
        ops.pure(name, move |attrs| {
            let count = attrs.int("k", 1)?;
            one(move |args, _| in_top_k(args, if args.len() > 2 { args.int(2)? } else { count }))
        });
    }
}

/// The values of integers or floats, as numbers that are ordered.
pub(crate) fn ordered(x: &TfTensor) -> Result<Vec<f64>> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "ties of numbers beyond 2^53 are decided by place"
    )]
    let float = |value: i64| value as f64;
    match is_float(x.dtype) {
        true => {
            let flat = x.tensor.detach().to_device(&Device::Cpu)?.flatten_all()?;
            Ok(flat.to_dtype(candle_core::DType::F64)?.to_vec1()?)
        }
        false => Ok(x.to_ints()?.into_iter().map(float).collect()),
    }
}

fn top_k(args: &Args, count: usize, dtype: DType) -> Result<Vec<Value>> {
    let x = args.tensor(0)?;
    let len = x.dims().last().copied().unwrap_or(0);
    if count > len || x.dims().is_empty() {
        return Err(Error::operand(format!("the {count} largest of {:?}", x.dims())));
    }
    let values = ordered(x)?;
    let mut places = Vec::new();
    for row in values.chunks_exact(len.max(1)) {
        let mut order: Vec<(usize, f64)> = row.iter().copied().enumerate().collect();
        order.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
        places.extend(order.into_iter().take(count).map(|(place, _)| signed(place)));
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = count;
    }
    let rank = dims.len();
    let picked = Tensor::from_vec(places.clone(), dims.as_slice(), &Device::Cpu)?.to_device(x.tensor.device())?;
    let found = match picked.elem_count() {
        0 => x.tensor.narrow(rank - 1, 0, count)?,
        _ => x.tensor.contiguous()?.gather(&picked, rank - 1)?,
    };
    Ok(vec![x.with(found).into(), ints(places, &dims, dtype)?.into()])
}

fn in_top_k(args: &Args, count: i64) -> Result<TfTensor> {
    let (predictions, targets) = (args.tensor(0)?, args.ints(1)?);
    let values = ordered(predictions)?;
    let len = predictions.dims().last().copied().unwrap_or(0).max(1);
    let hits = values.chunks_exact(len).zip(targets).map(|(row, target)| {
        let held = usize::try_from(target).ok().and_then(|target| row.get(target)).copied();
        let finite = row.iter().all(|value| value.is_finite());
        u8::from(finite && held.is_some_and(|held| signed(row.iter().filter(|value| **value > held).count()) < count))
    });
    let hits: Vec<u8> = hits.collect();
    let rows = hits.len();
    TfTensor::truths(hits, &[rows])
}
