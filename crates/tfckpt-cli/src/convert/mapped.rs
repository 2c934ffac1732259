//! By a mapping: parameters of a model into variables of TensorFlow, and variables into parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use tfckpt::map::{Conversion, DenseOrder, Ingredient, Layer, Layout, Mapping, NameMap, Plan};
use tfckpt::objects::OBJECT_GRAPH_KEY;
use tfckpt::{Checkpoint, DType, Shape, Variable};

use super::source::Source;
use super::target::Target;
use super::to_safetensors::{self, Tensor, refuse_faults};
use super::{Args, Unsupported, dtypes, is_safetensors, to_tensorflow};
use crate::failure::{Exit, Failure};
use crate::model::{Model, Shapes, shapes};
use crate::output;
use crate::text::printable;

/// Which way a mapping goes.
pub(super) fn run(args: &Args, map: &std::path::Path) -> Result<(), Failure> {
    let names = NameMap::from(Mapping::open(map)?);
    match (
        &args.model,
        is_safetensors(&args.source),
        is_safetensors(&args.destination),
    ) {
        (Some(_), true, _) => Err(usage(
            "a .safetensors file has the parameters itself: leave out `--model`",
        )),
        (Some(model), false, _) => to_parameters(args, &names, shapes(model)?),
        (None, true, true) => Err(usage(
            "the variables of a mapping are those of a TensorFlow checkpoint: name a prefix, such as `out/model.ckpt`",
        )),
        (None, false, true) => Err(usage(
            "a mapping does not tell which parameters the model has: give them with `--model`, as a .safetensors file or as \
             JSON of names and shapes",
        )),
        (None, ..) => to_variables(args, &names),
    }
}

fn usage(text: &str) -> Failure {
    Failure::new(Exit::Usage, text)
}

/// A tensor of the source, which is a parameter of the mapping.
struct Parameter {
    path: String,
    /// In a checkpoint.
    key: Vec<u8>,
    dtype: DType,
    dims: Vec<usize>,
}

/// What parameters are read from.
enum Origin {
    /// The file has one place at which it is read.
    Safetensors(Mutex<Source>),
    Checkpoint(Checkpoint),
}

impl Origin {
    fn open(args: &Args) -> Result<Self, Failure> {
        if is_safetensors(&args.source) {
            return Ok(Origin::Safetensors(Mutex::new(Source::open(&args.source)?)));
        }
        let checkpoint = Checkpoint::open(&args.source)?;
        refuse_faults(&checkpoint)?;
        Ok(Origin::Checkpoint(checkpoint))
    }

    /// All tensors, and those that a checkpoint cannot have. Objects are none: by their new names nobody would find what they
    /// refer to.
    fn parameters(&self) -> (Vec<Parameter>, Vec<Unsupported>) {
        let (mut parameters, mut unsupported) = (Vec::new(), Vec::new());
        match self {
            Origin::Checkpoint(checkpoint) => {
                let plain = checkpoint
                    .variables()
                    .filter(|info| info.key() != OBJECT_GRAPH_KEY.as_bytes());
                parameters.extend(plain.map(|info| Parameter {
                    path: checkpoint.display_name(info),
                    key: info.key().to_vec(),
                    dtype: info.dtype(),
                    dims: info.shape().dims().to_vec(),
                }));
            }
            Origin::Safetensors(source) => {
                let source = source.lock().unwrap_or_else(PoisonError::into_inner);
                for (path, info) in source.tensors() {
                    match to_tensorflow::counterpart(&path, info) {
                        Ok(dtype) => parameters.push(Parameter {
                            path,
                            key: Vec::new(),
                            dtype,
                            dims: info.shape.clone(),
                        }),
                        Err(reason) => unsupported.push(Unsupported { name: path, reason }),
                    }
                }
            }
        }
        (parameters, unsupported)
    }

    fn bytes(&self, parameter: &Parameter) -> Result<Vec<u8>, tfckpt::BoxError> {
        match self {
            Origin::Checkpoint(checkpoint) => Ok(checkpoint.read_bytes(&parameter.key)?),
            Origin::Safetensors(source) => {
                let source = source.lock().unwrap_or_else(PoisonError::into_inner);
                let info = source.tensor(&parameter.path).ok_or("it is not in the file")?;
                let mut bytes = Vec::new();
                source.stream(info, &mut |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                })?;
                Ok(bytes)
            }
        }
    }
}

