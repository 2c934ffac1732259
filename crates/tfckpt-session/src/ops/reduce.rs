//! Reductions along axes, and running ones.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};
use tfckpt::DType;

use super::arithmetic::ints;
use super::elementwise::{indicator, on_cpu, part, unsupported, widened};
use super::integers::truncate_div;
use super::table::{Args, Kernel, Ops, axis, one};
use crate::dtype::{is_float, is_int};
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Sum", |attrs| {
        reduction(attrs.bool("keep_dims", false)?, sum, |row| Ok(total(row)))
    });
    ops.pure("Mean", |attrs| {
        reduction(attrs.bool("keep_dims", false)?, mean, |row| {
            truncate_div(total(row), i64::try_from(row.len()).unwrap_or(i64::MAX))
        })
    });
    ops.pure("Max", |attrs| {
        let float = |x: &Tensor| extreme(x, true);
        reduction(attrs.bool("keep_dims", false)?, float, |row| {
            Ok(row.iter().copied().max().unwrap_or(i64::MIN))
        })
    });
    ops.pure("Min", |attrs| {
        let float = |x: &Tensor| extreme(x, false);
        reduction(attrs.bool("keep_dims", false)?, float, |row| {
            Ok(row.iter().copied().min().unwrap_or(i64::MAX))
        })
    });
    ops.pure("Prod", |attrs| {
        reduction(attrs.bool("keep_dims", false)?, product, |row| {
            Ok(row.iter().fold(1i64, |product, x| product.wrapping_mul(*x)))
        })
    });
    ops.pure("EuclideanNorm", |attrs| {
        let float = |x: &Tensor| Ok(sum(&x.sqr()?)?.sqrt()?);
        reduction(attrs.bool("keep_dims", false)?, float, |_| {
            Err(Error::operand("a norm of integers"))
        })
    });
    ops.pure("All", |attrs| {
        truths(attrs.bool("keep_dims", false)?, |row| row.iter().all(|x| *x != 0))
    });
    ops.pure("Any", |attrs| {
        truths(attrs.bool("keep_dims", false)?, |row| row.iter().any(|x| *x != 0))
    });
    for (name, largest) in [("ArgMax", true), ("ArgMin", false)] {
        ops.pure(name, move |attrs| {
            let dtype = attrs.dtype("output_type", DType::Int64)?;
            one(move |args, _| arg_extreme(args, dtype, largest))
        });
    }
    for (name, multiplies) in [("Cumsum", false), ("Cumprod", true)] {
        ops.pure(name, move |attrs| {
            let (exclusive, reverse) = (attrs.bool("exclusive", false)?, attrs.bool("reverse", false)?);
            one(move |args, _| running(args, multiplies, exclusive, reverse))
        });
    }
}

fn total(row: &[i64]) -> i64 {
    row.iter().fold(0i64, |sum, x| sum.wrapping_add(*x))
}

/// The axes that are reduced, sorted, each once.
fn axes(args: &Args, rank: usize) -> Result<Vec<usize>> {
    let mut axes = args
        .ints(1)?
        .into_iter()
        .map(|value| axis(value, rank))
        .collect::<Result<Vec<usize>>>()?;
    axes.sort_unstable();
    if axes.array_windows().any(|[a, b]| a == b) {
        return Err(Error::operand("an axis is reduced twice"));
    }
    Ok(axes)
}

/// The dimensions that stay, and how many elements each of the rest is made of.
struct Rows {
    result: Vec<usize>,
    order: Vec<usize>,
    count: usize,
    len: usize,
    trivial: bool,
}

impl Rows {
    fn new(dims: &[usize], axes: &[usize], keep: bool) -> Self {
        let of = |wanted: bool| (0..dims.len()).filter(move |axis| axes.contains(axis) == wanted);
        let dim = |axis: usize| dims.get(axis).copied().unwrap_or(1);
        let kept: Vec<usize> = of(false).map(dim).collect();
        let all = 0..dims.len();
        let result = match keep {
            true => all
                .map(|axis| if axes.contains(&axis) { 1 } else { dim(axis) })
                .collect(),
            false => kept.clone(),
        };
        let order: Vec<usize> = of(false).chain(of(true)).collect();
        Rows {
            count: kept.iter().product(),
            len: of(true).map(dim).product(),
            trivial: order.is_sorted(),
            result,
            order,
        }
    }

