//! What a module consists of: its parameters, with the layers that they belong to.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param, ParamId, ParamMapper, Parameter as BurnParameter};
use burn::tensor::{Bool, DType, Int, Tensor};
use tfckpt::map::{Compound, DenseOrder, Layer, Layout, NameMap, Recipe, Target};

use tfckpt::Checkpoint;

use crate::dtype::{LACKS, stored};
use crate::error::{Error, Result};
use crate::recurrent::Recurrent;

/// One parameter of a module.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// `block.fc1.weight`.
    pub(crate) path: String,
    pub(crate) id: ParamId,
    layer: Layer,
    pub(crate) recurrent: Option<Recurrent>,
    /// The type of the innermost layer: `MyLinear`.
    layer_type: Option<String>,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// Whether Burn's own records hold it turned around, as those of a `LinearLayout::Col` do.
    turned: bool,
}

/// The parameters of a module, in the order in which Burn visits them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    pub(crate) parameters: Vec<Parameter>,
}

impl Schema {
    /// Looks at a module.
    ///
    /// Parameters that wait for their first use are initialized by it: only then is the live shape known, which a
    /// `LinearLayout::Col` turns around, and the dtype.
    pub(crate) fn of<M: Module>(module: &M) -> Self {
        let mut visitor = SchemaVisitor::default();
        module.visit(&mut visitor);
        let mut parameters = visitor.parameters;
        Recurrent::gather(&mut parameters);
        Schema { parameters }
    }

    /// The parameter with this id.
    pub(crate) fn by_id(&self, id: u64) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.id.val() == id)
    }

    /// Whether the checkpoint has what a layer would compute something else with; before that, whether the names are for this
    /// module.
    ///
    /// # Errors
    /// [`tfckpt::Error::Mapping`], [`tfckpt::Error::Unrepresentable`].
    pub(crate) fn check(&self, names: &NameMap, checkpoint: &Checkpoint) -> Result<()> {
        self.check_mapping(names)?;
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for recurrent in self
            .parameters
            .iter()
            .filter_map(|parameter| parameter.recurrent.as_ref())
        {
            if seen.insert(&recurrent.module)
                && let Some(compound) = recurrent.compound(names)?
            {
                compound.check(checkpoint)?;
            }
        }
        Ok(())
    }

    /// Whether the mapping that names were made of, if they were, is one for this module.
    ///
    /// # Errors
    /// [`tfckpt::Error::Mapping`].
    pub(crate) fn check_mapping(&self, names: &NameMap) -> Result<()> {
        let kind = |parameter: &Parameter| (parameter.path.clone(), parameter.layer(names));
        let kinds: Vec<(String, Layer)> = self.parameters.iter().map(kind).collect();
        Ok(names.check(&kinds)?)
    }

    /// What the parameters want from a checkpoint.
    ///
    /// # Errors
    /// [`tfckpt::Error::Mapping`], [`Error::UnsupportedDtype`].
    pub(crate) fn targets(&self, names: &NameMap) -> Result<Vec<Target>> {
        self.check_mapping(names)?;
        self.parameters
            .iter()
            .map(|parameter| parameter.target(names))
            .collect()
    }
}

impl Parameter {
    /// The name that the parameter is saved under: that of the variable that it becomes, or becomes a part of.
    pub(crate) fn name(&self, names: &NameMap) -> String {
        let compound = self.compound(names).ok().flatten();
        let made = compound.and_then(|compound| compound.variable_of(&self.path).map(str::to_owned));
        let plain = || names.names(&self.path, self.layer(names)).into_iter().next();
        made.or_else(plain).unwrap_or_else(|| self.path.clone())
    }

    /// What it is made of, if it is no variable by itself.
    ///
    /// # Errors
    /// [`tfckpt::Error::Unrepresentable`].
    pub(crate) fn compound(&self, names: &NameMap) -> Result<Option<Compound>> {
        if let Some(recurrent) = &self.recurrent
            && let Some(compound) = recurrent.compound(names)?
        {
            return Ok(Some(compound));
        }
        Ok(names.compound(&self.path, &self.shape, self.layer(names), DenseOrder::InOut))
    }

