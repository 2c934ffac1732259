//! From the paths of parameters to the names of variables.

mod pattern;
mod rule;
mod style;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::convert::{Conversion, Fidelity};
use super::layer::{DenseOrder, Layer};
use super::mapping::Making;
use super::recipe::Compound;
use crate::dtype::DType;
use crate::layout::Layout;
pub(in crate::map) use pattern::{Match, Pattern, Template};
use rule::Of;
pub use rule::Rule;
pub use style::Indices;
use style::{Style, role_of, scope_of};

/// How the parameters of a model are called in a checkpoint, how they are laid out there, and in which dtypes they are
/// stored.
///
/// ```
/// use tfckpt::map::{DenseOrder, Layer, NameMap};
///
/// let names = NameMap::keras().rename("head.weight", "classifier/output_weights");
/// let names_of = |path| names.names(path, Layer::Dense);
/// assert_eq!(names_of("fc1.weight"), ["fc1/kernel"]);
/// assert_eq!(names_of("head.weight"), ["classifier/output_weights"]);
/// assert_eq!(names.layer("dw", Layer::Conv2d), Layer::Conv2d);
/// let names = names.with_layer("dw", Layer::DepthwiseConv2d { multiplier: 1 });
/// assert_eq!(names.layer("dw", Layer::Conv2d), Layer::DepthwiseConv2d { multiplier: 1 });
/// ```
///
/// | names of | `block.0.fc.weight` (dense) | `block.0.dw.weight` (depthwise) | `block.0.bn.weight` (batch norm) |
/// |---|---|---|---|
/// | [`keras`](Self::keras), [`keras3`](Self::keras3) | `block/0/fc/kernel` | `block/0/dw/kernel` | `block/0/bn/gamma` |
/// | [`keras2`](Self::keras2) | `block/0/fc/kernel` | `block/0/dw/depthwise_kernel` | `block/0/bn/gamma` |
/// | [`tf_layers`](Self::tf_layers) | `block/fc/kernel` | `block/dw/depthwise_kernel` | `block/bn/gamma` |
/// | [`slim`](Self::slim) | `block/0/fc/weights` | `block/0/dw/depthwise_weights` | `block/0/BatchNorm/gamma` |
/// | [`object_paths`](Self::object_paths) | `block/0/fc/kernel/.ATTRIBUTES/VARIABLE_VALUE` | … | … |
/// | [`identity`](Self::identity) | `block.0.fc.weight` | `block.0.dw.weight` | `block.0.bn.weight` |
///
/// Which name a parameter has is decided by the first of these that has one for it: [`rename`](Self::rename), the
/// [rules](Self::rules) in their order, [`numbered`](Self::numbered), and the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameMap {
    style: Style,
    indices: Indices,
    scope: String,
    /// What the paths of the model begin with and names do not.
    model_scope: String,
    /// What the paths of the model lack.
    within: String,
    renamed: BTreeMap<String, String>,
    rules: Vec<Rule>,
    numbered: Vec<Rule>,
    layers: BTreeMap<String, Layer>,
    types: BTreeMap<String, Layer>,
    averages: Averages,
    casts: Casts,
    stored: BTreeMap<String, DType>,
    /// Where all of this comes from, and what names alone do not do.
    mapping: Option<Arc<Making>>,
}

/// Which parameters are read from their moving averages, the shadow variables of
/// `tf.train.ExponentialMovingAverage`: `fc/kernel/ExponentialMovingAverage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Averages {
    /// None.
    #[default]
    Never,
    /// Those that an optimizer trains; statistics of batch normalizations are read as they are. What
    /// `variables_to_restore()` of TensorFlow 1 says.
    Trained,
    /// All, statistics included.
    All,
    /// Those that have one. The report says for which another value was taken: see
    /// [`Loaded::instead_of`](super::Loaded::instead_of).
    WhereThere,
}

/// Which differences between the dtype of a variable and that of a parameter are made up for by a cast.
///
/// Dtypes that the framework does not have are not among them: what they hold is always converted, exactly, and stored
/// again as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Casts {
    /// None: another dtype is an error.
    #[default]
    Never,
    /// Those that keep every value: float16 to float32, int8 to int32.
    Exact,
    /// Those that round, too: float32 to bfloat16. The report flags them. Integers that do not fit are an error.
    Lossy,
}