/// Parameters into the variables that a mapping makes of them. Of a checkpoint all variables are taken for parameters; those
/// that no rule is for keep their names.
fn to_variables(args: &Args, names: &NameMap) -> Result<(), Failure> {
    let origin = Origin::open(args)?;
    let (parameters, unsupported) = origin.parameters();
    args.settle("a TensorFlow checkpoint", &unsupported)?;
    let shapes: Shapes = parameters
        .iter()
        .map(|parameter| (parameter.path.clone(), parameter.dims.clone()))
        .collect();
    let model = Model::new(names, shapes)?;
    let target = Target::prefix(&args.destination, args.force)?;
    let by_path: BTreeMap<&str, &Parameter> = parameters.iter().map(|one| (one.path.as_str(), one)).collect();
    let find = |path: &str| {
        let parameter = by_path.get(path)?;
        let (origin, parameter): (&Origin, &Parameter) = (&origin, parameter);
        let fetch = move |sink: &mut tfckpt::Sink<'_>| sink(&origin.bytes(parameter)?);
        let ingredient = Ingredient::new(parameter.dtype, parameter.dims.clone(), fetch);
        Some(match names.stored_dtype(&parameter.path) {
            Some(dtype) => ingredient.stored_as(dtype),
            None => ingredient,
        })
    };
    let mut variables: Vec<Variable<'_>> = Vec::new();
    let mut done: BTreeSet<*const tfckpt::map::Compound> = BTreeSet::new();
    let mut groups: BTreeSet<String> = BTreeSet::new();
    for parameter in parameters.iter().filter(|one| !names.skips(&one.path)) {
        let Some(compound) = model.compound(&parameter.path) else {
            variables.push(alone(names, parameter, &origin)?);
            continue;
        };
        // The parts of a variable have one compound, or equal ones.
        let first = compound
            .members
            .first()
            .map_or_else(|| parameter.path.clone(), |member| member.path.clone());
        if done.insert(Rc::as_ptr(compound)) && groups.insert(first) {
            variables.extend(compound.variables(&find)?);
        }
    }
    variables.sort_by(|a, b| a.key().cmp(b.key()));
    refuse_twice(&variables)?;
    let mut writer = args.writer(&target)?;
    for variable in variables {
        writer.add(variable)?;
    }
    let written = writer.finish()?;
    target.remove_old_shards(written.num_shards)?;
    args.done(written.variables, written.data_bytes);
    Ok(())
}

/// A parameter that is a variable by itself.
fn alone<'o>(names: &NameMap, parameter: &'o Parameter, origin: &'o Origin) -> Result<Variable<'o>, Failure> {
    let Parameter { path, dtype, dims, .. } = parameter;
    // Without a rule what is a variable already keeps its name, though a dot in it looks like that of a path.
    let is_kept = matches!(origin, Origin::Checkpoint(_)) && !names.is_named(path);
    let layout = match is_kept {
        true => Layout::Same,
        false => names.layout(path, Layer::Other, DenseOrder::OutIn),
    };
    let misfit = || {
        let text = format!("`{path}` of shape {dims:?} is no {layout:?}: declare its layer in the mapping");
        Failure::new(Exit::Usage, text)
    };
    let shape: Shape = layout.stored_shape(dims).ok_or_else(misfit)?;
    let transform = layout.to_stored(dims).ok_or_else(misfit)?;
    let name = match is_kept {
        true => names.scoped(path),
        false => names.names(path, Layer::Other).into_iter().next().ok_or_else(misfit)?,
    };
    let stored = names.stored_dtype(path).unwrap_or(*dtype);
    // Strings and the like are as they are.
    if dtype.size().is_none()
        && let Origin::Checkpoint(checkpoint) = origin
    {
        let bytes = checkpoint.read_bytes(&parameter.key)?;
        return Ok(Variable::from_bytes(name, *dtype, shape, bytes));
    }
    let impossible = || {
        let text = format!("`{path}` is {dtype} and cannot be stored as {stored}");
        Failure::new(Exit::Unsupported, text)
    };
    let conversion = Conversion::new(*dtype, stored).ok_or_else(impossible)?;
    let variable = Variable::deferred(name, *dtype, shape, move |sink| sink(&origin.bytes(parameter)?));
    Ok(variable.converted(conversion).laid_out(transform))
}

