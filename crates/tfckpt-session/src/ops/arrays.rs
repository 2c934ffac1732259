//! `TensorArray`s of TensorFlow 1, in which loops keep what they make, and those of their gradients.

use std::sync::Arc;

use candle_core::Tensor;
use tfckpt::DType;

use super::arithmetic::ints;
use super::elements::{joined, known, never_written, rows, split, stacked};
use super::shape::signed;
use super::table::{Args, Ops, many, one};
use crate::error::{Error, Result};
use crate::holders::TensorArray;
use crate::value::{TfTensor, Value};

fn flow() -> Result<Value> {
    let tensor = Tensor::zeros((), candle_core::DType::F32, &candle_core::Device::Cpu)?;
    Ok(Value::Tensor(TfTensor {
        tensor,
        dtype: DType::Float32,
    }))
}

fn array(args: &Args) -> Result<&TensorArray> {
    match args.value(0)? {
        Value::Array(array) => Ok(array),
        other => Err(Error::operand(format!(
            "operand 0: expected a TensorArray, found {}",
            other.name()
        ))),
    }
}

pub(super) fn add(ops: &mut Ops) {
    ops.impure("TensorArrayV3", |_| {
        many(|args, context| {
            let size = args.sizes(0)?.first().copied().unwrap_or(0);
            context.elements(&[size], size_of::<Option<TfTensor>>())?;
            Ok(vec![Value::Array(Arc::new(TensorArray::new(size))), flow()?])
        })
    });
    ops.impure("TensorArrayWriteV3", |_| {
        many(|args, context| {
            let (place, value) = (args.int(1)?, args.tensor(2)?.clone());
            array(args)?.put(place, value, context)?;
            Ok(vec![flow()?])
        })
    });
    ops.impure("TensorArrayReadV3", |attrs| {
        let dtype = attrs.dtype("dtype", DType::Float32)?;
        one(move |args, context| {
            let place = args.int(1)?;
            let found = array(args)?.get(place, context)?;
            found
                .filter(|found| found.dtype == dtype)
                .ok_or_else(|| never_written(place))
        })
    });
    ops.impure("TensorArraySizeV3", |_| {
        one(|args, _| ints(vec![signed(array(args)?.len())], &[], DType::Int32))
    });
    ops.impure("TensorArrayGatherV3", |attrs| {
        let dtype = attrs.dtype("dtype", DType::Float32)?;
        let shape = attrs.shape("element_shape")?;
        one(move |args, context| {
            let places = args.ints(1)?;
            let array = array(args)?;
            let found = places
                .into_iter()
                .map(|place| array.get(place, context)?.ok_or_else(|| never_written(place)));
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
            let array = array(args)?;
            for (place, row) in places.into_iter().zip(rows) {
                array.put(place, row, context)?;
            }
            Ok(vec![flow()?])
        })
    });
    ops.impure("TensorArrayConcatV3", |_| {
        many(|args, context| joined(&array(args)?.all(context)?, context))
    });
    ops.impure("TensorArraySplitV3", |_| {
        many(|args, context| {
            let parts = split(args.tensor(1)?, &args.sizes(2)?)?;
            let array = array(args)?;
            for (place, part) in parts.into_iter().enumerate() {
                array.put(signed(place), part, context)?;
            }
            Ok(vec![flow()?])
        })
    });
    ops.impure("TensorArrayGradV3", |attrs| {
        let source = attrs.text("source", "")?.to_owned();
        many(move |args, _| Ok(vec![Value::Array(array(args)?.gradient(&source)), flow()?]))
    });
    ops.impure("TensorArrayCloseV3", |_| many(|_, _| Ok(Vec::new())));
}