impl Casts {
    /// The dtypes of variables that may fill a parameter whose elements are of dtype `own`, which comes first: those that
    /// the framework `lacks` and that `own` holds exactly, and those that are to be cast. An unsigned
    /// 64-bit integer may fill a signed one; a value that does not fit is an error before anything is changed.
    pub fn accepts(self, own: DType, lacks: &[DType]) -> Vec<DType> {
        let accepted = |stored: &DType| {
            let fidelity = match Conversion::new(*stored, own) {
                Some(conversion) => conversion.fidelity(),
                None => return false,
            };
            let is_held = match (fidelity, stored) {
                (Fidelity::Same, _) => true,
                (Fidelity::Exact, DType::Bool) => false,
                // What is a number of one sort there is not one of another here.
                (Fidelity::Exact, _) => Conversion::new(own, *stored).is_some(),
                (Fidelity::Checked, DType::Uint64) => own == DType::Int64,
                _ => false,
            };
            let is_cast = match self {
                Casts::Never => false,
                Casts::Exact => fidelity <= Fidelity::Exact,
                Casts::Lossy => true,
            };
            (is_held && lacks.contains(stored)) || is_cast
        };
        let others = DType::all().filter(|stored| *stored != own).filter(accepted);
        std::iter::once(own).chain(others).collect()
    }
}

/// What `tf.train.ExponentialMovingAverage` appends to names, unless it was given a name of its own.
const AVERAGE: &str = "ExponentialMovingAverage";

/// What the keys of object-based checkpoints end in.
const VALUE: &str = "/.ATTRIBUTES/VARIABLE_VALUE";

impl Default for NameMap {
    fn default() -> Self {
        Self::keras()
    }
}

/// # Whose names
impl NameMap {
    /// The names of Keras and `tf.layers`: `block.fc1.weight` of a dense layer is `block/fc1/kernel`, in TensorFlow's
    /// layout. See [`Layer`] for the whole table. Parameters of other layers keep their own name: `block/scale`.
    ///
    /// Where versions differ, the names of all of them are read, and that of Keras 3 is written.
    pub fn keras() -> Self {
        Self::of(Style::Keras)
    }

    /// The same as [`keras`](Self::keras).
    pub fn keras3() -> Self {
        Self::keras()
    }

    /// As [`keras`](Self::keras), with the names of Keras 2 written where it differs: `depthwise_kernel`.
    pub fn keras2() -> Self {
        Self::of(Style::Keras2)
    }

    /// The names of `tf.layers` in variable scopes: those of [`keras2`](Self::keras2), with the `_1` that TensorFlow 1
    /// appends to a scope that is there already in the place of an index: `blocks.1.fc.weight` is `blocks_1/fc/kernel`.
    /// For layers that nobody named (`dense`, `dense_1`) see [`numbered`](Self::numbered).
    pub fn tf_layers() -> Self {
        Self::keras2().indices(Indices::Uniquified)
    }

    /// The names of TF-Slim: `fc/weights`, `fc/biases`, `dw/depthwise_weights`, and `gamma` and the like of a
    /// normalization.
    ///
    /// In slim a batch normalization is a child of its convolution, `conv1/BatchNorm/gamma`. A module that is called
    /// `bn`, `norm`, `batch_norm` or `BatchNorm` is taken for one of its parent, and for the others
    /// [`batch_norm_of`](Self::batch_norm_of) says whose they are.
    pub fn slim() -> Self {
        Self::of(Style::Slim)
    }

    /// The keys of object-based checkpoints, for a model whose objects are called as its modules are: `fc1.weight` is
    /// `model/fc1/kernel/.ATTRIBUTES/VARIABLE_VALUE` for `tf.train.Checkpoint(model=…)` and the root `model`.
    ///
    /// That is rarely needed: an object-based checkpoint is read by the names of its variables as well, those of
    /// [`keras`](Self::keras), and [`ObjectLayout`](crate::objects::ObjectLayout) writes one that TensorFlow restores.
    /// The layers of a Keras 2 model have no names among its objects, but numbers: [`numbered`](Self::numbered).
    pub fn object_paths(root: &str) -> Self {
        Self::of(Style::Objects).scope(root)
    }

