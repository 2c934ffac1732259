//! `TensorArray`s of TensorFlow 1 and `TensorList`s of TensorFlow 2, in which loops keep what they make.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Tensor;
use tfckpt::DType;

use super::arithmetic::ints;
use super::shape::{signed, zeros};
use super::table::{Args, Ops, many, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

type Elements = Vec<Option<TfTensor>>;

pub(super) fn add(ops: &mut Ops) {
    arrays(ops);
    lists(ops);
}

fn flow() -> Result<Value> {
    let tensor = Tensor::zeros((), candle_core::DType::F32, &candle_core::Device::Cpu)?;
    Ok(Value::Tensor(TfTensor {
        tensor,
        dtype: DType::Float32,
    }))
}

fn array(args: &Args) -> Result<&Arc<Mutex<Elements>>> {
    match args.value(0)? {
        Value::Array(array) => Ok(array),
        other => Err(Error::operand(format!(
            "operand 0: expected a TensorArray, found {}",
            other.name()
        ))),
    }
}

fn arrays(ops: &mut Ops) {
    ops.impure("TensorArrayV3", |_| {
        many(|args, context| {
            let size = args.sizes(0)?.first().copied().unwrap_or(0);
            context.elements(&[size], size_of::<Option<TfTensor>>())?;
            Ok(vec![Value::Array(Arc::new(Mutex::new(vec![None; size]))), flow()?])
        })
    });
    ops.impure("TensorArrayWriteV3", |_| {
        many(|args, context| {
            let (place, value) = (args.int(1)?, args.tensor(2)?.clone());
            let mut elements = array(args)?.lock().unwrap_or_else(PoisonError::into_inner);
            put(&mut elements, place, value, context)?;
            Ok(vec![flow()?])
        })
    });
    ops.impure("TensorArrayReadV3", |attrs| {
        let dtype = attrs.dtype("dtype", DType::Float32)?;
        one(move |args, _| {
            let place = args.int(1)?;
            let elements = array(args)?.lock().unwrap_or_else(PoisonError::into_inner);
            let found = element(&elements, place)?;
            found
                .filter(|found| found.dtype == dtype)
                .ok_or_else(|| never_written(place))
        })
    });
    ops.impure("TensorArraySizeV3", |_| {
        one(|args, _| {
            let elements = array(args)?.lock().unwrap_or_else(PoisonError::into_inner);
            ints(vec![signed(elements.len())], &[], DType::Int32)
        })
    });
    ops.impure("TensorArrayGatherV3", |attrs| {
        let dtype = attrs.dtype("dtype", DType::Float32)?;
        let shape = attrs.shape("element_shape")?;
        one(move |args, context| {
            let places = args.ints(1)?;
            let elements = array(args)?.lock().unwrap_or_else(PoisonError::into_inner);
            let found = places
                .into_iter()
                .map(|place| element(&elements, place)?.ok_or_else(|| never_written(place)));
            stacked(
                &found.collect::<Result<Vec<TfTensor>>>()?,
                dtype,
                &known(&shape),
                context,
            )
        })
    });
    ops.impure("TensorArrayScatterV3", |_| {
        many(|args, context| {
            let (places, values) = (args.ints(1)?, args.tensor(2)?);
            let rows = rows(values)?;
            if rows.len() != places.len() {
                return Err(Error::operand(format!(
                    "{} places for {} elements",
                    places.len(),
                    rows.len()
                )));
            }
            let mut elements = array(args)?.lock().unwrap_or_else(PoisonError::into_inner);
            for (place, row) in places.into_iter().zip(rows) {
                put(&mut elements, place, row, context)?;
            }
            Ok(vec![flow()?])
        })
    });
    ops.impure("TensorArrayConcatV3", |_| {
        many(|args, context| {
            let elements = array(args)?.lock().unwrap_or_else(PoisonError::into_inner);
            joined(&elements, context)
        })
    });
    ops.impure("TensorArraySplitV3", |_| {
        many(|args, context| {
            let parts = split(args.tensor(1)?, &args.sizes(2)?)?;
            let mut elements = array(args)?.lock().unwrap_or_else(PoisonError::into_inner);
            for (place, part) in parts.into_iter().enumerate() {
                put(&mut elements, signed(place), part, context)?;
            }
            Ok(vec![flow()?])
        })
    });
    ops.impure("TensorArrayCloseV3", |_| many(|_, _| Ok(Vec::new())));
}

fn never_written(place: i64) -> Error {
    Error::operand(format!("element {place} was never written, or with another dtype"))
}

fn element(elements: &Elements, place: i64) -> Result<Option<TfTensor>> {
    let found = usize::try_from(place).ok().and_then(|place| elements.get(place));
    found
        .cloned()
        .ok_or_else(|| Error::operand(format!("element {place} of {}", elements.len())))
}

/// Sets an element; an array that was made without a size grows.
fn put(elements: &mut Elements, place: i64, value: TfTensor, context: &Context<'_>) -> Result<()> {
    let place = usize::try_from(place).map_err(|_| Error::operand(format!("element {place}")))?;
    if place >= elements.len() {
        context.elements(&[place + 1], size_of::<Option<TfTensor>>())?;
        elements.resize(place + 1, None);
    }
    if let Some(slot) = elements.get_mut(place) {
        *slot = Some(value);
    }
    Ok(())
}

/// The dimensions, if all are known.
fn known(shape: &Option<Vec<Option<u64>>>) -> Option<Vec<usize>> {
    let shape = shape.as_ref()?;
    shape.iter().map(|dim| usize::try_from((*dim)?).ok()).collect()
}

/// Elements of one shape along a new first axis.
fn stacked(found: &[TfTensor], dtype: DType, shape: &Option<Vec<usize>>, context: &Context<'_>) -> Result<TfTensor> {
    let Some(first) = found.first() else {
        let mut dims = vec![0];
        dims.extend(shape.iter().flatten());
        return zeros(&dims, dtype, context);
    };
    if found
        .iter()
        .any(|next| next.dims() != first.dims() || next.dtype != first.dtype)
    {
        return Err(Error::operand("elements have different shapes or dtypes"));
    }
    context.elements(
        &[found.len(), first.tensor.elem_count()],
        first.tensor.dtype().size_in_bytes(),
    )?;
    let tensors = found
        .iter()
        .map(|next| next.tensor.unsqueeze(0))
        .collect::<Result<Vec<Tensor>, _>>()?;
    Ok(first.with(Tensor::cat(&tensors, 0)?))
}

/// Elements put together along their first axis, and how long each is.
fn joined(elements: &Elements, context: &Context<'_>) -> Result<Vec<Value>> {
    let found: Vec<&TfTensor> = elements.iter().flatten().collect();
    let first = *found
        .first()
        .ok_or_else(|| Error::operand("no elements are put together"))?;
    let lengths: Vec<i64> = found
        .iter()
        .map(|next| next.dims().first().map_or(0, |len| signed(*len)))
        .collect();
    let total: usize = found.iter().map(|next| next.tensor.elem_count()).sum();
    context.elements(&[total], 8)?;
    let tensors: Vec<&Tensor> = found.iter().map(|next| &next.tensor).collect();
    let count = lengths.len();
    Ok(vec![
        first.with(Tensor::cat(&tensors, 0)?).into(),
        ints(lengths, &[count], DType::Int64)?.into(),
    ])
}

/// Parts of these lengths along the first axis.
fn split(values: &TfTensor, lengths: &[usize]) -> Result<Vec<TfTensor>> {
    let total = lengths
        .iter()
        .try_fold(0usize, |total, length| total.checked_add(*length));
    if values.dims().first().copied() != total {
        return Err(Error::operand(format!("{:?} is split into {lengths:?}", values.dims())));
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(lengths.len());
    for &length in lengths {
        parts.push(values.with(values.tensor.narrow(0, start, length)?));
        start += length;
    }
    Ok(parts)
}

/// The slices along the first axis.
fn rows(values: &TfTensor) -> Result<Vec<TfTensor>> {
    let count = *values
        .dims()
        .first()
        .ok_or_else(|| Error::operand("a scalar has no elements"))?;
    let row = |place| Ok(values.with(values.tensor.narrow(0, place, 1)?.squeeze(0)?));
    (0..count).map(row).collect()
}

fn list(args: &Args, place: usize) -> Result<&Arc<Elements>> {
    match args.value(place)? {
        Value::List(list) => Ok(list),
        other => Err(Error::operand(format!(
            "operand {place}: expected a TensorList, found {}",
            other.name()
        ))),
    }
}

/// Takes the list out, to change it: it is copied only if somebody else has it.
fn taken(args: &mut Args) -> Result<Arc<Elements>> {
    match args.take(0)? {
        Value::List(list) => Ok(list),
        other => Err(Error::operand(format!(
            "operand 0: expected a TensorList, found {}",
            other.name()
        ))),
    }
}

/// The shape that an operand gives for elements, if all of it is known.
fn element_shape(args: &Args, place: usize) -> Option<Vec<usize>> {
    let sizes = args.ints(place).ok()?;
    sizes.into_iter().map(|size| usize::try_from(size).ok()).collect()
}

fn lists(ops: &mut Ops) {
    ops.impure("TensorListReserve", |_| {
        many(|args, context| {
            let size = args.sizes(1)?.first().copied().unwrap_or(0);
            context.elements(&[size], size_of::<Option<TfTensor>>())?;
            Ok(vec![Value::List(Arc::new(vec![None; size]))])
        })
    });
    ops.impure("EmptyTensorList", |_| {
        many(|_, _| Ok(vec![Value::List(Arc::new(Vec::new()))]))
    });
    ops.impure("TensorListFromTensor", |_| {
        many(|args, _| {
            let rows = rows(args.tensor(0)?)?;
            Ok(vec![Value::List(Arc::new(rows.into_iter().map(Some).collect()))])
        })
    });
    ops.impure("TensorListSetItem", |_| {
        many(|args, _| {
            let (place, value) = (args.int(1)?, args.tensor(2)?.clone());
            let mut list = taken(args)?;
            let count = list.len();
            let slot = usize::try_from(place).ok();
            let slot = slot.and_then(|place| Arc::make_mut(&mut list).get_mut(place));
            *slot.ok_or_else(|| Error::operand(format!("element {place} of {count}")))? = Some(value);
            Ok(vec![Value::List(list)])
        })
    });
    ops.impure("TensorListGetItem", |attrs| {
        let dtype = attrs.dtype("element_dtype", DType::Float32)?;
        one(move |args, context| {
            match element(list(args, 0)?, args.int(1)?)? {
                Some(found) => Ok(found),
                // One that was never set is zeros.
                None => {
                    let alike = list(args, 0)?
                        .iter()
                        .flatten()
                        .next()
                        .map(|found| found.dims().to_vec());
                    let dims = element_shape(args, 2).or(alike);
                    zeros(&dims.ok_or_else(|| never_written(0))?, dtype, context)
                }
            }
        })
    });
    ops.impure("TensorListPushBack", |_| {
        many(|args, context| {
            let value = args.tensor(1)?.clone();
            let mut list = taken(args)?;
            context.elements(&[list.len() + 1], size_of::<Option<TfTensor>>())?;
            Arc::make_mut(&mut list).push(Some(value));
            Ok(vec![Value::List(list)])
        })
    });
    ops.impure("TensorListPopBack", |_| {
        many(|args, _| {
            let mut list = taken(args)?;
            let last = Arc::make_mut(&mut list).pop().flatten();
            let last = last.ok_or_else(|| Error::operand("a list without elements"))?;
            Ok(vec![Value::List(list), last.into()])
        })
    });
    ops.impure("TensorListLength", |_| {
        one(|args, _| ints(vec![signed(list(args, 0)?.len())], &[], DType::Int32))
    });
    for name in ["TensorListStack", "TensorListGather"] {
        ops.impure(name, move |attrs| {
            let dtype = attrs.dtype("element_dtype", DType::Float32)?;
            one(move |args, context| {
                let list = list(args, 0)?;
                let (places, shape): (Vec<i64>, _) = match name {
                    "TensorListGather" => (args.ints(1)?, element_shape(args, 2)),
                    _ => ((0..signed(list.len())).collect(), element_shape(args, 1)),
                };
                let shape = shape.or_else(|| list.iter().flatten().next().map(|found| found.dims().to_vec()));
                let found = places.into_iter().map(|place| match element(list, place)? {
                    Some(found) => Ok(found),
                    None => zeros(shape.as_ref().ok_or_else(|| never_written(place))?, dtype, context),
                });
                stacked(&found.collect::<Result<Vec<TfTensor>>>()?, dtype, &shape, context)
            })
        });
    }
    for name in ["TensorListConcat", "TensorListConcatV2"] {
        ops.impure(name, |_| many(|args, context| joined(list(args, 0)?, context)));
    }
    ops.impure("TensorListSplit", |_| {
        many(|args, _| {
            let parts = split(args.tensor(0)?, &args.sizes(2)?)?;
            Ok(vec![Value::List(Arc::new(parts.into_iter().map(Some).collect()))])
        })
    });
    ops.impure("TensorListElementShape", |_| {
        one(|args, _| {
            let first = list(args, 0)?
                .iter()
                .flatten()
                .next()
                .map(|found| found.dims().to_vec());
            match first {
                Some(dims) => ints(
                    dims.iter().map(|dim| signed(*dim)).collect(),
                    &[dims.len()],
                    DType::Int32,
                ),
                None => ints(vec![-1], &[], DType::Int32),
            }
        })
    });
    ops.impure("TensorListResize", |_| {
        many(|args, context| {
            let size = args.sizes(1)?.first().copied().unwrap_or(0);
            context.elements(&[size], size_of::<Option<TfTensor>>())?;
            let mut list = taken(args)?;
            Arc::make_mut(&mut list).resize(size, None);
            Ok(vec![Value::List(list)])
        })
    });
}
