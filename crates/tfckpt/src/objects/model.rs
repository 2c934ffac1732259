//! Where the Python classes of models hold their variables.

use std::collections::HashMap;

use super::tree::{ObjectId, ObjectTree};
use crate::error::{Error, Result};
use crate::suggest::nearest;
use crate::tensor::Variable;

/// How a model holds its layers.
#[derive(Debug, Clone)]
pub(super) enum Model {
    /// Attributes are called as the components of names.
    Attributes {
        /// Layers are those of Keras 3.
        private: bool,
    },
    /// Layers are numbered in one list of Keras 3.
    Keras3 { list: &'static str, layers: Vec<String> },
    /// Layers of Keras 2 are numbered twice: all of them, and those with variables.
    Keras2 { layers: Vec<String> },
}

/// The order in which layers of Keras make their variables.
const ORDER: [&str; 11] = [
    "kernel",
    "depthwise_kernel",
    "pointwise_kernel",
    "recurrent_kernel",
    "embeddings",
    "gamma",
    "scale",
    "alpha",
    "bias",
    "beta",
    "moving_mean",
];

impl Model {
    pub(super) fn keras3<S: Into<String>>(list: &'static str, layers: impl IntoIterator<Item = S>) -> Self {
        Model::Keras3 {
            list,
            layers: layers.into_iter().map(Into::into).collect(),
        }
    }

    pub(super) fn keras2<S: Into<String>>(layers: impl IntoIterator<Item = S>) -> Self {
        Model::Keras2 {
            layers: layers.into_iter().map(Into::into).collect(),
        }
    }

    fn layers(&self) -> &[String] {
        match self {
            Model::Attributes { .. } => &[],
            Model::Keras3 { layers, .. } | Model::Keras2 { layers } => layers,
        }
    }

    pub(super) fn has_layer(&self, name: &str) -> bool {
        self.layers().iter().any(|layer| layer == name)
    }

    /// The number of a variable's layer, and its name in there.
    fn in_layer<'n>(&self, name: &'n str) -> Option<(usize, &'n str)> {
        let mut layers = self.layers().iter().enumerate();
        layers.find_map(|(at, layer)| Some((at, name.strip_prefix(layer.as_str())?.strip_prefix('/')?)))
    }

    /// In the order that the model has its variables in: a `tf.Module` sorts by name, its own variables first; Keras has
    /// layers in order, and their variables as they were made.
    pub(super) fn ordered<'a>(&self, mut variables: Vec<(String, Variable<'a>)>) -> Vec<(String, Variable<'a>)> {
        if let Model::Attributes { private: false } = self {
            variables.sort_by_cached_key(|(name, _)| module_order(name));
            return variables;
        }
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (name, _) in &variables {
            for scope in scopes(name) {
                let next = seen.len();
                seen.entry(scope.to_owned()).or_insert(next);
            }
        }
        variables.sort_by_cached_key(|(name, _)| {
            let leaf = name.rsplit('/').next().unwrap_or(name);
            let place = ORDER.iter().position(|known| *known == leaf).unwrap_or(ORDER.len());
            let layer = self.in_layer(name).map_or(0, |(layer, _)| layer);
            let within: Vec<(usize, usize)> = scopes(name)
                .map(|scope| (part_order(scope, &seen), seen.get(scope).copied().unwrap_or_default()))
                .collect();
            (layer, within, place)
        });
        variables
    }

    /// Puts a variable where the model has it.
    pub(super) fn add<'a>(
        &self,
        tree: &mut ObjectTree<'a>,
        root: &str,
        name: &str,
        variable: Variable<'a>,
    ) -> Result<ObjectId> {
        let root = tree.object(root);
        let (layer, path) = match self {
            Model::Attributes { .. } => (root, name),
            Model::Keras3 { list, .. } => {
                let (at, path) = self.in_layer(name).ok_or_else(|| self.no_place(name))?;
                let list = list.split('/').fold(root, |object, name| tree.child(object, name));
                (tree.child(list, &at.to_string()), path)
            }
            Model::Keras2 { .. } => {
                let (at, path) = self.in_layer(name).ok_or_else(|| self.no_place(name))?;
                (keras2_layer(tree, root, at), path)
            }
        };
        let (scope, leaf) = path.rsplit_once('/').unwrap_or(("", path));
        let of_keras = !matches!(self, Model::Attributes { private: false });
        let mut holder = layer;
        let mut names = scope.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let attribute = inner_layer(name, names.peek().copied()).filter(|_| of_keras);
            let inner = tree.child(holder, attribute.unwrap_or(name));
            if attribute.is_some() && tree.get(holder, name).is_none() {
                tree.alias(holder, name, inner);
            }
            holder = inner;
        }
        // Keras 3 has some weights as private attributes, which of them depends on the layer and on the version: both
        // names lead there, and Python takes the one that it has.
        let private = match self {
            Model::Keras3 { .. } | Model::Attributes { private: true } => {
                matches!(leaf, "kernel" | "embeddings").then(|| format!("_{leaf}"))
            }
            _ => None,
        };
        let object = tree.child(holder, private.as_deref().unwrap_or(leaf));
        tree.set(object, variable)?;
        if private.is_some() {
            tree.alias(holder, leaf, object);
        }
        Ok(object)
    }

    fn no_place(&self, name: &str) -> Error {
        let layers = self.layers().iter().map(String::as_str);
        Error::NoPlace {
            name: name.to_owned(),
            candidates: nearest(name.split('/').next().unwrap_or(name), layers, 3),
        }
    }
}

