//! From the paths of parameters to the names of variables.

mod casts;
mod find;
mod layers;
mod made;
mod pattern;
mod rule;
mod style;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::layer::{Layer, Role};
use super::mapping::Making;
use crate::dtype::DType;
pub use casts::Casts;
pub(in crate::map) use pattern::{Match, Pattern, Template};
pub(in crate::map) use rule::EqualPart;
use rule::Of;
pub use rule::Rule;
pub use style::Indices;
use style::{Style, role_of};

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
    matches!(role_of(split(path).1), Role::RunningMean | Role::RunningVar)
}
