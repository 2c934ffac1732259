//! Elements that are there once, or that others do not have.

use std::collections::HashMap;

use tfckpt::DType;

use super::arithmetic::ints;
use super::largest::ordered;
use super::shape::{reshape, signed};
use super::table::{Args, Ops, many};
use crate::dtype::is_float;
use crate::error::{Error, Result};
use crate::value::{Strings, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.pure("ListDiff", |attrs| {
        let dtype = attrs.dtype("out_idx", DType::Int32)?;
        many(move |args, _| list_diff(args, dtype))
    });
    for name in ["Unique", "UniqueWithCounts"] {
        ops.pure(name, |attrs| {
            let dtype = attrs.dtype("out_idx", DType::Int32)?;
            many(move |args, _| unique(args, dtype))
        });
    }
}

/// What of the first vector is not in the second, and where it is.
fn list_diff(args: &Args, dtype: DType) -> Result<Vec<Value>> {
    let (x, y) = (args.ints(0)?, args.ints(1)?);
    let left = x.iter().enumerate().filter(|(_, value)| !y.contains(value));
    let (places, values): (Vec<i64>, Vec<i64>) = left.map(|(place, value)| (signed(place), *value)).unzip();
    let count = values.len();
    Ok(vec![
        ints(values, &[count], args.tensor(0)?.dtype)?.into(),
        ints(places, &[count], dtype)?.into(),
    ])
}

/// The distinct elements of a vector in the order of their first appearance, the place of each element among them, and how
/// often each appears.
fn unique(args: &Args, dtype: DType) -> Result<Vec<Value>> {
    let mut firsts: Vec<i64> = Vec::new();
    let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
    let (mut ids, mut counts) = (Vec::new(), Vec::new());
    let keys: Vec<Vec<u8>> = match args.value(0)? {
        Value::Strings(strings) => strings.elements.to_vec(),
        // Every integer is exact.
        Value::Tensor(x) if !is_float(x.dtype) => {
            let values = x.to_ints()?.into_iter();
            values.map(|value| value.to_le_bytes().to_vec()).collect()
        }
        _ => ordered(args.tensor(0)?)?
            .into_iter()
            .map(|value| (value + 0.0).to_le_bytes().to_vec())
            .collect(),
    };
    for (place, key) in keys.into_iter().enumerate() {
        let next = seen.len();
        let id = *seen.entry(key).or_insert(next);
        if id == next {
            firsts.push(signed(place));
            counts.push(0);
        }
        if let Some(count) = counts.get_mut(id) {
            *count += 1;
        }
        ids.push(signed(id));
    }
    let distinct = match args.value(0)? {
        Value::Strings(strings) => {
            let found = firsts
                .iter()
                .filter_map(|place| strings.elements.get(usize::try_from(*place).ok()?).cloned());
            Value::Strings(Strings::new(found.collect(), &[firsts.len()])?)
        }
        value => {
            let x = args.tensor(0)?;
            let flat = reshape(value, &[-1])?;
            let Value::Tensor(flat) = flat else {
                return Err(Error::operand("expected a tensor"));
            };
            match firsts.is_empty() {
                true => x.clone().into(),
                false => x.with(super::turns::picked(&flat.tensor, 0, firsts)?).into(),
            }
        }
    };
    let (ids_len, counts_len) = (ids.len(), counts.len());
    Ok(vec![
        distinct,
        ints(ids, &[ids_len], dtype)?.into(),
        ints(counts, &[counts_len], dtype)?.into(),
    ])
}
