//! Variables, and branches of TensorFlow 1.

use tfckpt::DType;

use super::arithmetic::ints;
use super::cast::cast;
use super::shape::signed;
use super::table::{Args, Ops, many, one};
use crate::context::Context;
use crate::dtype::{is_float, is_int};
use crate::error::{Error, Result};
use crate::value::{TfTensor, Value};

pub(super) fn add(ops: &mut Ops) {
    ops.reads("ReadVariableOp", |_| {
        many(|args, context| Ok(vec![context.variables.read(args.variable(0)?, context)?]))
    });
    for name in ["VarIsInitializedOp", "IsVariableInitialized"] {
        ops.reads(name, |_| {
            one(|args, context| TfTensor::truths(vec![context.variables.get(args.variable(0)?).is_some().into()], &[]))
        });
    }
    ops.reads("VariableShape", |attrs| {
        let dtype = attrs.dtype("out_type", DType::Int32)?;
        one(move |args, context| {
            let variable = args.variable(0)?;
            let (var, _) = context
                .variables
                .get(variable)
                .ok_or_else(|| context.variable_error(variable))?;
            ints(
                var.dims().iter().map(|dim| signed(*dim)).collect(),
                &[var.dims().len()],
                dtype,
            )
        })
    });
    ops.reads("DisableCopyOnRead", |_| many(|_, _| Ok(Vec::new())));
    for (name, change) in CHANGES {
        ops.writes(name, move |_| {
            many(move |args, context| {
                let variable = args.variable(0)?;
                let value = value(args, 1, context)?;
                let changed = match change {
                    Change::Set => value,
                    Change::Add => sum(variable, &value, 1.0, context)?,
                    Change::Sub => sum(variable, &value, -1.0, context)?,
                };
                context.variables.assign(variable, &changed, context.device)?;
                Ok(vec![Value::Variable(variable)])
            })
        });
    }
    for (name, factor) in [
        ("ResourceScatterAdd", 1.0),
        ("ScatterAdd", 1.0),
        ("ResourceScatterSub", -1.0),
        ("ScatterSub", -1.0),
    ] {
        ops.writes(name, move |_| {
            many(move |args, context| scatter(args, Some(factor), context))
        });
    }
    for name in ["ResourceScatterUpdate", "ScatterUpdate"] {
        ops.writes(name, |_| many(|args, context| scatter(args, None, context)));
    }
    for name in ["Switch", "RefSwitch"] {
        ops.reads(name, |_| {
            many(|args, _| {
                let goes_right = truth(args.value(1)?)?;
                let value = args.take(0)?;
                Ok(match goes_right {
                    true => vec![Value::Dead, value],
                    false => vec![value, Value::Dead],
                })
            })
        });
    }
    for name in ["Merge", "RefMerge"] {
        ops.reads(name, |_| {
            many(|args, _| {
                let place = args.values().iter().position(|value| !matches!(value, Value::Dead));
                let place = place.ok_or_else(|| Error::graph("all branches are dead"))?;
                let index = ints(vec![signed(place)], &[], DType::Int32)?;
                Ok(vec![args.take(place)?, index.into()])
            })
        });
    }
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Set,
    Add,
    Sub,
}

const CHANGES: [(&str, Change); 6] = [
    ("Assign", Change::Set),
    ("AssignVariableOp", Change::Set),
    ("AssignAdd", Change::Add),
    ("AssignAddVariableOp", Change::Add),
    ("AssignSub", Change::Sub),
    ("AssignSubVariableOp", Change::Sub),
];

/// Whether a condition holds: a truth, or a number that is not 0, or a tensor of any shape that is not empty.
pub(crate) fn truth(value: &Value) -> Result<bool> {
    match value {
        Value::Tensor(tensor) if tensor.tensor.elem_count() != 1 => match tensor.dims() {
            [] => Ok(false),
            _ => Ok(tensor.tensor.elem_count() > 0),
        },
        Value::Tensor(tensor) if is_int(tensor.dtype) || tensor.dtype == DType::Bool => {
            Ok(tensor.to_ints()?.iter().any(|value| *value != 0))
        }
        Value::Tensor(tensor) if is_float(tensor.dtype) => {
            let as_truth = cast(tensor, DType::Bool, &candle_core::Device::Cpu)?;
            Ok(as_truth.to_ints()?.iter().any(|value| *value != 0))
        }
        Value::Strings(strings) => Ok(strings.elements.iter().any(|text| !text.is_empty())),
        other => Err(Error::operand(format!("a condition is {}", other.name()))),
    }
}

