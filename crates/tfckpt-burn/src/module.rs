//! Modules into variables, and variables into modules.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, Bytes, Int, Tensor, TensorData};
use tfckpt::map::{Compound, Conversion, Filling, Ingredient, Layout, LoadReport, NameMap, Plan, Tied};
use tfckpt::{BoxError, Checkpoint, DType, Shape, Sink, Variable};

use crate::dtype::{LACKS, from_stored_bytes, to_stored_bytes};
use crate::error::{Error, Result};
use crate::schema::{Parameter, Schema, mapper_of};

/// A module's parameters as variables. Each is fetched from its device when it is written, one at a time.
pub(crate) fn variables<M: Module>(module: &M, schema: &Schema, names: &NameMap) -> Result<Vec<Variable<'static>>> {
    schema.check_mapping(names)?;
    // Batch normalization gathers its running statistics apart and merges them only here.
    let _ = module.valid();
    let mut visitor = Fetcher {
        schema,
        names,
        next: 0,
        assembly: Assembly::default(),
        failure: None,
    };
    module.visit(&mut visitor);
    match visitor.failure {
        Some(error) => Err(error),
        None => visitor.assembly.finish(),
    }
}

/// The dtypes that parameters were restored from and that Burn lacks, by path: they are stored in them again.
pub(crate) fn lacking(report: &LoadReport) -> impl Iterator<Item = (&str, DType)> {
    let casts = report
        .loaded
        .iter()
        .filter_map(|loaded| Some((loaded.path.as_str(), loaded.cast?)));
    let is_lacking = |(_, cast): &(&str, Conversion)| {
        LACKS.contains(&cast.from()) && Conversion::new(cast.to(), cast.from()).is_some()
    };
    casts.filter(is_lacking).map(|(path, cast)| (path, cast.from()))
}

/// These names, and the dtypes that parameters were restored from, where they say nothing else.
pub(crate) fn with_stored<'a>(names: &NameMap, stored: impl IntoIterator<Item = (&'a str, DType)>) -> NameMap {
    stored
        .into_iter()
        .fold(names.clone(), |names, (path, dtype)| match names.stored_dtype(path) {
            Some(_) => names,
            None => names.stored_as(path, dtype),
        })
}

/// Fills a module from a checkpoint. Everything is read before the module is touched.
pub(crate) fn load<M: Module>(
    module: &mut M,
    checkpoint: &Checkpoint,
    names: &NameMap,
    partial: bool,
) -> Result<LoadReport> {
    let schema = Schema::of(module);
    schema.check(names, checkpoint)?;
    let targets = schema.targets(names)?;
    let mut plan = match partial {
        true => Plan::partial(checkpoint, &targets),
        false => Plan::new(checkpoint, &targets)?,
    };
    plan.mark_used(|name| names.ignores(name));
    carry_out(module, &schema, plan, checkpoint)
}

/// Fills the parameters that the plan has steps for. Everything is read before the module is touched.
pub(crate) fn carry_out<M: Module>(
    module: &mut M,
    schema: &Schema,
    plan: Plan,
    checkpoint: &Checkpoint,
) -> Result<LoadReport> {
    let read = plan.carry_out(checkpoint, |filling| {
        let bytes = read(filling)?;
        let parameter = schema.parameters.get(filling.target());
        let value = parameter.map(|parameter| from_stored_bytes(bytes, parameter.shape.clone(), parameter.dtype));
        Ok::<_, Error>((filling.target(), value))
    })?;
    let mut values: Vec<Option<TensorData>> = vec![None; schema.parameters.len()];
    for (target, value) in read {
        if let Some(slot) = values.get_mut(target) {
            *slot = value;
        }
    }
    *module = module.clone().map(&mut Filler {
        values: values.into_iter(),
    });
    Ok(plan.into_report())
}

/// The bytes of a variable that fits, in the layout of the model. They are read as elements of any type of the right
/// size: as such they are aligned, and Burn takes their memory without another copy. (`Bytes::from_bytes_vec` copies
/// whatever it is given.)
pub(crate) fn read(filling: &Filling<'_>) -> tfckpt::Result<Bytes> {
    match filling.dtype().size() {
        Some(8) => filling.read().map(Bytes::from_elems::<u64>),
        Some(4) => filling.read().map(Bytes::from_elems::<u32>),
        Some(2) => filling.read().map(Bytes::from_elems::<u16>),
        _ => filling.read().map(Bytes::from_elems::<u8>),
    }
}