    /// What a slot of it is made of, if it is no variable by itself: `slot` gives the names of the slot of a variable.
    ///
    /// # Errors
    /// [`tfckpt::Error::Unrepresentable`].
    pub(crate) fn slot_recipes(&self, names: &NameMap, slot: &dyn Fn(&str) -> Vec<String>) -> Result<Vec<Recipe>> {
        let Some(compound) = self.compound(names)? else {
            return Ok(Vec::new());
        };
        let slots = compound.slots(slot, &str::to_owned);
        Ok(slots
            .member(&self.path)
            .map(|member| member.recipes.clone())
            .unwrap_or_default())
    }

    /// How its variable is laid out.
    pub(crate) fn layout(&self, names: &NameMap) -> Layout {
        names.layout(&self.path, self.layer(names), DenseOrder::InOut)
    }

    /// The kind of its layer, as Burn or a declaration of the type says.
    fn layer(&self, names: &NameMap) -> Layer {
        let declared = self.layer_type.as_ref().and_then(|name| names.layer_of_type(name));
        declared.unwrap_or(self.layer)
    }

    /// Whether an optimizer trains it: statistics are gathered, not trained.
    pub(crate) fn is_trained(&self) -> bool {
        !self.path.ends_with("running_mean") && !self.path.ends_with("running_var")
    }

    /// From the layout of Burn's own records to that of the checkpoint.
    pub(crate) fn record_layout(&self, names: &NameMap) -> Layout {
        let order = if self.turned {
            DenseOrder::OutIn
        } else {
            DenseOrder::InOut
        };
        match self.turned && names.is_identity() {
            true => Layout::Permuted(&[1, 0]),
            false => names.layout(&self.path, self.layer(names), order),
        }
    }

    /// The shape that Burn's own records hold it in.
    pub(crate) fn record_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.turned {
            shape.reverse();
        }
        shape
    }

    /// The dtype of its variable.
    pub(crate) fn stored_dtype(&self) -> Result<tfckpt::DType> {
        let unsupported = || Error::UnsupportedDtype {
            path: self.path.clone(),
            dtype: format!("{:?}", self.dtype),
        };
        stored(self.dtype).ok_or_else(unsupported)
    }

    fn target(&self, names: &NameMap) -> Result<Target> {
        let compound = self.compound(names)?;
        let member = compound.as_ref().and_then(|compound| compound.member(&self.path));
        let recipes: Vec<Recipe> = member.map(|member| member.recipes.clone()).unwrap_or_default();
        Ok(Target {
            path: self.path.clone(),
            names: match member {
                Some(member) => member.names.clone(),
                None => names.names(&self.path, self.layer(names)),
            },
            dtypes: names.accepts(self.stored_dtype()?, LACKS),
            recipes,
            shape: self.shape.clone(),
            layout: self.layout(names),
            how: member.and_then(|member| member.how.clone()),
        })
    }
}

/// The layers of a module that Burn knows the kinds of, with their paths, in the order in which they are in it: as
/// [`NameMap::numbered`] takes them.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::module::Module;
/// use burn::tensor::Device;
/// use tfckpt::map::{Layer, NameMap};
///
/// #[derive(Module, Debug)]
/// struct Net {
///     hidden: Linear,
///     head: Linear,
/// }
///
/// let device = Device::flex();
/// let net = Net { hidden: LinearConfig::new(4, 8).init(&device), head: LinearConfig::new(8, 2).init(&device) };
/// let names = NameMap::tf_layers().numbered(tfckpt_burn::layers(&net));
/// assert_eq!(names.names("head.weight", Layer::Dense), ["dense_1/kernel"]);
/// ```
pub fn layers<M: Module>(module: &M) -> Vec<(String, Layer)> {
    let mut layers: Vec<(String, Layer)> = Vec::new();
    for parameter in Schema::of(module).parameters {
        let module = parameter.path.rsplit_once('.').map_or("", |(module, _)| module);
        let is_new = layers.iter().all(|(path, _)| path != module);
        if parameter.layer != Layer::Other && is_new {
            layers.push((module.to_owned(), parameter.layer));
        }
    }
    layers
}

