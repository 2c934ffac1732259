//! Elements put at their places.

use candle_core::{Device, Tensor};
use tfckpt::DType;

use super::arithmetic::ints;
use super::gather::flat_places;
use super::largest::ordered;
use super::segments::Fold;
use super::shape::{signed, zeros};
use super::table::{Args, Ops, one};
use crate::dtype::is_int;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("ScatterNd", |_| {
        one(|args, context| {
            let target = zeros(&args.sizes(2)?, args.tensor(1)?.dtype, context)?;
            scatter(&target, args, 0, 1, true)
        })
    });
    ops.pure("TensorScatterAdd", |_| {
        one(|args, _| scatter(args.tensor(0)?, args, 1, 2, true))
    });
    ops.pure("TensorScatterSub", |_| {
        one(|args, context| {
            let updates = args.tensor(2)?;
            let none = zeros(updates.dims(), updates.dtype, context)?;
            let negative = updates.with((&none.tensor - &updates.tensor)?);
            let changed = Args::new(vec![args.value(0)?.clone(), args.value(1)?.clone(), negative.into()]);
            scatter(changed.tensor(0)?, &changed, 1, 2, true)
        })
    });
    for (name, fold) in [
        ("TensorScatterMax", Fold::Largest),
        ("TensorScatterMin", Fold::Smallest),
    ] {
        ops.pure(name, move |_| one(move |args, _| scatter_extreme(args, fold)));
    }
    ops.pure("TensorScatterUpdate", |_| {
        one(|args, _| scatter(args.tensor(0)?, args, 1, 2, false))
    });
}

/// Adds updates to a tensor at places, or puts them there.
fn scatter(target: &TfTensor, args: &Args, indices: usize, updates: usize, adds: bool) -> Result<TfTensor> {
    let updates = args.tensor(updates)?;
    let (flat, width) = flat_places(args, indices, target.dims())?;
    let count = flat.len();
    if updates.tensor.elem_count() != count * width {
        return Err(Error::operand(format!(
            "updates of {:?} at {count} places of {:?}",
            updates.dims(),
            target.dims()
        )));
    }
    let rows = target.tensor.elem_count().checked_div(width).unwrap_or(0);
    let table = target.tensor.contiguous()?.reshape((rows, width))?;
    let source = updates.tensor.contiguous()?.reshape((count, width))?;
    let device = table.device();
    let places = Tensor::from_vec(flat.clone(), count, &Device::Cpu)?.to_device(device)?;
    let result = match adds {
        true => table.index_add(&places, &source, 0)?,
        false => {
            // Of several updates at one place the last one counts.
            let mut last: Vec<i64> = (0..signed(rows)).collect();
            for (update, place) in flat.iter().enumerate() {
                if let Some(slot) = usize::try_from(*place).ok().and_then(|place| last.get_mut(place)) {
                    *slot = signed(rows + update);
                }
            }
            let from = Tensor::from_vec(last, rows, &Device::Cpu)?.to_device(device)?;
            Tensor::cat(&[&table, &source], 0)?.index_select(&from, 0)?
        }
    };
    let result = target.with(result.reshape(target.dims())?);
    match is_int(result.dtype) {
        true => ints(result.to_ints()?, result.dims(), result.dtype),
        false => Ok(result),
    }
}

/// Replaces what is smaller, or larger, than its update.
fn scatter_extreme(args: &Args, fold: Fold) -> Result<TfTensor> {
    let (target, updates) = (args.tensor(0)?, args.tensor(2)?);
    let (flat, width) = flat_places(args, 1, target.dims())?;
    let (mut held, new) = (ordered(target)?, ordered(updates)?);
    for (row, place) in new.chunks(width.max(1)).zip(flat) {
        let start = usize::try_from(place).unwrap_or(0) * width;
        for (slot, value) in held.iter_mut().skip(start).zip(row) {
            *slot = fold.float(*slot, *value);
        }
    }
    let result = TfTensor {
        tensor: Tensor::from_vec(held, target.dims(), &Device::Cpu)?,
        dtype: DType::Float64,
    };
    super::cast::cast(&result, target.dtype, target.tensor.device())
}