/// The tensors of a record of Burn's as variables, in the order of the schema. They are in memory, so that all cores write
/// them.
pub(crate) fn recorded(schema: &Schema, tensors: Vec<TensorData>, names: &NameMap) -> Result<Vec<Variable<'static>>> {
    let mut assembly = Assembly::default();
    for (parameter, tensor) in schema.parameters.iter().zip(tensors) {
        let shape = tensor.shape().to_vec();
        let bytes = Arc::new(to_stored_bytes(tensor));
        let again = bytes.clone();
        let ingredient = Ingredient::new(parameter.stored_dtype()?, shape.as_slice(), move |sink| sink(&again));
        let layout = parameter.record_layout(names);
        let lent = |name, dtype, shape| Variable::lent(name, dtype, shape, move |sink| sink(&bytes));
        assembly.add(parameter, names, layout, ingredient, lent)?;
    }
    assembly.finish()
}

/// Variables of parameters, one by one and of several.
#[derive(Default)]
struct Assembly {
    variables: Vec<Variable<'static>>,
    /// Layers whose variables are made of several parameters, by their paths.
    compounds: BTreeMap<String, (Compound, BTreeMap<String, Ingredient<'static>>)>,
    /// By the names of variables, which several parameters may share.
    written: BTreeMap<String, Written>,
}

/// The parameter that a variable was made of.
struct Written {
    path: String,
    id: u64,
    layout: Layout,
    ingredient: Ingredient<'static>,
}

impl Assembly {
    /// A parameter, whose bytes in the layout of the model are the `ingredient`; `make` makes the variable of its name,
    /// dtype and shape in the checkpoint.
    fn add(
        &mut self,
        parameter: &Parameter,
        names: &NameMap,
        layout: Layout,
        ingredient: Ingredient<'static>,
        make: impl FnOnce(String, DType, Shape) -> Variable<'static>,
    ) -> Result<()> {
        if names.skips(&parameter.path) {
            return Ok(());
        }
        if let Some(compound) = parameter
            .compound(names)?
            .filter(|compound| compound.member(&parameter.path).is_some())
        {
            let ingredient = match names.stored_dtype(&parameter.path) {
                Some(dtype) => ingredient.stored_as(dtype),
                None => ingredient,
            };
            // The same for all that are made together.
            let first = compound.members.first();
            let key = first.map_or_else(|| parameter.path.clone(), |member| member.path.clone());
            let (_, parts) = self.compounds.entry(key).or_insert_with(|| (compound, BTreeMap::new()));
            parts.insert(parameter.path.clone(), ingredient);
            return Ok(());
        }
        let name = parameter.name(names);
        let written = Written {
            path: parameter.path.clone(),
            id: parameter.id.val(),
            layout,
            ingredient,
        };
        if let Some(first) = self.written.get(&name) {
            return written.must_equal(first, &name);
        }
        self.variables
            .push(laid_out(parameter, names, written.ingredient.dims(), layout, make)?);
        self.written.insert(name, written);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Variable<'static>>> {
        for (compound, parts) in self.compounds.into_values() {
            self.variables
                .extend(compound.variables(&|path| parts.get(path).cloned())?);
        }
        Ok(self.variables)
    }
}

impl Written {
    /// Two parameters that one variable fills have to have the same values, laid out as in the variable.
    fn must_equal(&self, first: &Written, name: &str) -> Result<()> {
        let shares = self.id == first.id && self.layout == first.layout;
        match shares {
            true => Ok(()),
            false => Ok(self.tied().must_equal(&first.tied(), name)?),
        }
    }

    fn tied(&self) -> Tied<'_> {
        Tied {
            path: &self.path,
            layout: self.layout,
            ingredient: &self.ingredient,
        }
    }
}