/// The path through a module that a visitor or mapper is at.
#[derive(Debug, Default)]
pub(crate) struct Path {
    names: Vec<String>,
    containers: Vec<String>,
}

impl Path {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    pub(crate) fn dotted(&self) -> String {
        self.names.join(".")
    }

    /// The innermost layer.
    fn container(&self) -> Option<&String> {
        let is_type = |container: &&String| container.starts_with("Struct:") || container.starts_with("Enum:");
        self.containers.iter().rev().find(is_type)
    }

    /// Its kind.
    fn layer(&self) -> Layer {
        self.container().map_or(Layer::Other, |container| layer_of(container))
    }

    /// Its type.
    fn layer_type(&self) -> Option<String> {
        let (_, name) = self.container()?.split_once(':')?;
        Some(name.to_owned())
    }
}

/// Burn's modules, by the names of their types.
fn layer_of(container: &str) -> Layer {
    match container {
        "Struct:Linear" => Layer::Dense,
        "Struct:Conv1d" => Layer::Conv1d,
        "Struct:Conv2d" => Layer::Conv2d,
        "Struct:Conv3d" => Layer::Conv3d,
        "Struct:ConvTranspose1d" => Layer::ConvTranspose1d,
        "Struct:ConvTranspose2d" => Layer::ConvTranspose2d,
        "Struct:ConvTranspose3d" => Layer::ConvTranspose3d,
        "Struct:BatchNorm" => Layer::BatchNorm,
        "Struct:LayerNorm" => Layer::LayerNorm,
        "Struct:GroupNorm" => Layer::GroupNorm,
        "Struct:InstanceNorm" => Layer::InstanceNorm,
        "Struct:RmsNorm" => Layer::RmsNorm,
        "Struct:Embedding" => Layer::Embedding,
        "Struct:PRelu" => Layer::PRelu,
        _ => Layer::Other,
    }
}

#[derive(Default)]
struct SchemaVisitor {
    path: Path,
    parameters: Vec<Parameter>,
}

impl SchemaVisitor {
    fn push(&mut self, id: ParamId, dtype: DType, shape: Vec<usize>, turned: bool) {
        let (path, layer) = (self.path.dotted(), self.path.layer());
        let recurrent = Recurrent::of(&self.path.names, &self.path.containers);
        self.parameters.push(Parameter {
            path,
            id,
            layer,
            recurrent,
            layer_type: self.path.layer_type(),
            dtype,
            shape,
            turned,
        });
    }
}

impl ModuleVisitor for SchemaVisitor {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let device = param.lazy_device();
        // Only a probe shows what a record does to a square weight.
        let probe: [usize; D] = std::array::from_fn(|axis| axis + 1);
        let (_, _, mapper) = mapper_of(param.clone(), Tensor::zeros(probe, &device));
        let saved = mapper.on_save(Tensor::<D>::zeros(probe, &device));
        let turned = D == 2 && saved.dims() != probe;
        // A parameter without a value is not given one, but for the shape of one that will be turned around.
        let (dtype, dims) = match param.is_initialized() || saved.dims() != probe {
            true => (param.val().dtype(), param.val().dims().to_vec()),
            false => (device.settings().float_dtype.into(), param.lazy_shape().to_vec()),
        };
        self.push(param.id, dtype, dims, turned);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let dtype = match param.is_initialized() {
            true => param.val().dtype(),
            false => param.lazy_device().settings().int_dtype.into(),
        };
        self.push(param.id, dtype, param.lazy_shape().to_vec(), false);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let dtype = match param.is_initialized() {
            true => param.val().dtype(),
            false => param.lazy_device().settings().bool_dtype.into(),
        };
        self.push(param.id, dtype, param.lazy_shape().to_vec(), false);
    }
}

/// What a parameter is made of besides its value, for which `probe` stands in: a parameter that has none yet would
/// otherwise draw one at random first, which takes longer than reading it.
pub(crate) fn mapper_of<T: BurnParameter>(param: Param<T>, probe: T) -> (ParamId, T, ParamMapper<T>) {
    let id = param.id;
    param.transform_for_load(probe, id).consume()
}