    /// The paths of the parameters themselves, `block.fc1.weight`, in the layout of the framework. For checkpoints
    /// that only this framework reads.
    pub fn identity() -> Self {
        Self::of(Style::Identity)
    }

    fn of(style: Style) -> Self {
        NameMap {
            style,
            indices: Indices::Scopes,
            scope: String::new(),
            model_scope: String::new(),
            within: String::new(),
            renamed: BTreeMap::new(),
            rules: Vec::new(),
            numbered: Vec::new(),
            layers: BTreeMap::new(),
            types: BTreeMap::new(),
            averages: Averages::Never,
            casts: Casts::Never,
            stored: BTreeMap::new(),
            mapping: None,
        }
    }
}

/// # Names
impl NameMap {
    /// A scope in front of every name that is not given by [`rename`](Self::rename): with `model`, `fc1.weight` is
    /// `model/fc1/kernel`.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        if !self.scope.is_empty() && !self.scope.ends_with('/') {
            self.scope.push('/');
        }
        self
    }

    /// The paths of the model have this in front, `bert` or `encoder.bert`, and names have not. Paths without it stay as
    /// they are.
    #[must_use]
    pub fn model_scope(mut self, module: impl Into<String>) -> Self {
        self.model_scope = module.into();
        if !self.model_scope.is_empty() {
            self.model_scope.push('.');
        }
        self
    }

    /// The model is a part of a larger one, the module `encoder` for one: names are those that its parameters have there.
    #[must_use]
    pub fn within(mut self, module: impl Into<String>) -> Self {
        self.within = module.into();
        if !self.within.is_empty() {
            self.within.push('.');
        }
        self
    }

    /// What becomes of numbers in paths. Default: [`Indices::Scopes`], and for [`tf_layers`](Self::tf_layers)
    /// [`Indices::Uniquified`].
    ///
    /// ```
    /// use tfckpt::map::{Indices, Layer, NameMap};
    ///
    /// let names = |indices| NameMap::keras().indices(indices).names("layers.0.fc.weight", Layer::Dense);
    /// assert_eq!(names(Indices::Scopes), ["layers/0/fc/kernel"]);
    /// assert_eq!(names(Indices::Suffixes), ["layers_0/fc/kernel"]);
    /// assert_eq!(names(Indices::Uniquified), ["layers/fc/kernel"]);
    /// ```
    #[must_use]
    pub fn indices(mut self, indices: Indices) -> Self {
        self.indices = indices;
        self
    }

    /// The parameter at `path` is called `name` in the checkpoint. The layout still follows from its layer.
    #[must_use]
    pub fn rename(mut self, path: impl Into<String>, name: impl Into<String>) -> Self {
        self.renamed.insert(path.into(), name.into());
        self
    }

    /// Rules, after those that are there. They see paths without the [`model_scope`](Self::model_scope).
    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// The layers of the model in the order in which they were made, each with the path of its module, and nobody gave
    /// them names: they are called as the library calls them, `dense`, `dense_1`, `conv2d`, `batch_normalization`; among
    /// [objects](Self::object_paths) `layer_with_weights-0`.
    ///
    /// ```
    /// use tfckpt::map::{Layer, NameMap};
    ///
    /// let names = NameMap::tf_layers().numbered([("fc1", Layer::Dense), ("fc2", Layer::Dense)]);
    /// assert_eq!(names.names("fc1.weight", Layer::Dense), ["dense/kernel"]);
    /// assert_eq!(names.names("fc2.weight", Layer::Dense), ["dense_1/kernel"]);
    /// ```
    #[must_use]
    pub fn numbered<P: AsRef<str>>(mut self, modules: impl IntoIterator<Item = (P, Layer)>) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.numbered = modules
            .into_iter()
            .map(|(path, layer)| {
                let path = path.as_ref();
                let base = match self.style {
                    Style::Objects => "layer_with_weights",
                    style => style.layer_name(self.layer(path, layer)),
                };
                let count = counts.entry(base).or_default();
                let name = match (self.style, *count) {
                    (Style::Objects, count) => format!("{base}-{count}"),
                    (_, 0) => base.to_owned(),
                    (_, count) => format!("{base}_{count}"),
                };
                *count += 1;
                Rule::exact(Of::Scope, path, &name)
            })
            .collect();
        self
    }

    /// The batch normalization at `norm`, a pattern as those of a [`Rule`], is the one of the convolution that is called
    /// `scope`: its variables are `SCOPE/BatchNorm/gamma` and so on.
    ///
    /// ```
    /// # use tfckpt::map::{Layer, NameMap};
    /// # fn main() -> tfckpt::Result<()> {
    /// let names = NameMap::slim().batch_norm_of("bn{i}", "conv{i}")?;
    /// assert_eq!(names.names("conv2.weight", Layer::Conv2d), ["conv2/weights"]);
    /// assert_eq!(names.names("bn2.weight", Layer::BatchNorm), ["conv2/BatchNorm/gamma"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Rule::scope`].
    pub fn batch_norm_of(self, norm: &str, scope: &str) -> crate::Result<Self> {
        Ok(self.rules([Rule::scope(norm, &format!("{scope}/BatchNorm"))?]))
    }

    /// Which parameters are read from their moving averages, and written as such. Default: [`Averages::Never`].
    #[must_use]
    pub fn averages(mut self, averages: Averages) -> Self {
        self.averages = averages;
        self
    }

    /// The names of the parameter at `path`, a field of a layer of kind `found`. The first is the one to write; on
    /// reading the first one that is there counts.
    /// None if a [mapping](super::Mapping) leaves the parameter out.
    pub fn names(&self, path: &str, found: Layer) -> Vec<String> {
        if self.skips(path) {
            return Vec::new();
        }
        let names = match self.renamed.get(path) {
            Some(name) => vec![name.clone()],
            None => self.plain_names(path, &self.path_of_part(path), found),
        };
        let average = |name: &String| format!("{name}/{AVERAGE}");
        match self.averages {
            Averages::Never => names,
            Averages::Trained if is_statistic(path) => names,
            Averages::Trained | Averages::All => names.iter().map(average).collect(),
            Averages::WhereThere => names.iter().map(average).chain(names.iter().cloned()).collect(),
        }
    }

    /// The path of a parameter, with what TensorFlow calls the part of a declared layer that it is in.
    fn path_of_part(&self, path: &str) -> String {
        let (module, field) = split(path);
        let (whole, part) = split(module);
        let named = self.declared_alone(whole).and_then(|layer| Some(layer.part(part)?.1));
        match named {
            Some(name) => [whole, name, field]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("."),
            None => path.to_owned(),
        }
    }

    /// The names of the parameter at `path`, which TensorFlow takes to be at `named`.
    fn plain_names(&self, path: &str, named: &str, found: Layer) -> Vec<String> {
        let inner = self.inner(named);
        let (module, field) = split(&inner);
        for rule in self.rules.iter().chain(&self.numbered) {
            let scopes = match rule.of {
                Of::Name => match rule.names(&inner) {
                    Some(names) => return names.iter().flat_map(|name| self.keys(name)).collect(),
                    None => continue,
                },
                Of::Scope => rule.scopes(module),
                Of::Kind => continue,
            };
            if let Some((scopes, rest)) = scopes {
                let leaves = self.leaves(path, field, found);
                let scope = |scope: &String| scope_of(scope, rest, self.indices);
                let scopes = scopes.iter().map(scope);
                return scopes.flat_map(|scope| self.in_scope(&scope, &leaves)).collect();
            }
        }
        if self.style == Style::Identity {
            return vec![format!("{}{inner}", self.scope)];
        }
        let leaves = self.leaves(path, field, found);
        let parent = match split(module) {
            (parent, "bn" | "norm" | "batch_norm" | "BatchNorm") => Some(parent),
            _ => None,
        };
        match (self.style, self.parameter_layer(path, found), parent) {
            (Style::Slim, Layer::BatchNorm, Some(parent)) => {
                let scope = scope_of("", parent, self.indices);
                self.in_scope(&joined(&scope, "BatchNorm"), &leaves)
            }
            _ => self.in_scope(&scope_of("", module, self.indices), &leaves),
        }
    }

    /// What the field is called in its layer.
    fn leaves<'f>(&self, path: &str, field: &'f str, found: Layer) -> Vec<&'f str> {
        let leaves = self.style.leaves(self.parameter_layer(path, found), role_of(field));
        if leaves.is_empty() { vec![field] } else { leaves }
    }

    fn in_scope(&self, scope: &str, leaves: &[&str]) -> Vec<String> {
        leaves.iter().flat_map(|leaf| self.keys(&joined(scope, leaf))).collect()
    }

    /// The name in the scope of the whole; of an object the key and the path, by which it is found wherever it is stored.
    fn keys(&self, name: &str) -> Vec<String> {
        let name = format!("{}{name}", self.scope);
        match self.style {
            Style::Objects => vec![format!("{name}{VALUE}"), name],
            _ => vec![name],
        }
    }

    /// The path as rules see it.
    pub(super) fn inner(&self, path: &str) -> String {
        let path = path.strip_prefix(self.model_scope.as_str()).unwrap_or(path);
        format!("{}{path}", self.within)
    }
}