    /// The tensor with a row for each element of the result.
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        let x = match self.trivial {
            true => x.clone(),
            false => x.permute(self.order.as_slice())?,
        };
        Ok(x.contiguous()?.reshape((self.count, self.len))?)
    }

    fn dims(&self) -> &[usize] {
        &self.result
    }
}

/// Reduces rows: `float` takes `[rows, len]` and returns `[rows]`.
fn reduction(keep: bool, float: fn(&Tensor) -> Result<Tensor>, int: fn(&[i64]) -> Result<i64>) -> Result<Kernel> {
    one(move |args, _| {
        let x = args.tensor(0)?;
        let axes = axes(args, x.dims().len())?;
        let rows = Rows::new(x.dims(), &axes, keep);
        if is_float(x.dtype) {
            if axes.is_empty() && rows.len == 1 && keep {
                return Ok(x.clone());
            }
            let reduced = widened(&rows.of(&x.tensor)?, float)?;
            return Ok(x.with(reduced.reshape(rows.dims())?));
        }
        if !is_int(x.dtype) {
            return Err(Error::dtype("a reduction", x.dtype));
        }
        let values = x.with(rows.of(&x.tensor)?).to_ints()?;
        ints(each_row(&values, &rows, int)?, rows.dims(), x.dtype)
    })
}

fn each_row<T>(values: &[i64], rows: &Rows, f: impl Fn(&[i64]) -> Result<T>) -> Result<Vec<T>> {
    match rows.len {
        0 => (0..rows.count).map(|_| f(&[])).collect(),
        len => values.chunks_exact(len).map(f).collect(),
    }
}

fn truths(keep: bool, f: fn(&[i64]) -> bool) -> Result<Kernel> {
    one(move |args, _| {
        let x = args.tensor(0)?;
        let rows = Rows::new(x.dims(), &axes(args, x.dims().len())?, keep);
        let values = x.with(rows.of(&x.tensor)?).to_ints()?;
        TfTensor::truths(each_row(&values, &rows, |row| Ok(u8::from(f(row))))?, rows.dims())
    })
}

fn sum(rows: &Tensor) -> Result<Tensor> {
    Ok(match rows.elem_count() {
        0 => Tensor::zeros(rows.dim(0)?, rows.dtype(), rows.device())?,
        _ => rows.sum(1)?,
    })
}

fn mean(rows: &Tensor) -> Result<Tensor> {
    #[expect(clippy::cast_precision_loss, reason = "no row has so many elements")]
    let count = rows.dim(1)? as f64;
    Ok((sum(rows)? / count)?)
}

/// The product of each row, by halves, so that gradients lead through zeros.
fn product(rows: &Tensor) -> Result<Tensor> {
    let mut rows = rows.clone();
    loop {
        match rows.dim(1)? {
            0 => return Ok(Tensor::ones(rows.dim(0)?, rows.dtype(), rows.device())?),
            1 => return Ok(rows.squeeze(1)?),
            len => {
                let half = len / 2;
                let product = (rows.narrow(1, 0, half)? * rows.narrow(1, half, half)?)?;
                rows = match len % 2 {
                    0 => product,
                    _ => Tensor::cat(&[&product, &rows.narrow(1, len - 1, 1)?], 1)?,
                };
            }
        }
    }
}

/// The largest or smallest of each row; NaN if there is one. Equal ones share the gradient, as in TensorFlow.
fn extreme(rows: &Tensor, largest: bool) -> Result<Tensor> {
    let dims = rows.dims2()?;
    if dims.1 == 0 {
        let value = if largest { f64::NEG_INFINITY } else { f64::INFINITY };
        return Ok(Tensor::full(value, dims.0, rows.device())?.to_dtype(rows.dtype())?);
    }
    on_cpu(rows, |rows| rows.contiguous()?.apply_op1(Extreme { largest }))
}

struct Extreme {
    largest: bool,
}

