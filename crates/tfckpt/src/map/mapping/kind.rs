//! What a rule says.

use super::entry::{Entry, Variables};
use crate::error::Error;
use crate::map::layer::Layer;
use crate::map::names::{EqualPart, Pattern, Rule, Template};

/// What a rule says.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Modules, names of parameters, kinds of layers, variables of layers.
    Rule(Rule),
    /// A parameter that is made of variables otherwise than its layer says.
    Made(MadeRule),
    /// A parameter that is left as it is.
    Skip(Pattern),
}

/// A parameter, and what it is made of.
#[derive(Debug, Clone)]
pub(super) struct MadeRule {
    pub(super) pattern: Pattern,
    pub(super) from: From,
    /// Axis `i` of the parameter is axis `transpose[i]` of what it is made of.
    pub(super) transpose: Option<Vec<usize>>,
}

#[derive(Debug, Clone)]
pub(super) enum From {
    /// A variable, perhaps of this shape.
    Whole(Template, Option<Vec<usize>>),
    Part(Template, EqualPart),
    Several {
        variables: Vec<Template>,
        axis: usize,
        stack: bool,
    },
    Constant(f64),
}

impl Entry {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn to_kind(&self) -> Result<Kind, String> {
        let layer = self.to_layer()?;
        self.says_one_thing(layer)?;
        let text = match (&self.path, &self.regex) {
            (Some(path), None) => path,
            (None, Some(regex)) => return self.with_regex(regex, layer),
            _ => return Err("it needs a `path` or a `regex`, and not both".into()),
        };
        let pattern = Pattern::new(text)?;
        let with_layer = |rule: Rule| match layer {
            Some(layer) => rule.layer(layer),
            None => rule,
        };
        if self.skip {
            return Ok(Kind::Skip(pattern));
        }
        if let Some(value) = self.constant {
            return self.made(pattern, From::Constant(value));
        }
        if let Some(scope) = &self.scope {
            return Ok(Kind::Rule(with_layer(Rule::scope(text, scope).map_err(message)?)));
        }
        match &self.variables {
            Some(Variables::Named(names)) => {
                let names = names.iter().map(|(leaf, name)| (leaf.as_str(), name.as_str()));
                let rule = Rule::variables(text, layer.unwrap_or_default(), names);
                return Ok(Kind::Rule(rule.map_err(message)?));
            }
            Some(Variables::List(names)) => return self.side_by_side(pattern, names),
            None => {}
        }
        let Some(name) = &self.variable else {
            return match layer {
                Some(layer) => Ok(Kind::Rule(Rule::kind(text, layer).map_err(message)?)),
                None => Err("it says nothing".into()),
            };
        };
        if let (Some(part), Some(of)) = (self.part, self.of) {
            return self.part(text, pattern, name, layer, (part, of));
        }
        match (&self.transpose, &self.shape) {
            (None, None) => Ok(Kind::Rule(with_layer(Rule::name(text, name).map_err(message)?))),
            (_, shape) => {
                let template = Template::new(name, &pattern)?;
                self.made(pattern, From::Whole(template, shape.clone()))
            }
        }
    }

    /// What does not go together.
    fn says_one_thing(&self, layer: Option<Layer>) -> Result<(), String> {
        let says = [
            self.scope.is_some(),
            self.variable.is_some(),
            self.variables.is_some(),
            self.constant.is_some(),
            self.skip,
        ];
        if let Some(name) = &self.dtype {
            super::dtype(name)?;
        }
        let is_list = matches!(self.variables, Some(Variables::List(_)));
        let is_named = matches!(self.variables, Some(Variables::Named(_)));
        match says.iter().filter(|says| **says).count() {
            0 if layer.is_some() => {}
            1 => {}
            0 => return Err("it says nothing: `scope`, `variable`, `variables`, `constant`, `skip` or `layer`".into()),
            _ => {
                return Err(
                    "it says several things: give one of `scope`, `variable`, `variables`, `constant`, `skip`".into(),
                );
            }
        }
        if is_named && layer.is_none() {
            return Err(
                "what the variables of a layer are called needs a `layer`: `lstm`, `multi_head_attention`, …".into(),
            );
        }
        let of_parameter = self.transpose.is_some() || self.shape.is_some() || self.shared;
        if of_parameter && self.variable.is_none() && !is_list {
            return Err("`transpose`, `shape` and `shared` go with a variable of a parameter".into());
        }
        if self.dtype.is_some() && self.variable.is_none() && self.variables.is_none() {
            return Err("`dtype` goes with a variable".into());
        }
        if self.part.is_some() != self.of.is_some() || (self.part.is_some() && self.variable.is_none()) {
            return Err("`part` and `of` go together, with a `variable` and an `axis`".into());
        }
        if (self.stack || self.axis.is_some()) && !is_list && self.part.is_none() {
            return Err("`axis` and `stack` go with a list of `variables` or `part`".into());
        }
        Ok(())
    }

