//! What layers are, and how their parameters are laid out.

use super::rule::{Of, Rule};
use super::style::{Style, role_of};
use super::{NameMap, split};
use crate::layout::Layout;
use crate::map::layer::{DenseOrder, Layer};

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

    pub(super) fn declared_alone(&self, module: &str) -> Option<Layer> {
        if let Some(layer) = self.layers.get(module) {
            return Some(*layer);
        }
        let inner = self.inner(module);
        let of_rule = |rule: &Rule| match rule.of {
            Of::Name => None,
            Of::Scope | Of::Kind | Of::Variables => rule.layer.filter(|_| rule.is_for(&inner)),
        };
        self.rules.iter().find_map(of_rule)
    }

    /// The rule that names this parameter.
    pub(super) fn rule_of(&self, path: &str) -> Option<&Rule> {
        if self.renamed.contains_key(path) {
            return None;
        }
        let inner = self.inner(path);
        let module = split(&inner).0;
        let applies = |rule: &&Rule| match rule.of {
            Of::Name => rule.names(&inner).is_some(),
            Of::Scope => rule.scopes(module).is_some(),
            Of::Variables => rule.named_layer(module).is_some(),
            Of::Kind => false,
        };
        self.rules.iter().find(applies).filter(|rule| rule.of == Of::Name)
    }
}
