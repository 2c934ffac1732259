//! What rules say of a path.

use super::{EqualPart, Matcher, Of, Rule};
use crate::map::layer::Layer;
use crate::map::names::{Match, Pattern};
use crate::map::recipe::CELLS;

impl Rule {
    /// The pattern; `None` for an expression.
    pub(super) fn pattern(&self) -> Option<&Pattern> {
        match &self.pattern {
            Matcher::Pattern(pattern) => Some(pattern),
            #[cfg(feature = "regex")]
            Matcher::Regex(_) => None,
        }
    }

    /// Whether it is for one path alone.
    pub(in crate::map) fn is_exact(&self) -> bool {
        match &self.pattern {
            Matcher::Pattern(pattern) => pattern.is_exact(),
            #[cfg(feature = "regex")]
            Matcher::Regex(_) => false,
        }
    }

    pub(in crate::map) fn is_name(&self) -> bool {
        self.of == Of::Name
    }

    pub(in crate::map) fn is_scope(&self) -> bool {
        matches!(self.of, Of::Scope | Of::Variables)
    }

    /// Whether it is for a layer whose parameters are no variables one by one, and names these.
    pub(in crate::map) fn is_recurrent(&self) -> bool {
        self.of == Of::Variables && self.layer.is_some_and(Layer::is_recurrent)
    }

    /// The layer whose variables it names, and its path: that or the beginning of `module`.
    pub(in crate::map) fn named_layer<'p>(&self, module: &'p str) -> Option<(Layer, &'p str)> {
        let pattern = self.pattern()?;
        let layer = self.layer.filter(|_| self.of == Of::Variables)?;
        let rest = pattern.matches_start(module)?.rest.len();
        Some((layer, module.get(..module.len() - rest)?))
    }

    /// The variables of the layer at `module` that it names: what each is called in the layer, and its name.
    pub(in crate::map) fn named_variables(&self, module: &str) -> Vec<(&str, String)> {
        let Some(found) = self.pattern().and_then(|pattern| pattern.matches(module)) else {
            return Vec::new();
        };
        let variables = self.variables.iter();
        variables
            .filter_map(|(leaf, template)| Some((leaf.as_str(), template.fill(&found)?)))
            .collect()
    }

    /// The path that matches `other` with the captures with which `path` matches this.
    pub(in crate::map) fn beside(&self, path: &str, other: &Rule) -> Option<String> {
        other.pattern()?.fill(&self.pattern()?.matches(path)?)
    }

    /// Whether it says what kind of layer a parameter in this module is in, be it that the module is a part of that layer.
    pub(in crate::map) fn is_kind_for(&self, module: &str) -> bool {
        use Layer::{MultiHeadAttention, SeparableConv1d, SeparableConv2d};
        let has_parts = self.layer.is_some_and(|layer| {
            layer.is_recurrent()
                || matches!(
                    layer,
                    MultiHeadAttention { .. } | SeparableConv1d { .. } | SeparableConv2d { .. }
                )
        });
        self.is_for(module) || (has_parts && self.scopes(module).is_some())
    }

    /// Which part of a variable it says a parameter is.
    pub(in crate::map) fn equal_part(&self) -> Option<EqualPart> {
        self.part
    }

    /// Whether it matches this path as a whole.
    pub(in crate::map) fn is_for(&self, path: &str) -> bool {
        match &self.pattern {
            Matcher::Pattern(pattern) => pattern.matches(path).is_some(),
            #[cfg(feature = "regex")]
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }

    /// The names for a parameter at this path; `None` if the rule is not about it.
    pub(in crate::map) fn names(&self, path: &str) -> Option<Vec<String>> {
        match &self.pattern {
            Matcher::Pattern(pattern) => self.fill(&pattern.matches(path)?),
            #[cfg(feature = "regex")]
            Matcher::Regex(regex) => {
                let captures = regex.captures(path)?;
                let expand = |replacement: &String| {
                    let mut name = String::new();
                    captures.expand(replacement, &mut name);
                    name
                };
                Some(self.templates.iter().map(expand).collect())
            }
        }
    }

    /// The scopes for a module at this path, and the path within them; `None` if the rule is not about it.
    pub(in crate::map) fn scopes<'p>(&'p self, module: &'p str) -> Option<(Vec<String>, &'p str)> {
        match &self.pattern {
            Matcher::Pattern(pattern) => {
                let found = pattern.matches_start(module)?;
                let rest = found.rest.strip_prefix('.').unwrap_or(found.rest);
                Some((self.fill(&found)?, rest))
            }
            #[cfg(feature = "regex")]
            Matcher::Regex(_) => None,
        }
    }

    /// The name of a variable of a layer, of which `module` is the path or begins with it; `leaves` are what it may be called
    /// there. The outer `None` if the rule is not about it, the inner one if it does not name such a variable.
    pub(in crate::map) fn variable(&self, module: &str, leaves: &[&str]) -> Option<Option<String>> {
        let found = self.pattern()?.matches_start(module)?;
        let rest = found.rest.strip_prefix('.').unwrap_or(found.rest).replace('.', "/");
        let key = |leaf: &&str| match rest.as_str() {
            "" => (*leaf).to_owned(),
            rest => format!("{rest}/{leaf}"),
        };
        let named = leaves.iter().map(key).find_map(|key| self.named(&key, &found));
        Some(named)
    }

    /// The name of what is called `key` in the layer.
    fn named(&self, key: &str, found: &Match<'_>) -> Option<String> {
        let key = match self.is_recurrent() {
            true => within_cell(key),
            false => key.to_owned(),
        };
        let find = |key: &str| {
            let variable = self.variables.iter().find(|(leaf, _)| leaf == key);
            variable.and_then(|(_, template)| template.fill(found))
        };
        // Two biases are kept beside their sum: `bias/input`.
        find(&key).or_else(|| {
            let (leaf, which) = key.rsplit_once('/')?;
            let name = find(leaf).filter(|_| matches!(which, "input" | "recurrent"))?;
            Some(format!("{name}/{which}"))
        })
    }

    fn fill(&self, found: &Match<'_>) -> Option<Vec<String>> {
        self.filled.iter().map(|template| template.fill(found)).collect()
    }
}

/// What a variable of a recurrent layer is called in a rule: without the scope of the cell, and after `forward` or `backward`
/// if there are both.
fn within_cell(key: &str) -> String {
    let mut parts: Vec<&str> = key.split('/').filter(|part| !CELLS.contains(part)).collect();
    if let Some(first) = parts.first_mut() {
        match *first {
            "fw" | "forward_lstm" | "forward_gru" | "forward_simple_rnn" => *first = "forward",
            "bw" | "backward_lstm" | "backward_gru" | "backward_simple_rnn" => *first = "backward",
            _ => {}
        }
    }
    parts.join("/")
}
