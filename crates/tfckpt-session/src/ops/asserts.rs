//! What a graph claims: an error with its message and the values, if it does not hold.

use candle_core::{DType, Device};

use super::state::truth;
use super::table::{Args, Ops, many};
use crate::error::{Error, Result};
use crate::value::Value;

pub(super) fn add(ops: &mut Ops) {
    ops.acts("Assert", |attrs| {
        let shown = usize::try_from(attrs.int("summarize", 3)?).unwrap_or(usize::MAX);
        many(move |args, _| match truth(args.value(0)?)? {
            true => Ok(Vec::new()),
            false => Err(Error::Assertion {
                data: data(args, shown)?,
            }),
        })
    });
}

/// What was said to come with the error, each value's first elements only.
fn data(args: &Args, shown: usize) -> Result<Vec<String>> {
    args.values()
        .iter()
        .skip(1)
        .map(|value| described(value, shown))
        .collect()
}

fn described(value: &Value, shown: usize) -> Result<String> {
    let (dims, count, texts): (&[usize], usize, Vec<String>) = match value {
        Value::Strings(strings) => {
            let texts = strings.elements.iter().take(shown);
            let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
            (&strings.dims, strings.elements.len(), texts.collect())
        }
        Value::Tensor(tensor) => {
            let count = tensor.tensor.elem_count();
            let few = tensor.tensor.flatten_all()?.narrow(0, 0, shown.min(count))?;
            let few = few.to_device(&Device::Cpu)?;
            let texts = match few.dtype().is_float() {
                true => {
                    let numbers = few.to_dtype(DType::F64)?.to_vec1::<f64>()?;
                    numbers.iter().map(f64::to_string).collect()
                }
                false => {
                    let numbers = few.to_dtype(DType::I64)?.to_vec1::<i64>()?;
                    numbers.iter().map(i64::to_string).collect()
                }
            };
            (tensor.dims(), count, texts)
        }
        other => return Ok(other.name().to_owned()),
    };
    let more = if texts.len() < count { " ..." } else { "" };
    match dims {
        [] => Ok(texts.concat()),
        _ => Ok(format!("[{}{more}]", texts.join(" "))),
    }
}
