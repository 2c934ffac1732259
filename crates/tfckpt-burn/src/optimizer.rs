//! The state of an optimizer as slot variables, and back.
//!
//! Burn shows the state of an optimizer only as a record, whose tensors are called `PARAM_ID.FIELD`. The moments of
//! the Adam family become TensorFlow's own slots; whatever other optimizers have is kept under `VARIABLE/optimizer/`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::burn_pack::{self, Reader, Scalar, Tensor, Writer};
use burn::tensor::{Bytes, TensorData};
use tfckpt::io::zeroed;
use tfckpt::map::{Layout, NameMap, Plan, Target};
use tfckpt::{Checkpoint, DType, GLOBAL_STEP, Variable};

use crate::dtype::{burn_dtype, stored, to_stored_bytes};
use crate::error::{Error, Result};
use crate::schema::{Parameter, Schema};
use crate::{module, scalars};

/// What the optimizer is called in the checkpoint, and the decay rates that TensorFlow stores with it.
#[derive(Debug, Clone)]
pub(crate) struct OptimizerNames {
    pub(crate) name: String,
    pub(crate) betas: (f32, f32),
}

/// Fields of the Adam family in Burn's records, and the suffixes of TensorFlow's slots for them.
const MOMENTS: [(&str, &str); 3] = [
    ("momentum.moment_1", ""),
    ("momentum.moment_2", "_1"),
    ("momentum.max_moment_2", "_2"),
];
const TIME: &str = "momentum.time";
/// Of each parameter in a record; follows from the parameter itself.
const RANK: &str = "__rank";

/// The state of an optimizer as variables.
pub(crate) fn variables(
    record: OptimizerRecord,
    schema: &Schema,
    names: &NameMap,
    optimizer: &OptimizerNames,
) -> Result<Vec<Variable<'static>>> {
    let reader = Reader::from_bytes(record.into_bytes()?)?;
    let mut variables = Vec::new();
    let mut times = BTreeMap::new();
    for (key, &scalar) in reader.scalars() {
        let Some((parameter, field)) = split(key, schema) else {
            continue;
        };
        let variable = parameter.name(names);
        match (field, scalar) {
            (RANK, _) => {}
            (TIME, Scalar::UInt(time)) => drop(times.insert(variable, time)),
            _ => variables.push(scalars::variable(format!("{variable}/optimizer/{field}"), scalar)),
        }
    }
    if let Some(&iterations) = times.values().max() {
        variables.extend(counters(iterations, optimizer));
        let differing = times.iter().filter(|(_, time)| **time != iterations);
        variables.extend(differing.map(|(variable, &time)| {
            scalars::variable(format!("{variable}/{}/time", optimizer.name), Scalar::UInt(time))
        }));
    }
    for tensor in reader.into_tensors()? {
        let Some((parameter, field)) = split(&tensor.name, schema).map(|(p, field)| (p.clone(), field.to_owned()))
        else {
            continue;
        };
        let name = slot_name(&parameter.name(names), &field, optimizer);
        let shape = tensor.shape.to_vec();
        let layout = slot_layout(&parameter, &shape, names);
        let unsupported = || Error::UnsupportedDtype {
            path: name.clone(),
            dtype: format!("{:?}", tensor.dtype),
        };
        let dtype = stored(tensor.dtype).ok_or_else(unsupported)?;
        let (stored_shape, transform) = layout
            .stored_shape(&shape)
            .zip(layout.to_stored(&shape))
            .ok_or_else(unsupported)?;
        let slot = Variable::deferred(name, dtype, stored_shape, move |sink| {
            let (_, burn_dtype, shape, _, bytes) = tensor.into_parts()?;
            let bytes = to_stored_bytes(TensorData::from_bytes(bytes, shape, burn_dtype));
            transform.stream(dtype.size().unwrap_or(1), &bytes, sink)
        });
        variables.push(slot.non_trainable());
    }
    Ok(variables)
}