    fn side_by_side(&self, pattern: Pattern, names: &[String]) -> Result<Kind, String> {
        let axis = self.axis.ok_or("`variables` need an `axis`")?;
        if names.is_empty() || self.shape.is_some() {
            return Err("`variables` are some, and of the shapes that follow from the parameter".into());
        }
        let variables = names.iter().map(|name| Template::new(name, &pattern));
        let variables = variables.collect::<Result<_, _>>()?;
        let stack = self.stack;
        self.made(pattern, From::Several { variables, axis, stack })
    }

    fn part(
        &self,
        text: &str,
        pattern: Pattern,
        name: &str,
        layer: Option<Layer>,
        (part, of): (usize, usize),
    ) -> Result<Kind, String> {
        let axis = self.axis.ok_or("a `part` needs an `axis`")?;
        if self.shape.is_some() {
            return Err("a `part` has no `shape`: give a `layer`, or a `transpose`".into());
        }
        let part = EqualPart::new(axis, part, of)?;
        match (layer, &self.transpose) {
            (Some(layer), None) => {
                let rule = Rule::name(text, name).map_err(message)?.layer(layer);
                let rule = rule.part(part.axis, part.part, part.of).map_err(message)?;
                Ok(Kind::Rule(rule))
            }
            _ => {
                let template = Template::new(name, &pattern)?;
                self.made(pattern, From::Part(template, part))
            }
        }
    }

    fn made(&self, pattern: Pattern, from: From) -> Result<Kind, String> {
        if let Some(axes) = &self.transpose {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..axes.len()) {
                return Err(format!("{axes:?} are not all axes, each once"));
            }
        }
        if self.layer.is_some() {
            return Err("`transpose`, `shape`, a list of `variables` and `constant` say all that `layer` would".into());
        }
        Ok(Kind::Made(MadeRule {
            pattern,
            from,
            transpose: self.transpose.clone(),
        }))
    }

    #[cfg(feature = "regex")]
    fn with_regex(&self, regex: &str, layer: Option<Layer>) -> Result<Kind, String> {
        match (
            &self.variable,
            self.transpose.is_none() && self.shape.is_none() && self.part.is_none(),
        ) {
            (Some(name), true) => {
                let rule = Rule::regex(regex, name).map_err(message)?;
                Ok(Kind::Rule(match layer {
                    Some(layer) => rule.layer(layer),
                    None => rule,
                }))
            }
            _ => Err("a `regex` only renames: give a `variable`, and write the rest with `path`".into()),
        }
    }

    #[cfg(not(feature = "regex"))]
    fn with_regex(&self, _: &str, _: Option<Layer>) -> Result<Kind, String> {
        Err("expressions need the feature `regex` of tfckpt".into())
    }
}

impl Kind {
    /// What a [`NameMap`](crate::map::NameMap) does by itself.
    pub(super) fn into_rule(self) -> Option<Rule> {
        match self {
            Kind::Rule(rule) => Some(rule),
            _ => None,
        }
    }
}

fn message(error: Error) -> String {
    match error {
        Error::InvalidArgument { what } => what,
        error => error.to_string(),
    }
}
