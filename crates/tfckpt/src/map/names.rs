//! From the paths of parameters to the names of variables.

use std::collections::BTreeMap;

use super::layer::{DenseOrder, Layer, Role};
use crate::layout::Layout;

/// How the parameters of a model are called in a checkpoint, and how they are laid out there.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameMap {
    style: Style,
    scope: String,
    renamed: BTreeMap<String, String>,
    layers: BTreeMap<String, Layer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Keras,
    Identity,
}

impl Default for NameMap {
    fn default() -> Self {
        Self::keras()
    }
}

impl NameMap {
    /// The names of Keras and `tf.layers`: `block.fc1.weight` of a dense layer is `block/fc1/kernel`, in TensorFlow's
    /// layout. See [`Layer`] for the whole table. Parameters of other layers keep their own name: `block/scale`.
    pub fn keras() -> Self {
        NameMap {
            style: Style::Keras,
            scope: String::new(),
            renamed: BTreeMap::new(),
            layers: BTreeMap::new(),
        }
    }

    /// The paths of the parameters themselves, `block.fc1.weight`, in the layout of the framework. For checkpoints
    /// that only this framework reads.
    pub fn identity() -> Self {
        NameMap {
            style: Style::Identity,
            ..Self::keras()
        }
    }

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

    /// The parameter at `path` is called `name` in the checkpoint. The layout still follows from its layer.
    #[must_use]
    pub fn rename(mut self, path: impl Into<String>, name: impl Into<String>) -> Self {
        self.renamed.insert(path.into(), name.into());
        self
    }

    /// The module at `path`, `block.conv1`, is a layer of this kind, whatever the framework takes it for.
    #[must_use]
    pub fn with_layer(mut self, path: impl Into<String>, layer: Layer) -> Self {
        self.layers.insert(path.into(), layer);
        self
    }

    /// The kind of the layer at `path`: what was declared, or what the framework `found`.
    pub fn layer(&self, path: &str, found: Layer) -> Layer {
        self.layers.get(path).copied().unwrap_or(found)
    }

    /// The names of the parameter at `path`, a field of a layer of kind `found`. The first is the one to write; on
    /// reading the first one that is there counts.
    pub fn names(&self, path: &str, found: Layer) -> Vec<String> {
        if let Some(name) = self.renamed.get(path) {
            return vec![name.clone()];
        }
        let (module, field) = split(path);
        let known = match self.style {
            Style::Keras => self.layer(module, found).keras_names(Role::of_field(field)),
            Style::Identity => return vec![format!("{}{path}", self.scope)],
        };
        let leaves = if known.is_empty() {
            std::slice::from_ref(&field)
        } else {
            known
        };
        let module = module.replace('.', "/");
        let slash = if module.is_empty() { "" } else { "/" };
        leaves
            .iter()
            .map(|leaf| format!("{}{module}{slash}{leaf}", self.scope))
            .collect()
    }

    /// The layout of that parameter.
    pub fn layout(&self, path: &str, found: Layer, order: DenseOrder) -> Layout {
        let (module, field) = split(path);
        match self.style {
            Style::Keras => self.layer(module, found).layout(Role::of_field(field), order),
            Style::Identity => Layout::Same,
        }
    }
}

/// The path of the module, and the field in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
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
    }
}