impl Extreme {
    fn of<T: Copy + PartialOrd>(&self, values: &[T], len: usize) -> Vec<T> {
        let better = |best: T, next: T| {
            // What is not ordered is NaN, and stays.
            let keeps = if self.largest { best >= next } else { best <= next };
            #[expect(clippy::eq_op, reason = "NaN is not equal to itself")]
            let is_nan = best != best;
            if keeps || is_nan { best } else { next }
        };
        values
            .chunks_exact(len.max(1))
            .filter_map(|row| row.iter().copied().reduce(better))
            .collect()
    }
}

impl CustomOp1 for Extreme {
    fn name(&self) -> &'static str {
        "extreme"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, len) = layout.shape().dims2()?;
        let result = match storage {
            CpuStorage::F32(x) => CpuStorage::F32(self.of(part(x, layout)?, len)),
            CpuStorage::F64(x) => CpuStorage::F64(self.of(part(x, layout)?, len)),
            other => return Err(unsupported(other, "extreme")),
        };
        Ok((result, rows.into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (x, y) = (x.detach(), y.detach().unsqueeze(1)?);
        let chosen = indicator(&x.broadcast_eq(&y)?, &x)?;
        let shares = chosen.broadcast_div(&chosen.sum_keepdim(1)?)?;
        Ok(Some(shares.broadcast_mul(&gradient.unsqueeze(1)?)?))
    }
}

fn arg_extreme(args: &Args, dtype: DType, largest: bool) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let axis = args.axis(1, x.dims().len())?;
    let rows = Rows::new(x.dims(), &[axis], false);
    if rows.len == 0 {
        return Err(Error::operand(format!("dimension {axis} is empty: it has no extreme")));
    }
    let better = |best: f64, next: f64| if largest { next > best } else { next < best };
    let table = rows.of(&x.tensor.detach())?.to_device(&Device::Cpu)?;
    let places: Vec<i64> = match is_float(x.dtype) {
        true => {
            let values = table
                .flatten_all()?
                .to_dtype(candle_core::DType::F64)?
                .to_vec1::<f64>()?;
            values.chunks_exact(rows.len).map(|row| first(row, better)).collect()
        }
        false => {
            let better = |best: i64, next: i64| if largest { next > best } else { next < best };
            let values = x.with(table).to_ints()?;
            values.chunks_exact(rows.len).map(|row| first(row, better)).collect()
        }
    };
    TfTensor::ints(places, rows.dims(), dtype)
}

/// The place of the first element that none is better than.
fn first<T: Copy>(row: &[T], better: impl Fn(T, T) -> bool) -> i64 {
    let mut best: Option<(usize, T)> = None;
    for (place, value) in row.iter().copied().enumerate() {
        if best.is_none_or(|(_, held)| better(held, value)) {
            best = Some((place, value));
        }
    }
    best.map_or(0, |(place, _)| i64::try_from(place).unwrap_or(i64::MAX))
}

/// Sums or products of all that came before along an axis.
fn running(args: &Args, multiplies: bool, exclusive: bool, reverse: bool) -> Result<TfTensor> {
    let x = args.tensor(0)?;
    let axis = args.axis(1, x.dims().len())?;
    let len = x.tensor.dim(axis)?;
    if x.tensor.elem_count() == 0 {
        return Ok(x.clone());
    }
    let slice = |place: usize| x.tensor.narrow(axis, if reverse { len - 1 - place } else { place }, 1);
    let neutral = match multiplies {
        true => slice(0)?.ones_like()?,
        false => slice(0)?.zeros_like()?,
    };
    let mut so_far = neutral;
    let mut slices = Vec::with_capacity(len);
    for place in 0..len {
        let next = match multiplies {
            true => (&so_far * slice(place)?)?,
            false => (&so_far + slice(place)?)?,
        };
        slices.push(if exclusive { so_far } else { next.clone() });
        so_far = next;
    }
    if reverse {
        slices.reverse();
    }
    let result = x.with(Tensor::cat(&slices, axis)?);
    match is_int(x.dtype) {
        true => ints(result.to_ints()?, result.dims(), x.dtype),
        false => Ok(result),
    }
}
