//! Rows that are summed, multiplied or compared by where they belong.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::arithmetic::ints;
use super::shape::signed;
use super::table::{Args, Ops, one};
use crate::context::Context;
use crate::dtype::{is_float, is_int, range};
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    for (name, how) in [("SegmentSum", Sums::Plain), ("SegmentMean", Sums::Mean)] {
        ops.pure(name, move |_| {
            one(move |args, context| {
                let ids = args.ints(1)?;
                sums(
                    args.tensor(0)?,
                    &ids,
                    args.tensor(1)?.dims().len(),
                    after_last(&ids)?,
                    how,
                    context,
                )
            })
        });
    }
    ops.pure("UnsortedSegmentSum", |_| {
        one(|args, context| {
            let count = args.sizes(2)?.first().copied().unwrap_or(0);
            sums(
                args.tensor(0)?,
                &args.ints(1)?,
                args.tensor(1)?.dims().len(),
                count,
                Sums::Plain,
                context,
            )
        })
    });
    for (name, how) in [
        ("SparseSegmentSum", Sums::Plain),
        ("SparseSegmentMean", Sums::Mean),
        ("SparseSegmentSqrtN", Sums::Root),
    ] {
        ops.pure(name, move |_| {
            one(move |args, context| {
                let x = args.tensor(0)?;
                let rows = x.dims().first().copied().unwrap_or(0);
                let places = args.ints(1)?;
                if places.iter().any(|place| !(0..signed(rows)).contains(place)) {
                    return Err(Error::operand(format!("an index is not in [0, {rows})")));
                }
                let taken = match places.is_empty() {
                    true => x.with(x.tensor.narrow(0, 0, 0)?),
                    false => x.with(super::turns::picked(&x.tensor, 0, places)?),
                };
                let ids = args.ints(2)?;
                sums(&taken, &ids, 1, after_last(&ids)?, how, context)
            })
        });
    }
    for (name, fold, sorted) in EXTREMES {
        ops.pure(name, move |_| {
            one(move |args, context| {
                let ids = args.ints(1)?;
                let count = match sorted {
                    true => after_last(&ids)?,
                    false => args.sizes(2)?.first().copied().unwrap_or(0),
                };
                folded(args, &ids, count, fold, sorted, context)
            })
        });
    }
    ops.pure("Bincount", |_| {
        one(|args, context| {
            let (places, count) = (args.ints(0)?, args.sizes(1)?.first().copied().unwrap_or(0));
            context.elements(&[count], 8)?;
            let weights = args.tensor(2)?;
            let values = match is_float(weights.dtype) {
                true => weights
                    .tensor
                    .to_device(&Device::Cpu)?
                    .to_dtype(candle_core::DType::F64)?
                    .flatten_all()?
                    .to_vec1()?,
                #[expect(clippy::cast_precision_loss, reason = "no count is so large")]
                false => weights
                    .to_ints()?
                    .into_iter()
                    .map(|weight| weight as f64)
                    .collect::<Vec<f64>>(),
            };
            let mut bins = vec![0f64; count];
            for (entry, place) in places.into_iter().enumerate() {
                let weight = if values.is_empty() {
                    1.0
                } else {
                    values.get(entry).copied().unwrap_or(0.0)
                };
                let bin = usize::try_from(place).map_err(|_| Error::operand("a negative number is counted"))?;
                if let Some(bin) = bins.get_mut(bin) {
                    *bin += weight;
                }
            }
            let bins = TfTensor {
                tensor: Tensor::from_vec(bins, count, &Device::Cpu)?,
                dtype: DType::Float64,
            };
            super::cast::cast(&bins, weights.dtype, context.device)
        })
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sums {
    Plain,
    /// By the number of rows.
    Mean,
    /// By its square root.
    Root,
}

fn after_last(ids: &[i64]) -> Result<usize> {
    let last = ids.iter().max().map_or(0, |last| last.saturating_add(1));
    usize::try_from(last).map_err(|_| Error::operand("a negative segment"))
}

/// Sums of rows by segment. Rows with a negative one are left out.
pub(crate) fn sums(
    x: &TfTensor,
    ids: &[i64],
    depth: usize,
    count: usize,
    how: Sums,
    context: &Context<'_>,
) -> Result<TfTensor> {
    let (inner, width) = rows_of(x, ids, depth)?;
    let mut dims = vec![count];
    dims.extend(&inner);
    context.elements(&dims, x.tensor.dtype().size_in_bytes())?;
    if ids.iter().any(|id| *id >= signed(count)) {
        return Err(Error::operand(format!("a segment is not in [0, {count})")));
    }
    // One segment more takes what is left out.
    let to: Vec<i64> = ids.iter().map(|id| if *id < 0 { signed(count) } else { *id }).collect();
    let device = x.tensor.device();
    let table = x.tensor.contiguous()?.reshape((ids.len(), width))?;
    let places = Tensor::from_vec(to.clone(), to.len(), &Device::Cpu)?.to_device(device)?;
    let sums = Tensor::zeros((count + 1, width), table.dtype(), device)?;
    let mut sums = match table.elem_count() {
        0 => sums.narrow(0, 0, count)?,
        _ => sums.index_add(&places, &table, 0)?.narrow(0, 0, count)?,
    };
    if how != Sums::Plain {
        let mut sizes = vec![0f64; count];
        for id in to {
            if let Some(size) = usize::try_from(id).ok().and_then(|id| sizes.get_mut(id)) {
                *size += 1.0;
            }
        }
        let divisor = |size: f64| match how {
            Sums::Root => size.max(1.0).sqrt(),
            _ => size.max(1.0),
        };
        let sizes: Vec<f64> = sizes.into_iter().map(divisor).collect();
        let sizes = Tensor::from_vec(sizes, (count, 1), &Device::Cpu)?;
        sums = sums.broadcast_div(&sizes.to_device(device)?.to_dtype(sums.dtype())?)?;
    }
    let result = x.with(sums.contiguous()?.reshape(dims)?);
    match is_int(result.dtype) {
        true => ints(result.to_ints()?, result.dims(), result.dtype),
        false => Ok(result),
    }
}

/// The shape of what belongs to one id, and its number of elements.
fn rows_of(x: &TfTensor, ids: &[i64], depth: usize) -> Result<(Vec<usize>, usize)> {
    let inner: Vec<usize> = x.dims().iter().skip(depth).copied().collect();
    let rows: usize = x.dims().iter().take(depth).product();
    match rows == ids.len() && x.dims().len() >= depth {
        true => Ok((inner.clone(), inner.iter().product())),
        false => Err(Error::operand(format!("{} segments for {:?}", ids.len(), x.dims()))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    Largest,
    Smallest,
    Product,
}

const EXTREMES: [(&str, Fold, bool); 6] = [
    ("SegmentMax", Fold::Largest, true),
    ("SegmentMin", Fold::Smallest, true),
    ("SegmentProd", Fold::Product, true),
    ("UnsortedSegmentMax", Fold::Largest, false),
    ("UnsortedSegmentMin", Fold::Smallest, false),
    ("UnsortedSegmentProd", Fold::Product, false),
];

impl Fold {
    pub(crate) fn float(self, a: f64, b: f64) -> f64 {
        match self {
            Fold::Largest => {
                if b > a {
                    b
                } else {
                    a
                }
            }
            Fold::Smallest => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Fold::Product => a * b,
        }
    }

    pub(crate) fn int(self, a: i64, b: i64) -> i64 {
        match self {
            Fold::Largest => a.max(b),
            Fold::Smallest => a.min(b),
            Fold::Product => a.wrapping_mul(b),
        }
    }

    /// What an empty segment is: 0 or 1 where segments are sorted, else what any other value replaces.
    fn empty(self, dtype: DType, sorted: bool) -> (f64, i64) {
        let (low, high) = range(dtype);
        let largest = match dtype {
            DType::Float64 => f64::MAX,
            DType::Float16 => 65504.0,
            DType::Bfloat16 => half::bf16::MAX.to_f64(),
            _ => f64::from(f32::MAX),
        };
        match self {
            Fold::Product => (1.0, 1),
            _ if sorted => (0.0, 0),
            Fold::Largest => (-largest, low),
            Fold::Smallest => (largest, high),
        }
    }
}

fn folded(args: &Args, ids: &[i64], count: usize, fold: Fold, sorted: bool, context: &Context<'_>) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let (inner, width) = rows_of(x, ids, args.tensor(1)?.dims().len())?;
    let mut dims = vec![count];
    dims.extend(&inner);
    let total = context.elements(&dims, 8)?;
    if ids.iter().any(|id| *id >= signed(count)) {
        return Err(Error::operand(format!("a segment is not in [0, {count})")));
    }
    let places: Vec<Option<usize>> = ids.iter().map(|id| usize::try_from(*id).ok()).collect();
    let (float, int) = fold.empty(x.dtype, sorted);
    match is_float(x.dtype) {
        true => {
            let flat = x.tensor.detach().to_device(&Device::Cpu)?.flatten_all()?;
            let values = flat.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
            let result = gathered(&values, &places, width, total, float, |a, b| fold.float(a, b));
            let tensor = Tensor::from_vec(result, dims, &Device::Cpu)?.to_dtype(x.tensor.dtype())?;
            Ok(x.with(tensor.to_device(x.tensor.device())?))
        }
        false => {
            let result = gathered(&x.to_ints()?, &places, width, total, int, |a, b| fold.int(a, b));
            ints(result, &dims, x.dtype)
        }
    }
}

/// Rows folded into those of their places.
fn gathered<T: Copy>(
    values: &[T],
    places: &[Option<usize>],
    width: usize,
    total: usize,
    empty: T,
    fold: impl Fn(T, T) -> T,
) -> Vec<T> {
    let mut result: Vec<Option<T>> = vec![None; total];
    for (row, place) in values.chunks(width.max(1)).zip(places) {
        let Some(place) = place else { continue };
        for (slot, value) in result.iter_mut().skip(place * width).zip(row) {
            *slot = Some(slot.map_or(*value, |held| fold(held, *value)));
        }
    }
    result.into_iter().map(|slot| slot.unwrap_or(empty)).collect()
}