/// A tensor, read if it is a variable.
pub(crate) fn value(args: &Args, place: usize, context: &Context<'_>) -> Result<TfTensor> {
    match args.value(place)? {
        Value::Variable(variable) => match context.variables.read(*variable, context)? {
            Value::Tensor(tensor) => Ok(tensor),
            other => Err(Error::operand(format!("operand {place} is {}", other.name()))),
        },
        _ => Ok(args.tensor(place)?.clone()),
    }
}

/// The value of a variable.
pub(crate) fn held(variable: usize, context: &Context<'_>) -> Result<TfTensor> {
    let (var, dtype) = context
        .variables
        .get(variable)
        .ok_or_else(|| context.variable_error(variable))?;
    Ok(TfTensor {
        tensor: var.as_detached_tensor(),
        dtype,
    })
}

fn sum(variable: usize, value: &TfTensor, factor: f64, context: &Context<'_>) -> Result<TfTensor> {
    let held = held(variable, context)?;
    if held.dims() != value.dims() || held.dtype != value.dtype {
        let what = format!(
            "{} {:?} is added to {} {:?}",
            value.dtype,
            value.dims(),
            held.dtype,
            held.dims()
        );
        return Err(Error::operand(what));
    }
    match is_float(held.dtype) {
        true if factor > 0.0 => Ok(held.with((&held.tensor + value.tensor.detach())?)),
        true => Ok(held.with((&held.tensor - value.tensor.detach())?)),
        false => {
            let pairs = held.to_ints()?.into_iter().zip(value.to_ints()?);
            let values = pairs.map(|(a, b)| {
                if factor > 0.0 {
                    a.wrapping_add(b)
                } else {
                    a.wrapping_sub(b)
                }
            });
            ints(values.collect(), held.dims(), held.dtype)
        }
    }
}

/// Adds rows to a variable, or sets them.
fn scatter(args: &Args, factor: Option<f64>, context: &Context<'_>) -> Result<Vec<Value>> {
    let variable = args.variable(0)?;
    let held = held(variable, context)?;
    let (places, updates) = (value(args, 1, context)?, value(args, 2, context)?);
    let rows = held
        .dims()
        .first()
        .copied()
        .ok_or_else(|| Error::operand("rows of a scalar"))?;
    let places = places.to_ints()?;
    if let Some(place) = places.iter().find(|place| !(0..signed(rows)).contains(*place)) {
        return Err(Error::operand(format!("index {place} is not in [0, {rows})")));
    }
    let width = held.tensor.elem_count().checked_div(rows).unwrap_or(0);
    if updates.tensor.elem_count() != places.len() * width {
        return Err(Error::operand(format!(
            "updates of {:?} for {} rows of {:?}",
            updates.dims(),
            places.len(),
            held.dims()
        )));
    }
    let count = places.len();
    let table = held.tensor.reshape((rows, width))?;
    let source = updates.tensor.detach().contiguous()?.reshape((count, width))?;
    let device = table.device();
    let changed = match factor {
        Some(factor) => {
            let at = candle_core::Tensor::from_vec(places, count, &candle_core::Device::Cpu)?.to_device(device)?;
            let source = if factor > 0.0 {
                source
            } else {
                source.affine(factor, 0.0)?
            };
            table.index_add(&at, &source, 0)?
        }
        None => {
            let mut from: Vec<i64> = (0..signed(rows)).collect();
            for (update, place) in places.iter().enumerate() {
                if let Some(slot) = usize::try_from(*place).ok().and_then(|place| from.get_mut(place)) {
                    *slot = signed(rows + update);
                }
            }
            let from = candle_core::Tensor::from_vec(from, rows, &candle_core::Device::Cpu)?.to_device(device)?;
            candle_core::Tensor::cat(&[&table, &source], 0)?.index_select(&from, 0)?
        }
    };
    let changed = held.with(changed.reshape(held.dims())?);
    context.variables.assign(variable, &changed, context.device)?;
    Ok(vec![Value::Variable(variable)])
}
