//! What parameters are called.

use super::rule::{Of, Rule};
use super::style::{Style, scope_of};
use super::{AVERAGE, Averages, NameMap, VALUE, is_statistic, joined, role_of, split};
use crate::map::layer::Layer;

/// # What parameters are called
impl NameMap {
    /// The names of the parameter at `path`, a field of a layer of kind `found`. The first is the one to write; on
    /// reading the first one that is there counts.
    /// None if a [mapping](crate::map::Mapping) leaves the parameter out.
    pub fn names(&self, path: &str, found: Layer) -> Vec<String> {
        if self.skips(path) {
            return Vec::new();
        }
        let names = match self.renamed.get(path) {
            Some(name) => vec![name.clone()],
            None => self.plain_names(path, &self.path_of_part(path), found),
        };
        self.averaged(path, names)
    }

    /// Whether something names this parameter by itself, and not the layer or the scope that it is in.
    pub fn is_named(&self, path: &str) -> bool {
        let of_mapping = || {
            self.mapping
                .as_ref()
                .is_some_and(|mapping| mapping.makes(&self.inner(path)))
        };
        self.renamed.contains_key(path) || self.rule_of(path).is_some() || of_mapping() || self.skips(path)
    }

    /// Whether a rule for the variables of a layer has a name for the parameter at `path`.
    pub(in crate::map) fn has_name_in(&self, rule: &Rule, path: &str, found: Layer) -> bool {
        let inner = self.inner(&self.path_of_part(path));
        let (module, field) = split(&inner);
        matches!(rule.variable(module, &self.leaves(path, field, found)), Some(Some(_)))
    }

    /// The names of the averages of a parameter, or its own, or both.
    pub(in crate::map) fn averaged(&self, path: &str, names: Vec<String>) -> Vec<String> {
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
                Of::Variables => match rule.variable(module, &self.leaves(path, field, found)) {
                    Some(Some(name)) => return self.keys(&name),
                    // What is not named is not looked for elsewhere.
                    Some(None) if rule.is_recurrent() => return Vec::new(),
                    _ => continue,
                },
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
    pub(super) fn leaves<'f>(&self, path: &str, field: &'f str, found: Layer) -> Vec<&'f str> {
        let leaves = self.style.leaves(self.parameter_layer(path, found), role_of(field));
        if leaves.is_empty() { vec![field] } else { leaves }
    }

    fn in_scope(&self, scope: &str, leaves: &[&str]) -> Vec<String> {
        leaves.iter().flat_map(|leaf| self.keys(&joined(scope, leaf))).collect()
    }

    /// The name in the scope of the whole; of an object the key and the path, by which it is found wherever it is stored.
    fn keys(&self, name: &str) -> Vec<String> {
        let name = self.scoped(name);
        match self.style {
            Style::Objects => vec![format!("{name}{VALUE}"), name],
            _ => vec![name],
        }
    }

    /// The name in the [scope](Self::scope) of the whole.
    pub fn scoped(&self, name: &str) -> String {
        format!("{}{name}", self.scope)
    }

    /// The path as rules see it.
    pub(in crate::map) fn inner(&self, path: &str) -> String {
        let path = path.strip_prefix(self.model_scope.as_str()).unwrap_or(path);
        format!("{}{path}", self.within)
    }

    /// The path in the model of one that rules see, beside the one at `path`; `None` if the model has none there.
    pub(in crate::map) fn outer(&self, inner: &str, path: &str) -> Option<String> {
        let own = inner.strip_prefix(self.within.as_str())?;
        let scope = if path.starts_with(self.model_scope.as_str()) {
            self.model_scope.as_str()
        } else {
            ""
        };
        Some(format!("{scope}{own}"))
    }
}
