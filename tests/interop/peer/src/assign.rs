//! Assignment maps and warm starts, applied to variables in Candle.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tfckpt::Checkpoint;
use tfckpt::map::{AssignmentMap, NameMap, WarmStart};
use tfckpt_candle::Variables;

/// One model, and how it begins.
#[derive(Deserialize)]
struct Case {
    checkpoint: String,
    /// Shape and dtype of each variable, whose elements are all -1.
    model: BTreeMap<String, (Vec<usize>, String)>,
    #[serde(default)]
    pairs: Vec<(String, String)>,
    #[serde(default)]
    replace: Vec<(String, String)>,
    warm: Option<Warm>,
}

#[derive(Deserialize)]
struct Warm {
    /// A string, or a list of strings.
    vars: Value,
    #[serde(default)]
    prev: BTreeMap<String, String>,
}

/// Prints for each case of `spec` the values of all variables, or the error and whether nothing was changed.
pub(crate) fn assign(spec: &str) -> Result<()> {
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(spec)?)?;
    let outcomes = cases.iter().map(outcome).collect::<Result<Vec<Value>>>()?;
    println!("{}", serde_json::to_string(&outcomes)?);
    Ok(())
}

fn outcome(case: &Case) -> Result<Value> {
    let varmap = VarMap::new();
    for (name, (shape, dtype)) in &case.model {
        let dtype = match dtype.as_str() {
            "float32" => DType::F32,
            "float64" => DType::F64,
            "int64" => DType::I64,
            other => bail!("no dtype {other}"),
        };
        let var = Var::from_tensor(&Tensor::full(-1f32, &shape[..], &Device::Cpu)?.to_dtype(dtype)?)?;
        let mut vars = varmap.data().lock().unwrap_or_else(PoisonError::into_inner);
        vars.insert(name.clone(), var);
    }
    let before = values(&varmap)?;
    let variables = Variables::new(&varmap).names(NameMap::identity());
    let checkpoint = Checkpoint::open(&case.checkpoint)?;
    let done = match &case.warm {
        Some(warm) => variables.init_from_checkpoint(&checkpoint, &warm_start(warm)?),
        None => {
            let map: AssignmentMap = case.pairs.iter().cloned().collect();
            let replace = case.replace.iter();
            let map = replace.fold(map, |map, (pattern, replacement)| map.replace(pattern, replacement));
            variables.init_from_checkpoint(&checkpoint, &map)
        }
    };
    Ok(match done {
        Ok(_) => json!({ "values": values(&varmap)? }),
        Err(error) => json!({ "error": error.to_string(), "unchanged": values(&varmap)? == before }),
    })
}

fn warm_start(warm: &Warm) -> Result<WarmStart> {
    let chosen = match &warm.vars {
        Value::String(pattern) => WarmStart::trained(pattern),
        Value::Array(patterns) => {
            let text = |pattern: &Value| pattern.as_str().map(str::to_owned).context("a pattern is a string");
            WarmStart::all(patterns.iter().map(text).collect::<Result<Vec<_>>>()?)
        }
        other => bail!("no patterns: {other}"),
    };
    let prev = warm.prev.iter();
    Ok(prev.fold(chosen, |chosen, (variable, tensor)| chosen.prev_name(variable, tensor)))
}

/// The elements of each variable; of all these dtypes float64 holds the very values.
fn values(varmap: &VarMap) -> Result<BTreeMap<String, Vec<f64>>> {
    let vars = varmap.data().lock().unwrap_or_else(PoisonError::into_inner);
    vars.iter()
        .map(|(name, var)| Ok((name.clone(), var.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)))
        .collect()
}