/// An optimizer with the state that the checkpoint has for it; as it was if there is none.
pub(crate) fn load(
    optimizer: ModuleOptimizer,
    checkpoint: &Arc<Checkpoint>,
    schema: &Schema,
    names: &NameMap,
    how: &OptimizerNames,
) -> Result<ModuleOptimizer> {
    let mut wanted = Wanted::default();
    let mut writer_scalars = BTreeMap::new();
    let mut paths = BTreeMap::new();
    for parameter in &schema.parameters {
        let id = parameter.id.val();
        let variable = parameter.name(names);
        if paths.contains_key(&id) {
            continue;
        }
        let slots: Vec<bool> = MOMENTS
            .iter()
            .map(|(field, _)| checkpoint.contains(slot_name(&variable, field, how)))
            .collect();
        match slots.as_slice() {
            [false, false, _] => {}
            [true, true, maximum] => {
                for (field, _) in MOMENTS.iter().take(if *maximum { 3 } else { 2 }) {
                    wanted.push(parameter, field, slot_name(&variable, field, how), names);
                }
                let time = time(checkpoint, &variable, &parameter.path, how)?;
                writer_scalars.insert(format!("{id}.{TIME}"), Scalar::UInt(time));
            }
            _ => {
                let reason = format!("it has one of `{variable}/{0}` and `{variable}/{0}_1`", how.name);
                return Err(Error::IncompleteOptimizer {
                    path: parameter.path.clone(),
                    reason,
                });
            }
        }
        let prefix = format!("{variable}/optimizer/");
        for info in checkpoint.variables() {
            let name = info.name();
            let Some(field) = name.strip_prefix(&prefix) else {
                continue;
            };
            match scalars::read(checkpoint, info)? {
                Some(scalar) => drop(writer_scalars.insert(format!("{id}.{field}"), scalar)),
                None => wanted.push_stored(parameter, field, info, names),
            }
        }
        let has_state =
            wanted.parameter == Some(id) || writer_scalars.keys().any(|key| key.starts_with(&format!("{id}.")));
        if has_state {
            writer_scalars.insert(format!("{id}.{RANK}"), Scalar::UInt(parameter.shape.len() as u64));
            paths.insert(id, parameter.path.clone());
        }
    }
    if paths.is_empty() {
        return Ok(optimizer);
    }
    let write = |tensors| {
        let writer = Writer::new(tensors);
        let scalars = writer_scalars.iter();
        let writer = scalars.fold(writer, |writer, (key, &scalar)| writer.with_scalar(key, scalar));
        paths
            .iter()
            .fold(writer, |writer, (id, path)| writer.with_metadata(&id.to_string(), path))
    };
    // Burn leaves out what it cannot rebuild, without a word. A record of single elements shows what that is.
    let failure = Failure::default();
    let (samples, tensors) = wanted.tensors(checkpoint, &failure)?;
    let count = samples.len();
    let sample = optimizer.clone().load_record(into_record(write(samples))?);
    let kept = sample.to_record().len();
    if kept != count {
        return Err(Error::IncompleteOptimizer {
            path: "the model".to_owned(),
            reason: format!("Burn took {kept} of {count} tensors; the checkpoint is that of another optimizer"),
        });
    }
    let record = into_record(write(tensors)).map_err(|error| {
        let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(error, Error::from)
    });
    Ok(optimizer.load_record(record?))
}

/// Why a tensor could not be read.
type Failure = Arc<Mutex<Option<tfckpt::Error>>>;

/// A record in memory. (`Writer::into_bytes` makes a second copy of it.)
fn into_record(writer: Writer) -> Result<OptimizerRecord> {
    let size = writer.size()?;
    // Aligned for any element, and of exactly the right length.
    let bytes = match size % size_of::<u64>() {
        0 => {
            let mut words = zeroed::<u64>(size / size_of::<u64>());
            writer.write_into(bytemuck::cast_slice_mut(&mut words))?;
            Bytes::from_elems(words)
        }
        _ => writer.into_bytes()?,
    };
    Ok(OptimizerRecord::from_bytes(bytes)?)
}

/// Slots to be read, and the record fields that they fill.
#[derive(Default)]
struct Wanted {
    targets: Vec<Target>,
    keys: Vec<(String, u64)>,
    parameter: Option<u64>,
}

impl Wanted {
    fn push(&mut self, parameter: &Parameter, field: &str, name: String, names: &NameMap) {
        let dtype = stored(parameter.dtype).unwrap_or(DType::Float32);
        self.push_target(
            parameter,
            field,
            name,
            dtype,
            parameter.shape.clone(),
            parameter.layout(names),
        );
    }

    /// A tensor of a shape of its own.
    fn push_stored(&mut self, parameter: &Parameter, field: &str, info: &tfckpt::VariableInfo, names: &NameMap) {
        let layout = parameter.layout(names);
        let same = layout.stored_shape(&parameter.shape).as_ref() == Some(info.shape());
        let (shape, layout) = if same {
            (parameter.shape.clone(), layout)
        } else {
            (info.shape().dims().to_vec(), Layout::Same)
        };
        self.push_target(parameter, field, info.name().into_owned(), info.dtype(), shape, layout);
    }

    fn push_target(
        &mut self,
        parameter: &Parameter,
        field: &str,
        name: String,
        dtype: DType,
        shape: Vec<usize>,
        layout: Layout,
    ) {
        let id = parameter.id.val();
        self.parameter = Some(id);
        self.keys.push((format!("{id}.{field}"), id));
        let path = format!("{} ({field})", parameter.path);
        self.targets.push(Target {
            path,
            names: vec![name],
            dtypes: vec![dtype],
            shape,
            layout,
        });
    }