/// # Layers and layouts
impl NameMap {
    /// The module at `path`, `block.conv1`, is a layer of this kind, whatever the framework takes it for. For many at
    /// once there is [`Rule::kind`].
    #[must_use]
    pub fn with_layer(mut self, path: impl Into<String>, layer: Layer) -> Self {
        self.layers.insert(path.into(), layer);
        self
    }

    /// Modules of this type are layers of this kind: `with_type("MyLinear", Layer::Dense)` for all instances of a Burn
    /// module `struct MyLinear`. Candle does not know the types of its modules.
    #[must_use]
    pub fn with_type(mut self, name: impl Into<String>, layer: Layer) -> Self {
        self.types.insert(name.into(), layer);
        self
    }

    /// The kind of layers of this type, if it was declared.
    pub fn layer_of_type(&self, name: &str) -> Option<Layer> {
        self.types.get(name).copied()
    }

    /// Whether names and layouts are those of the framework.
    pub fn is_identity(&self) -> bool {
        self.style == Style::Identity
    }

    /// The kind of the layer at `path`: what was declared, or what the framework `found`.
    pub fn layer(&self, path: &str, found: Layer) -> Layer {
        self.declared(path).unwrap_or(found)
    }

    /// The kind of the layer that the parameter at `path` is in; a rule for its name may have declared it.
    pub fn parameter_layer(&self, path: &str, found: Layer) -> Layer {
        let module = split(path).0;
        let of_rule = || self.rule_of(path).and_then(|rule| rule.layer);
        self.layers
            .get(module)
            .copied()
            .or_else(of_rule)
            .unwrap_or_else(|| self.layer(module, found))
    }

