//! Modules into variables, and variables into modules.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use tfckpt::map::{Layout, LoadReport, NameMap, Plan};
use tfckpt::{BoxError, Checkpoint, Variable};

use crate::dtype::{from_stored_bytes, to_stored_bytes};
use crate::error::Result;
use crate::schema::{Parameter, Schema};

/// A module's parameters as variables. Each is fetched from its device when it is written, one at a time.
pub(crate) fn variables<M: Module>(module: &M, schema: &Schema, names: &NameMap) -> Result<Vec<Variable<'static>>> {
    // Batch normalization gathers its running statistics apart and merges them only here.
    let _ = module.valid();
    let mut visitor = Fetcher {
        schema,
        names,
        next: 0,
        variables: Vec::new(),
        failure: None,
    };
    module.visit(&mut visitor);
    match visitor.failure {
        Some(error) => Err(error),
        None => Ok(visitor.variables),
    }
}

/// Fills a module from a checkpoint. Everything is read before the module is touched.
pub(crate) fn load<M: Module>(
    module: &mut M,
    checkpoint: &Checkpoint,
    names: &NameMap,
    partial: bool,
) -> Result<LoadReport> {
    let schema = Schema::of(module);
    let targets = schema.targets(names)?;
    let plan = match partial {
        true => Plan::partial(checkpoint, &targets),
        false => Plan::new(checkpoint, &targets)?,
    };
    let mut values: Vec<Option<TensorData>> = vec![None; targets.len()];
    let mut scratch = Vec::new();
    for step in plan.steps() {
        let Some((parameter, value)) = schema.parameters.get(step.target()).zip(values.get_mut(step.target())) else {
            continue;
        };
        let size = usize::try_from(step.variable().size()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; size];
        step.read_into(checkpoint, &mut bytes, &mut scratch)?;
        *value = Some(from_stored_bytes(bytes, parameter.shape.clone(), parameter.dtype));
    }
    *module = module.clone().map(&mut Filler {
        values: values.into_iter(),
    });
    Ok(plan.into_report())
}

/// A tensor as a variable: fetched when its turn comes, and laid out for the checkpoint.
pub(crate) fn laid_out(
    parameter: &Parameter,
    name: String,
    shape: &[usize],
    layout: Layout,
    fetch: impl FnOnce() -> Result<TensorData, BoxError> + 'static,
) -> Result<Variable<'static>> {
    let dtype = parameter.stored_dtype()?;
    let misfit = || tfckpt::Error::InvalidArgument {
        what: format!(
            "parameter `{}` of shape {shape:?} is no {layout:?}: declare its layer",
            parameter.path
        ),
    };
    let stored_shape = layout.stored_shape(shape).ok_or_else(misfit)?;
    let transform = layout.to_stored(shape).ok_or_else(misfit)?;
    Ok(Variable::deferred(name, dtype, stored_shape, move |sink| {
        let bytes = to_stored_bytes(fetch()?);
        if transform.is_identity() {
            return sink(&bytes);
        }
        let mut moved = vec![0; bytes.len()];
        transform.apply(dtype.size().unwrap_or(1), &bytes, &mut moved);
        sink(&moved)
    }))
}

struct Fetcher<'a> {
    schema: &'a Schema,
    names: &'a NameMap,
    next: usize,
    variables: Vec<Variable<'static>>,
    failure: Option<crate::Error>,
}

impl Fetcher<'_> {
    fn push(&mut self, fetch: impl FnOnce() -> Result<TensorData, BoxError> + 'static) {
        let Some(parameter) = self.schema.parameters.get(self.next) else {
            return;
        };
        self.next += 1;
        let layout = parameter.layout(self.names);
        match laid_out(parameter, parameter.name(self.names), &parameter.shape, layout, fetch) {
            Ok(variable) => self.variables.push(variable),
            Err(error) => self.failure = self.failure.take().or(Some(error)),
        }
    }
}

impl ModuleVisitor for Fetcher<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.push(move || Ok(value.try_into_data().map_err(|error| format!("{error:?}"))?));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let value = param.val();
        self.push(move || Ok(value.try_into_data().map_err(|error| format!("{error:?}"))?));
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let value = param.val();
        self.push(move || Ok(value.try_into_data().map_err(|error| format!("{error:?}"))?));
    }
}

/// Replaces values in the order of the schema.
struct Filler<I> {
    values: I,
}

macro_rules! fill {
    ($method:ident, $tensor:ty) => {
        fn $method<const D: usize>(&mut self, param: Param<$tensor>) -> Param<$tensor> {
            let Some(Some(data)) = self.values.next() else {
                return param;
            };
            let (id, old, mapper) = param.consume();
            let (device, dtype) = (old.device(), data.dtype());
            let tensor = <$tensor>::from_data(data, (&device, dtype));
            Param::from_mapped_value(id, keep_grad!($method, tensor, old), mapper)
        }
    };
}

macro_rules! keep_grad {
    (map_float, $tensor:ident, $old:ident) => {
        $tensor.set_require_grad($old.is_require_grad())
    };
    ($other:ident, $tensor:ident, $old:ident) => {
        $tensor
    };
}

impl<I: Iterator<Item = Option<TensorData>>> ModuleMapper for Filler<I> {
    fill!(map_float, Tensor<D>);
    fill!(map_int, Tensor<D, Int>);
    fill!(map_bool, Tensor<D, Bool>);
}