/// Sorts as `tf.Module.trainable_variables` does; elements of lists go by their numbers.
fn module_order(name: &str) -> Vec<(bool, u64, String)> {
    let mut names = name.split('/').peekable();
    let mut order = Vec::new();
    while let Some(name) = names.next() {
        order.push((
            names.peek().is_some(),
            name.parse().unwrap_or(u64::MAX),
            name.to_owned(),
        ));
    }
    order
}

/// The attribute that holds a layer within a layer of Keras, where that is not the inner layer's name. `next` is what is named
/// within the inner layer.
fn inner_layer(name: &str, next: Option<&str>) -> Option<&'static str> {
    let is_cell = |name: &str| matches!(name, "gru_cell" | "lstm_cell" | "simple_rnn_cell");
    Some(match name {
        "query" => "_query_dense",
        "key" => "_key_dense",
        "value" => "_value_dense",
        "attention_output" => "_output_dense",
        _ if is_cell(name) => "cell",
        _ if name.starts_with("forward_") && next.is_some_and(is_cell) => "forward_layer",
        _ if name.starts_with("backward_") && next.is_some_and(is_cell) => "backward_layer",
        _ => return None,
    })
}

/// The scopes that a variable is in, the outermost first.
fn scopes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

/// The order in which attention and bidirectional layers of Keras make the layers within them, whatever the order of the
/// names: an optimizer counts by it.
fn part_order(scope: &str, seen: &HashMap<String, usize>) -> usize {
    let (layer, part) = scope.rsplit_once('/').unwrap_or(("", scope));
    let has = |other: &str| seen.contains_key(&format!("{layer}/{other}"));
    let of_attention = ["query", "key", "value", "attention_output"];
    match part.strip_prefix("backward_") {
        Some(inner) => usize::from(has(&format!("forward_{inner}"))),
        None => {
            let place = of_attention.iter().position(|known| *known == part);
            place.filter(|_| has("query")).unwrap_or_default()
        }
    }
}

/// A layer of Keras 2, numbered among those with variables first, and then among all. Layers come in their order.
fn keras2_layer(tree: &mut ObjectTree<'_>, root: ObjectId, at: usize) -> ObjectId {
    let name = format!("layer-{at}");
    if let Some(layer) = tree.get(root, &name) {
        return layer;
    }
    let mut weighted = (0..).map(|number| format!("layer_with_weights-{number}"));
    let free = weighted.find(|name| tree.get(root, name).is_none()).unwrap_or_default();
    let layer = tree.child(root, &free);
    tree.alias(root, &name, layer);
    layer
}