    /// The layout of that parameter.
    pub fn layout(&self, path: &str, found: Layer, order: DenseOrder) -> Layout {
        if let Some(layout) = self.rule_of(path).and_then(|rule| rule.layout) {
            return layout;
        }
        match self.style {
            Style::Identity => Layout::Same,
            _ => {
                let field = split(path).1;
                self.parameter_layer(path, found).layout(role_of(field), order)
            }
        }
    }

    /// What the module at this path was declared to be, by itself or as a part of the one that it is in.
    fn declared(&self, module: &str) -> Option<Layer> {
        let (whole, part) = split(module);
        let of_whole = || Some(self.declared_alone(whole)?.part(part)?.0);
        self.declared_alone(module).or_else(of_whole)
    }

    fn declared_alone(&self, module: &str) -> Option<Layer> {
        if let Some(layer) = self.layers.get(module) {
            return Some(*layer);
        }
        let inner = self.inner(module);
        let of_rule = |rule: &Rule| match rule.of {
            Of::Name => None,
            Of::Scope | Of::Kind => rule.layer.filter(|_| rule.is_for(&inner)),
        };
        self.rules.iter().find_map(of_rule)
    }

    /// The rule that names this parameter.
    fn rule_of(&self, path: &str) -> Option<&Rule> {
        if self.renamed.contains_key(path) {
            return None;
        }
        let inner = self.inner(path);
        let module = split(&inner).0;
        let applies = |rule: &&Rule| match rule.of {
            Of::Name => rule.names(&inner).is_some(),
            Of::Scope => rule.scopes(module).is_some(),
            Of::Kind => false,
        };
        self.rules.iter().find(applies).filter(|rule| rule.of == Of::Name)
    }
}

/// # Dtypes
impl NameMap {
    /// Which casts are made, on reading, between a variable's dtype and that of the parameter. Default: [`Casts::Never`].
    /// What was cast is saved as the model has it.
    #[must_use]
    pub fn cast(mut self, casts: Casts) -> Self {
        self.casts = casts;
        self
    }

