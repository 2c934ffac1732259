//! The state of an optimizer as slot variables, and back.
//!
//! Burn shows the state of an optimizer only as a record, whose tensors are called `PARAM_ID.FIELD`. The moments of
//! the Adam family become TensorFlow's own slots; whatever other optimizers have is kept under `VARIABLE/optimizer/`.

use std::collections::BTreeMap;

use burn::optim::ModuleOptimizer;
use burn::store::burn_pack::Scalar;
use burn::tensor::{Bytes, TensorData};
use tfckpt::map::{Layout, NameMap, Plan, Target};
use tfckpt::{Checkpoint, DType, GLOBAL_STEP, Variable};

use crate::carrier::{self, RANK, State, States};
use crate::dtype::{burn_dtype, stored, to_stored_bytes};
use crate::error::{Error, Result};
use crate::recurrent::Slots;
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

/// The state of an optimizer as variables.
pub(crate) fn variables(
    states: States,
    schema: &Schema,
    names: &NameMap,
    optimizer: &OptimizerNames,
) -> Result<Vec<Variable<'static>>> {
    let mut variables: Vec<Variable<'static>> = Vec::new();
    let mut times = BTreeMap::new();
    let mut slots = Slots::default();
    for (id, State { tensors, scalars }) in states {
        let Some(parameter) = schema.by_id(id) else {
            continue;
        };
        let variable = parameter.name(names);
        for (field, scalar) in scalars {
            match (field.as_str(), scalar) {
                // Follows from the parameter itself.
                (RANK, _) => {}
                (TIME, Scalar::UInt(time)) => drop(times.insert(variable.clone(), time)),
                _ => {
                    let name = format!("{variable}/optimizer/{field}");
                    // Parameters that become one variable count alike.
                    if variables.iter().all(|other| other.key() != name.as_bytes()) {
                        variables.push(scalars::variable(name, scalar));
                    }
                }
            }
        }
        for (field, tensor) in tensors {
            let name = |variable: &str| vec![slot_name(variable, &field, optimizer)];
            if let Some(tensor) = slots.take(parameter, names, &name, tensor)? {
                variables.push(slot(slot_name(&variable, &field, optimizer), tensor, parameter, names)?);
            }
        }
    }
    variables.extend(slots.finish()?);
    if let Some(&iterations) = times.values().max() {
        variables.extend(counters(iterations, optimizer));
        let differing = times.iter().filter(|(_, time)| **time != iterations);
        variables.extend(differing.map(|(variable, &time)| {
            scalars::variable(format!("{variable}/{}/time", optimizer.name), Scalar::UInt(time))
        }));
    }
    Ok(variables)
}

/// A tensor of a state. It is in memory, so that all cores write it.
fn slot(name: String, tensor: TensorData, parameter: &Parameter, names: &NameMap) -> Result<Variable<'static>> {
    let (shape, dtype) = (tensor.shape().to_vec(), tensor.dtype());
    let layout = slot_layout(parameter, &shape, names);
    let unsupported = || Error::UnsupportedDtype {
        path: name.clone(),
        dtype: format!("{dtype:?}"),
    };
    let dtype = stored(dtype).ok_or_else(unsupported)?;
    let (stored_shape, transform) = layout
        .stored_shape(&shape)
        .zip(layout.to_stored(&shape))
        .ok_or_else(unsupported)?;
    let bytes = to_stored_bytes(tensor);
    let variable = Variable::lent(name, dtype, stored_shape, move |sink| sink(&bytes));
    Ok(variable.laid_out(transform).non_trainable())
}

