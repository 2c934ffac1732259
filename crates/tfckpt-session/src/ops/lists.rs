//! `TensorList`s of TensorFlow 2, in which loops keep what they make.

use std::sync::Arc;

use tfckpt::DType;

use super::arithmetic::ints;
use super::elements::{joined, never_written, rows, split, stacked};
use super::shape::{signed, zeros};
use super::table::{Args, Ops, many, one};
use crate::error::{Error, Result};
use crate::holders::{Elements, element};
use crate::value::{TfTensor, Value};

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

pub(super) fn add(ops: &mut Ops) {
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