    /// The casts that are made.
    pub fn casts(&self) -> Casts {
        self.casts
    }

    /// The dtypes of variables that may fill a parameter: [`Casts::accepts`].
    pub fn accepts(&self, own: DType, lacks: &[DType]) -> Vec<DType> {
        self.casts.accepts(own, lacks)
    }

    /// The parameter at `path` is saved in this dtype, exactly: a value that it does not have is an error. Parameters that
    /// were restored from dtypes that the framework lacks are saved as they were without that.
    #[must_use]
    pub fn stored_as(mut self, path: impl Into<String>, dtype: DType) -> Self {
        self.stored.insert(path.into(), dtype);
        self
    }

    /// The dtype that the parameter at `path` is to be saved in, if it was said.
    pub fn stored_dtype(&self, path: &str) -> Option<DType> {
        let of_mapping = || self.mapping.as_ref()?.stored_dtype(path);
        self.stored.get(path).copied().or_else(of_mapping)
    }
}

/// # What a mapping says
impl NameMap {
    pub(super) fn with_mapping(mut self, mapping: Arc<Making>) -> Self {
        self.mapping = Some(mapping);
        self
    }

    /// Whether a parameter is left out: neither loaded nor saved.
    pub fn skips(&self, path: &str) -> bool {
        self.mapping.as_ref().is_some_and(|mapping| mapping.skips(path))
    }

    /// Whether nobody misses this variable of the checkpoint.
    pub fn ignores(&self, variable: &str) -> bool {
        self.mapping.as_ref().is_some_and(|mapping| mapping.ignores(variable))
    }

    /// What a parameter of this shape is made of, and what is made of it, if it is no variable as its layer says: as a
    /// mapping has it, or as one of a [`Layer::PartialNorm`] that TensorFlow does not have.
    pub fn compound(&self, path: &str, dims: &[usize]) -> Option<Compound> {
        let mapped = self
            .mapping
            .as_ref()
            .and_then(|mapping| mapping.compound(path, dims, &self.scope));
        mapped.or_else(|| self.partial_norm(split(path).0, &[(path.to_owned(), dims.to_vec())]))
    }

    /// Checks the [mapping](super::Mapping), if this was made of one, for the parameters of a model.
    ///
    /// # Errors
    /// As [`Mapping::check`](super::Mapping::check).
    pub fn check<P: AsRef<str>>(&self, parameters: &[(P, Layer)]) -> crate::Result<()> {
        match &self.mapping {
            Some(mapping) => mapping.mapping.check(parameters),
            None => Ok(()),
        }
    }
}

/// The path of the module, and the field in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn joined(scope: &str, leaf: &str) -> String {
    match scope {
        "" => leaf.to_owned(),
        scope => format!("{scope}/{leaf}"),
    }
}