    /// The tensors of a record, each read when its turn comes to be written; and the same with one element each.
    /// An error of reading is left in `failure`: Burn hands on no more than its text.
    fn tensors(self, checkpoint: &Arc<Checkpoint>, failure: &Failure) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let plan = Plan::new(checkpoint, &self.targets)?;
        let (mut samples, mut tensors) = (Vec::new(), Vec::new());
        for step in plan.steps() {
            let wanted = self.keys.get(step.target()).zip(self.targets.get(step.target()));
            let Some((((key, id), target), dtype)) = wanted.zip(burn_dtype(step.variable().dtype())) else {
                continue;
            };
            let size = checkpoint.checked_size(step.variable())?;
            let element_size = step.variable().dtype().size().unwrap_or(1);
            let one = Bytes::from_elems(vec![0u8; element_size]);
            samples.push(Tensor::new(
                key.clone(),
                dtype,
                vec![1; target.shape.len()],
                Some(*id),
                one,
            ));
            let (checkpoint, step, failure) = (checkpoint.clone(), step.clone(), failure.clone());
            let read = move || {
                let read = module::read_step(&checkpoint, &step);
                read.map_err(|error| {
                    let text = error.to_string();
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    burn_pack::Error::IoError(text)
                })
            };
            tensors.push(Tensor::deferred(
                key.clone(),
                dtype,
                target.shape.clone(),
                Some(*id),
                size,
                read,
            ));
        }
        Ok((samples, tensors))
    }
}

/// A record's key, taken apart: whose it is, and which field.
fn split<'s, 'k>(key: &'k str, schema: &'s Schema) -> Option<(&'s Parameter, &'k str)> {
    let (id, field) = key.split_once('.')?;
    Some((schema.by_id(id.parse().ok()?)?, field))
}

fn slot_name(variable: &str, field: &str, optimizer: &OptimizerNames) -> String {
    match MOMENTS.iter().find(|(moment, _)| *moment == field) {
        Some((_, suffix)) => format!("{variable}/{}{suffix}", optimizer.name),
        None => format!("{variable}/optimizer/{field}"),
    }
}

/// The moments of a kernel are laid out as the kernel is.
fn slot_layout(parameter: &Parameter, shape: &[usize], names: &NameMap) -> Layout {
    if parameter.shape == shape {
        parameter.layout(names)
    } else {
        Layout::Same
    }
}

fn iterations_name(optimizer: &OptimizerNames) -> String {
    format!("{}/iterations", optimizer.name)
}

/// The counters of the Adam family: Burn's own, and the powers that TensorFlow counts by.
fn counters(iterations: u64, optimizer: &OptimizerNames) -> Vec<Variable<'static>> {
    // After t steps TensorFlow has multiplied t times, in float32, starting from beta.
    let power = |beta: f32| {
        let mut power = beta;
        for _ in 0..iterations {
            power *= beta;
            if power == 0.0 {
                break;
            }
        }
        power
    };
    vec![
        // Counters are int64 in TensorFlow.
        Variable::scalar(
            iterations_name(optimizer),
            i64::try_from(iterations).unwrap_or(i64::MAX),
        ),
        Variable::scalar("beta1_power", power(optimizer.betas.0)).non_trainable(),
        Variable::scalar("beta2_power", power(optimizer.betas.1)).non_trainable(),
    ]
}

/// How many steps a parameter's moments have seen: Burn's own count, or else that of TensorFlow.
fn time(checkpoint: &Checkpoint, variable: &str, path: &str, optimizer: &OptimizerNames) -> Result<u64> {
    for name in [
        format!("{variable}/{}/time", optimizer.name),
        iterations_name(optimizer),
        GLOBAL_STEP.to_owned(),
    ] {
        if checkpoint.contains(&name) {
            let info = checkpoint.variable(&name)?;
            match scalars::read(checkpoint, info)? {
                Some(Scalar::UInt(time)) => return Ok(time),
                Some(Scalar::Int(time)) if time >= 0 => return Ok(time.unsigned_abs()),
                _ => {}
            }
        }
    }
    if checkpoint.contains("beta2_power") {
        let powers = checkpoint.read::<f32>("beta2_power")?;
        let steps = powers
            .first()
            .map(|power| f64::from(*power).ln() / f64::from(optimizer.betas.1).ln() - 1.0);
        if let Some(steps) = steps.filter(|steps| steps.is_finite() && *steps >= 0.0) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a finite number of steps, not negative, of the size that float32 powers of beta can tell"
            )]
            return Ok(steps.round() as u64);
        }
    }
    let reason = format!(
        "neither `{}` nor `{GLOBAL_STEP}` nor `beta2_power` tells the number of steps",
        iterations_name(optimizer)
    );
    Err(Error::IncompleteOptimizer {
        path: path.to_owned(),
        reason,
    })
}