/// Two parameters that become one variable.
fn refuse_twice(variables: &[Variable<'_>]) -> Result<(), Failure> {
    let twice = variables.array_windows().find(|[a, b]| a.key() == b.key());
    match twice {
        None => Ok(()),
        Some([variable, _]) => Err(tfckpt::Error::DuplicateName {
            name: variable.name().into_owned(),
        }
        .into()),
    }
}

/// The variables of a checkpoint into the parameters of a model.
fn to_parameters(args: &Args, names: &NameMap, parameters: Shapes) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(&args.source)?;
    refuse_faults(&checkpoint)?;
    let model = Model::new(names, parameters)?;
    let targets = model.targets(&checkpoint)?;
    let mut plan = Plan::new(&checkpoint, &targets)?;
    plan.mark_used(|name| names.ignores(name));
    plan.check_values(&checkpoint)?;
    let unused = &plan.report().unused;
    if !unused.is_empty() {
        let text = format!(
            "left out, because no parameter is made of them: `{}`; name them in `ignore` of the mapping if that is right",
            unused.join("`, `")
        );
        output::note(&printable(&text));
    }
    let dtypes: BTreeMap<usize, DType> = plan.filled().collect();
    let mut made: Vec<(DType, &tfckpt::map::Target)> = targets
        .iter()
        .enumerate()
        .filter_map(|(number, target)| Some((*dtypes.get(&number)?, target)))
        .collect();
    if is_safetensors(&args.destination) {
        return to_tensors(args, &checkpoint, made);
    }
    made.sort_by(|a, b| a.1.path.cmp(&b.1.path));
    let target = Target::prefix(&args.destination, args.force)?;
    let mut writer = args.writer(&target)?;
    for (dtype, parameter) in made {
        let bytes = read(&checkpoint, parameter)?;
        writer.add(Variable::from_bytes(
            parameter.path.as_str(),
            dtype,
            parameter.shape.clone(),
            bytes,
        ))?;
    }
    let written = writer.finish()?;
    target.remove_old_shards(written.num_shards)?;
    args.done(written.variables, written.data_bytes);
    Ok(())
}

/// Parameters as a safetensors file.
fn to_tensors(
    args: &Args,
    checkpoint: &Checkpoint,
    parameters: Vec<(DType, &tfckpt::map::Target)>,
) -> Result<(), Failure> {
    let (mut tensors, mut unsupported) = (Vec::new(), Vec::new());
    for (dtype, parameter) in parameters {
        let count = parameter.shape.iter().product::<usize>() as u64;
        match dtypes::to_safetensors(dtype).zip(dtype.size()) {
            Some((as_tensor, size)) => tensors.push((
                Tensor {
                    name: parameter.path.clone(),
                    dtype: as_tensor,
                    dims: parameter.shape.clone(),
                    size: count * size as u64,
                },
                parameter,
            )),
            None => unsupported.push(Unsupported {
                name: parameter.path.clone(),
                reason: format!("there is no dtype {dtype}"),
            }),
        }
    }
    args.settle("safetensors", &unsupported)?;
    tensors.sort_by(|(a, _), (b, _)| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
    let (tensors, parameters): (Vec<Tensor>, Vec<_>) = tensors.into_iter().unzip();
    to_safetensors::write(args, &tensors, |put| {
        let all = parameters.iter().enumerate();
        all.into_iter()
            .try_for_each(|(number, parameter)| put(number, &read(checkpoint, parameter)?))
    })
}

/// The bytes of a parameter, which was seen to fit.
fn read(checkpoint: &Checkpoint, parameter: &tfckpt::map::Target) -> Result<Vec<u8>, Failure> {
    let plan = Plan::new(checkpoint, std::slice::from_ref(parameter))?;
    let read = plan.carry_out(checkpoint, |filling| filling.read::<u8>())?;
    Ok(read.into_iter().next().unwrap_or_default())
}