/// An optimizer with the state that the checkpoint has for it; as it was if there is none.
pub(crate) fn load(
    optimizer: ModuleOptimizer,
    checkpoint: &Checkpoint,
    schema: &Schema,
    names: &NameMap,
    how: &OptimizerNames,
) -> Result<ModuleOptimizer> {
    let mut wanted = Wanted::default();
    for parameter in &schema.parameters {
        let id = parameter.id.val();
        if wanted.paths.contains_key(&id) {
            continue;
        }
        let variable = parameter.name(names);
        let slots: Vec<bool> = MOMENTS
            .iter()
            .map(|(field, _)| checkpoint.contains(slot_name(&variable, field, how)))
            .collect();
        match slots.as_slice() {
            [false, false, _] => {}
            [true, true, maximum] => {
                for (field, _) in MOMENTS.iter().take(if *maximum { 3 } else { 2 }) {
                    wanted.push(parameter, field, &|variable| slot_name(variable, field, how), names)?;
                }
                let time = time(checkpoint, &variable, &parameter.path, how)?;
                wanted.push_scalar(parameter, TIME, Scalar::UInt(time));
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
                Some(scalar) => wanted.push_scalar(parameter, field, scalar),
                None => wanted.push_stored(parameter, field, info, names)?,
            }
        }
    }
    if wanted.paths.is_empty() {
        return Ok(optimizer);
    }
    let plan = Plan::new(checkpoint, &wanted.targets)?;
    // Burn leaves out what it cannot rebuild, without a word. A record of single elements shows what that is.
    let samples = wanted.states(plan.filled().filter_map(|(target, dtype)| {
        let dtype = burn_dtype(dtype)?;
        let one = Bytes::from_bytes_vec(vec![0; dtype.size()]);
        let rank = wanted.targets.get(target)?.shape.len();
        Some((target, TensorData::from_bytes(one, vec![1; rank], dtype)))
    }));
    let count = samples.values().map(|state| state.tensors.len()).sum::<usize>();
    let sample = optimizer.clone().load_record(carrier::record(samples, &wanted.paths)?);
    let kept = sample.to_record().len();
    if kept != count {
        return Err(Error::IncompleteOptimizer {
            path: "the model".to_owned(),
            reason: format!("Burn took {kept} of {count} tensors; the checkpoint is that of another optimizer"),
        });
    }
    let tensors = plan.carry_out(checkpoint, |filling| {
        let target = wanted.targets.get(filling.target());
        let shape_and_dtype = target
            .map(|target| target.shape.clone())
            .zip(burn_dtype(filling.dtype()));
        let tensor = match shape_and_dtype {
            Some((shape, dtype)) => Some(TensorData::from_bytes(module::read(filling)?, shape, dtype)),
            None => None,
        };
        Ok::<_, Error>((filling.target(), tensor))
    })?;
    let tensors = tensors
        .into_iter()
        .filter_map(|(target, tensor)| Some((target, tensor?)));
    let record = carrier::record(wanted.states(tensors), &wanted.paths)?;
    Ok(optimizer.load_record(record))
}

/// Slots to be read, and the fields of a state that they fill.
#[derive(Default)]
struct Wanted {
    targets: Vec<Target>,
    /// Of each target: whose it is, and which field.
    fields: Vec<(u64, String)>,
    scalars: BTreeMap<u64, Vec<(String, Scalar)>>,
    /// Of every parameter that there is something for.
    paths: BTreeMap<u64, String>,
}

impl Wanted {
    /// A slot of the variable that the parameter becomes, or becomes a part of.
    fn push(
        &mut self,
        parameter: &Parameter,
        field: &str,
        slot: &dyn Fn(&str) -> String,
        names: &NameMap,
    ) -> Result<()> {
        let dtype = stored(parameter.dtype).unwrap_or(DType::Float32);
        self.push_target(
            parameter,
            field,
            Target {
                names: vec![slot(&parameter.name(names))],
                dtypes: vec![dtype],
                shape: parameter.shape.clone(),
                layout: parameter.layout(names),
                recipes: parameter.slot_recipes(names, &|variable| vec![slot(variable)])?,
                ..Target::default()
            },
        );
        Ok(())
    }

    /// A tensor of a shape of its own.
    fn push_stored(
        &mut self,
        parameter: &Parameter,
        field: &str,
        info: &tfckpt::VariableInfo,
        names: &NameMap,
    ) -> Result<()> {
        let recipes = parameter.slot_recipes(names, &|variable| vec![format!("{variable}/optimizer/{field}")])?;
        let layout = parameter.layout(names);
        let same = layout.stored_shape(&parameter.shape).as_ref() == Some(info.shape()) || !recipes.is_empty();
        let (shape, layout) = if same {
            (parameter.shape.clone(), layout)
        } else {
            (info.shape().dims().to_vec(), Layout::Same)
        };
        self.push_target(
            parameter,
            field,
            Target {
                names: vec![info.name().into_owned()],
                dtypes: vec![info.dtype()],
                shape,
                layout,
                recipes,
                ..Target::default()
            },
        );
        Ok(())
    }

    fn push_target(&mut self, parameter: &Parameter, field: &str, target: Target) {
        self.push_parameter(parameter);
        self.fields.push((parameter.id.val(), field.to_owned()));
        let path = format!("{} ({field})", parameter.path);
        self.targets.push(Target { path, ..target });
    }

    fn push_scalar(&mut self, parameter: &Parameter, field: &str, scalar: Scalar) {
        self.push_parameter(parameter);
        let scalars = self.scalars.entry(parameter.id.val()).or_default();
        scalars.push((field.to_owned(), scalar));
    }

    /// There is something for this one, and with it goes its number of dimensions.
    fn push_parameter(&mut self, parameter: &Parameter) {
        let id = parameter.id.val();
        if self.paths.insert(id, parameter.path.clone()).is_none() {
            self.push_scalar(parameter, RANK, Scalar::UInt(parameter.shape.len() as u64));
        }
    }

    /// All states, with these tensors for the targets.
    fn states(&self, tensors: impl Iterator<Item = (usize, TensorData)>) -> States {
        let mut states = States::new();
        for (&id, scalars) in &self.scalars {
            states.entry(id).or_default().scalars.clone_from(scalars);
        }
        for (target, tensor) in tensors {
            if let Some((id, field)) = self.fields.get(target) {
                states.entry(*id).or_default().tensors.push((field.clone(), tensor));
            }
        }
        states
    }
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