/// A parameter as a variable, which `make` makes of its name, dtype and shape in the checkpoint, with bytes that are
/// still in the layout of the model.
fn laid_out(
    parameter: &Parameter,
    names: &NameMap,
    shape: &[usize],
    layout: Layout,
    make: impl FnOnce(String, DType, Shape) -> Variable<'static>,
) -> Result<Variable<'static>> {
    let own = parameter.stored_dtype()?;
    let dtype = names.stored_dtype(&parameter.path).unwrap_or(own);
    let impossible = || tfckpt::Error::InvalidArgument {
        what: format!(
            "parameter `{}` is {own} and cannot be stored as {dtype}",
            parameter.path
        ),
    };
    let conversion = Conversion::new(own, dtype).ok_or_else(impossible)?;
    let misfit = || tfckpt::Error::InvalidArgument {
        what: format!(
            "parameter `{}` of shape {shape:?} is no {layout:?}: declare its layer",
            parameter.path
        ),
    };
    let stored_shape = layout.stored_shape(shape).ok_or_else(misfit)?;
    let transform = layout.to_stored(shape).ok_or_else(misfit)?;
    let variable = make(parameter.name(names), own, stored_shape);
    let variable = variable.converted(conversion).laid_out(transform);
    Ok(if parameter.is_trained() {
        variable
    } else {
        variable.non_trainable()
    })
}

struct Fetcher<'a> {
    schema: &'a Schema,
    names: &'a NameMap,
    next: usize,
    assembly: Assembly,
    failure: Option<crate::Error>,
}

impl Fetcher<'_> {
    fn push<const D: usize, K: Basic + 'static>(&mut self, value: Tensor<D, K>) {
        let schema = self.schema;
        let Some(parameter) = schema.parameters.get(self.next) else {
            return;
        };
        self.next += 1;
        if let Err(error) = self.add(parameter, value) {
            self.failure = self.failure.take().or(Some(error));
        }
    }

    fn add<const D: usize, K: Basic + 'static>(&mut self, parameter: &Parameter, value: Tensor<D, K>) -> Result<()> {
        let layout = parameter.layout(self.names);
        let again = value.clone();
        let dtype = parameter.stored_dtype()?;
        let ingredient = Ingredient::new(dtype, parameter.shape.as_slice(), move |sink| fetch(&again, sink));
        // Fetched when its turn comes.
        let deferred = |name, dtype, shape| Variable::deferred(name, dtype, shape, move |sink| fetch(&value, sink));
        self.assembly.add(parameter, self.names, layout, ingredient, deferred)
    }
}

impl ModuleVisitor for Fetcher<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.push(param.val().detach());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.push(param.val());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.push(param.val());
    }
}

/// Passes the bytes of a tensor to `sink`, from the first to the last, and copies no more than a piece at a time from
/// its device: some rows along its first axis.
fn fetch<const D: usize, K: Basic>(tensor: &Tensor<D, K>, sink: &mut Sink<'_>) -> Result<(), BoxError> {
    let dims = tensor.dims();
    let rows = dims.first().copied().unwrap_or(1);
    let row = tensor.shape().num_elements().checked_div(rows).unwrap_or(0);
    let at_once = (PIECE / row.max(1)).max(1);
    for first in (0..rows).step_by(at_once) {
        let rows = tensor.clone().narrow(0, first, at_once.min(rows - first));
        let data = rows.try_into_data().map_err(|error| format!("{error:?}"))?;
        sink(&to_stored_bytes(data))?;
    }
    Ok(())
}

/// Elements that are fetched at a time.
const PIECE: usize = 1 << 18;

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
            let device = param.lazy_device();
            let probe = <$tensor>::zeros(std::array::from_fn::<usize, D, _>(|axis| axis + 1), &device);
            let (id, old, mapper) = mapper_of(param, probe);
            let dtype = data.dtype();
            let tensor = <$tensor>::from_data(data, (&device, dtype));
            Param::from_mapped_value(id, keep_grad!($method, tensor, old), mapper)
        }
    };
}

macro_rules! keep_grad {
    (map_float, $tensor:ident, $old:ident) => {
        $tensor.set_require_grad($old.is_require_grad())
    };
    ($other:ident, $tensor:ident, $old:ident) => {{
        let _ = $old;
        $tensor
    }};
}

impl<I: Iterator<Item = Option<TensorData>>> ModuleMapper for Filler<I> {
    fill!(map_float, Tensor<D>);
    fill!(map_int, Tensor<D, Int>);
    fill!(map_bool, Tensor<D, Bool>);
}