/// Statistics are gathered, not trained.
fn is_statistic(path: &str) -> bool {
    use super::layer::Role;
    matches!(role_of(split(path).1), Role::RunningMean | Role::RunningVar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_the_names_of_keras() {
        let names = NameMap::keras();
        let cases = [
            ("a.b.weight", Layer::Dense, "a/b/kernel"),
            ("c.weight", Layer::Conv2d, "c/kernel"),
            ("c.bias", Layer::Conv2d, "c/bias"),
            ("n.weight", Layer::BatchNorm, "n/gamma"),
            ("n.gamma", Layer::BatchNorm, "n/gamma"),
            ("n.running_var", Layer::BatchNorm, "n/moving_variance"),
            ("n.bias", Layer::LayerNorm, "n/beta"),
            ("n.weight", Layer::RmsNorm, "n/scale"),
            ("e.weight", Layer::Embedding, "e/embeddings"),
            ("p.weight", Layer::PRelu, "p/alpha"),
            ("x.weight", Layer::Other, "x/weight"),
            ("scale", Layer::Other, "scale"),
            ("weight", Layer::Dense, "kernel"),
        ];
        for (path, layer, name) in cases {
            assert_eq!(names.names(path, layer), [name]);
        }
        let depthwise = Layer::DepthwiseConv2d { multiplier: 1 };
        assert_eq!(names.names("d.weight", depthwise), ["d/kernel", "d/depthwise_kernel"]);
        assert_eq!(
            NameMap::keras2().names("d.weight", depthwise),
            ["d/depthwise_kernel", "d/kernel"]
        );
    }

    #[test]
    fn identity_changes_neither_name_nor_layout() {
        let names = NameMap::identity();
        assert_eq!(names.names("a.fc.weight", Layer::Dense), ["a.fc.weight"]);
        assert_eq!(
            names.layout("a.fc.weight", Layer::Dense, DenseOrder::OutIn),
            Layout::Same
        );
        assert_eq!(
            NameMap::keras().layout("a.fc.weight", Layer::Dense, DenseOrder::InOut),
            Layout::Same
        );
        let transposed = Layout::Permuted(&[1, 0]);
        assert_eq!(
            NameMap::keras().layout("a.fc.weight", Layer::Dense, DenseOrder::OutIn),
            transposed
        );
    }

    #[test]
    fn a_scope_goes_in_front_but_not_of_given_names() {
        let names = NameMap::keras().scope("model").rename("fc.bias", "b");
        assert_eq!(names.names("fc.weight", Layer::Dense), ["model/fc/kernel"]);
        assert_eq!(names.names("fc.bias", Layer::Dense), ["b"]);
        let rule = Rule::name("fc.weight", "w").unwrap();
        assert_eq!(names.rules([rule]).names("fc.weight", Layer::Dense), ["model/w"]);
    }

    #[test]
    fn slim_keeps_the_batch_normalization_in_its_convolution() {
        let names = NameMap::slim().scope("MobilenetV1");
        let cases = [
            ("fc.weight", Layer::Dense, "MobilenetV1/fc/weights"),
            ("fc.bias", Layer::Conv2d, "MobilenetV1/fc/biases"),
            ("c.bn.weight", Layer::BatchNorm, "MobilenetV1/c/BatchNorm/gamma"),
            (
                "c.bn.running_mean",
                Layer::BatchNorm,
                "MobilenetV1/c/BatchNorm/moving_mean",
            ),
            ("bn.bias", Layer::BatchNorm, "MobilenetV1/BatchNorm/beta"),
            ("c.bn1.bias", Layer::BatchNorm, "MobilenetV1/c/bn1/beta"),
            ("c.norm.bias", Layer::LayerNorm, "MobilenetV1/c/norm/beta"),
            (
                "d.weight",
                Layer::DepthwiseConv2d { multiplier: 1 },
                "MobilenetV1/d/depthwise_weights",
            ),
        ];
        for (path, layer, name) in cases {
            assert_eq!(names.names(path, layer), [name]);
        }
    }

    #[test]
    fn layers_without_names_are_numbered_as_their_library_does() {
        use Layer::*;
        let modules = [
            ("a", Conv2d),
            ("n", BatchNorm),
            ("b", Conv2d),
            ("m", BatchNorm),
            ("f.c", Dense),
        ];
        let names_of = |names: NameMap, path, layer| names.numbered(modules).names(path, layer);
        assert_eq!(names_of(NameMap::tf_layers(), "b.weight", Conv2d), ["conv2d_1/kernel"]);
        assert_eq!(
            names_of(NameMap::keras2(), "m.bias", BatchNorm),
            ["batch_normalization_1/beta"]
        );
        assert_eq!(names_of(NameMap::slim(), "b.weight", Conv2d), ["Conv_1/weights"]);
        assert_eq!(
            names_of(NameMap::slim(), "f.c.weight", Dense),
            ["fully_connected/weights"]
        );
        let objects = names_of(NameMap::object_paths("model"), "f.c.weight", Dense);
        assert_eq!(
            objects,
            [
                "model/layer_with_weights-4/kernel/.ATTRIBUTES/VARIABLE_VALUE",
                "model/layer_with_weights-4/kernel",
                "model/layer_with_weights-4/_kernel/.ATTRIBUTES/VARIABLE_VALUE",
                "model/layer_with_weights-4/_kernel",
            ]
        );
    }

    #[test]
    fn scopes_of_either_side_come_and_go() {
        let names = NameMap::keras().model_scope("bert");
        assert_eq!(names.names("bert.fc.weight", Layer::Dense), ["fc/kernel"]);
        assert_eq!(names.names("head.weight", Layer::Dense), ["head/kernel"]);
        let rules = [Rule::scope("encoder.layer.{i}", "layer_{i}").unwrap()];
        let names = NameMap::keras().rules(rules).within("encoder");
        assert_eq!(names.names("layer.3.fc.weight", Layer::Dense), ["layer_3/fc/kernel"]);
        assert_eq!(names.names("x.weight", Layer::Dense), ["encoder/x/kernel"]);
    }

    #[test]
    fn averages_are_what_is_asked_for() {
        let names = |averages, path| NameMap::keras().averages(averages).names(path, Layer::BatchNorm);
        let (gamma, mean) = ("n.weight", "n.running_mean");
        assert_eq!(names(Averages::Never, gamma), ["n/gamma"]);
        assert_eq!(names(Averages::Trained, gamma), ["n/gamma/ExponentialMovingAverage"]);
        assert_eq!(names(Averages::Trained, mean), ["n/moving_mean"]);
        assert_eq!(names(Averages::All, mean), ["n/moving_mean/ExponentialMovingAverage"]);
        assert_eq!(
            names(Averages::WhereThere, mean),
            ["n/moving_mean/ExponentialMovingAverage", "n/moving_mean"]
        );
    }

    #[test]
    fn rules_declare_layers_and_layouts() {
        let depthwise = Layer::DepthwiseConv2d { multiplier: 1 };
        let names = NameMap::keras().rules([
            Rule::kind("blocks.{i}.dw", depthwise).unwrap(),
            Rule::scope("stem", "first").unwrap().layer(Layer::Embedding),
            Rule::name("head.weight", "out").unwrap().layout(Layout::Same),
            Rule::name("table.weight", "words").unwrap().layer(Layer::Embedding),
        ]);
        assert_eq!(names.layer("blocks.3.dw", Layer::Conv2d), depthwise);
        assert_eq!(names.names("stem.weight", Layer::Dense), ["first/embeddings"]);
        assert_eq!(names.names("stem.fc.weight", Layer::Dense), ["first/fc/kernel"]);
        let layout = |path| names.layout(path, Layer::Dense, DenseOrder::OutIn);
        assert_eq!(layout("head.weight"), Layout::Same);
        assert_eq!(layout("table.weight"), Layout::Same);
        assert_eq!(names.parameter_layer("table.weight", Layer::Dense), Layer::Embedding);
        assert_eq!(layout("fc.weight"), Layout::Permuted(&[1, 0]));
    }

    #[test]
    fn a_parameter_takes_what_its_framework_lacks_and_what_is_cast() {
        use DType::*;
        let lacks = [Int8, Uint16, Uint64, Bool, Float8E5m2];
        let accepts = |casts, own| NameMap::keras().cast(casts).accepts(own, &lacks);
        assert_eq!(accepts(Casts::Never, Float32), [Float32, Float8E5m2]);
        assert_eq!(accepts(Casts::Never, Int16), [Int16, Int8]);
        assert_eq!(accepts(Casts::Never, Int64), [Int64, Int8, Uint16, Uint64]);
        assert_eq!(accepts(Casts::Never, Uint32), [Uint32, Uint16]);
        assert_eq!(accepts(Casts::Never, Uint8), [Uint8, Bool]);
        let exact = accepts(Casts::Exact, Float32);
        assert!(
            exact.contains(&Float16) && exact.contains(&Int8) && !exact.contains(&Float64),
            "{exact:?}"
        );
        let lossy = accepts(Casts::Lossy, Float32);
        assert!(
            lossy.contains(&Float64) && lossy.contains(&Int64) && !lossy.contains(&Complex64),
            "{lossy:?}"
        );
        assert!(!accepts(Casts::Lossy, Int32).contains(&Float32));
    }

    #[test]
    fn layers_of_the_users_own_are_declared_by_path_or_type() {
        let names = NameMap::keras()
            .with_type("MyLinear", Layer::Dense)
            .with_layer("mine", Layer::Dense);
        assert_eq!(names.layer_of_type("MyLinear"), Some(Layer::Dense));
        assert_eq!(names.layer_of_type("Linear"), None);
        assert_eq!(names.names("mine.w", Layer::Other), ["mine/kernel"]);
        assert_eq!(names.names("other.w", Layer::Other), ["other/w"]);
    }
}
