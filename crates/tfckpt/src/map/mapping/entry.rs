//! A rule as it is written, and what it says.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dtype::DType;
use crate::map::layer::Layer;
use crate::map::names::{Pattern, Rule, Template};

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variables: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) axis: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<usize>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) stack: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) constant: Option<f64>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) skip: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) multiplier: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transpose: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shape: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dtype: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) shared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a rule says.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Modules, names of parameters, kinds of layers.
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
    Part {
        variable: Template,
        axis: usize,
        part: usize,
        of: usize,
    },
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
        let says = [
            self.scope.is_some(),
            self.variable.is_some(),
            self.variables.is_some(),
            self.constant.is_some(),
            self.skip,
        ];
        let layer = self.layer.as_deref().map(|name| self.layer(name)).transpose()?;
        if let Some(name) = &self.dtype {
            super::dtype(name)?;
        }
        let of_variable = self.transpose.is_some() || self.shape.is_some() || self.dtype.is_some() || self.shared;
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
        if of_variable && self.variable.is_none() && self.variables.is_none() {
            return Err("`transpose`, `shape`, `dtype` and `shared` go with a variable".into());
        }
        if self.part.is_some() != self.of.is_some() || (self.part.is_some() && self.variable.is_none()) {
            return Err("`part` and `of` go together, with a `variable` and an `axis`".into());
        }
        if (self.stack || self.axis.is_some()) && self.variables.is_none() && self.part.is_none() {
            return Err("`axis` and `stack` go with `variables` or `part`".into());
        }
        let text = match (&self.path, &self.regex) {
            (Some(path), None) => path,
            (None, Some(regex)) => return self.with_regex(regex, layer),
            _ => return Err("it needs a `path` or a `regex`, and not both".into()),
        };
        let message = |error: crate::Error| error.to_string();
        let pattern = Pattern::new(text)?;
        let template = |name: &String| Template::new(name, &pattern);
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
        if let Some(names) = &self.variables {
            let axis = self.axis.ok_or("`variables` need an `axis`")?;
            if names.is_empty() || self.shape.is_some() {
                return Err("`variables` are some, and of the shapes that follow from the parameter".into());
            }
            let variables = names.iter().map(template).collect::<Result<_, _>>()?;
            let stack = self.stack;
            return self.made(pattern, From::Several { variables, axis, stack });
        }
        let Some(name) = &self.variable else {
            return match layer {
                Some(layer) => Ok(Kind::Rule(Rule::kind(text, layer).map_err(message)?)),
                None => Err("it says nothing".into()),
            };
        };
        if let (Some(part), Some(of)) = (self.part, self.of) {
            let axis = self.axis.ok_or("a `part` needs an `axis`")?;
            if part >= of || self.shape.is_some() {
                return Err(format!("`part` is a number below `of`, {of}, and has no `shape`"));
            }
            let variable = template(name)?;
            return self.made(
                pattern,
                From::Part {
                    variable,
                    axis,
                    part,
                    of,
                },
            );
        }
        match (&self.transpose, &self.shape) {
            (None, None) => Ok(Kind::Rule(with_layer(Rule::name(text, name).map_err(message)?))),
            (_, shape) => self.made(pattern.clone(), From::Whole(template(name)?, shape.clone())),
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
            return Err("`transpose`, `shape`, `part`, `variables` and `constant` say all that `layer` would".into());
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
                let rule = Rule::regex(regex, name).map_err(|error| error.to_string())?;
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

    /// The kind of layer of this name.
    fn layer(&self, name: &str) -> Result<Layer, String> {
        let multiplier = || self.multiplier.ok_or_else(|| format!("`{name}` needs a `multiplier`"));
        let heads = || self.heads.ok_or_else(|| format!("`{name}` needs `heads`"));
        Ok(match name {
            "dense" => Layer::Dense,
            "output_weights" => Layer::OutputWeights,
            "conv1d" => Layer::Conv1d,
            "conv2d" => Layer::Conv2d,
            "conv3d" => Layer::Conv3d,
            "depthwise_conv1d" => Layer::DepthwiseConv1d {
                multiplier: multiplier()?,
            },
            "depthwise_conv2d" => Layer::DepthwiseConv2d {
                multiplier: multiplier()?,
            },
            "conv1d_transpose" => Layer::ConvTranspose1d,
            "conv2d_transpose" => Layer::ConvTranspose2d,
            "conv3d_transpose" => Layer::ConvTranspose3d,
            "batch_norm" => Layer::BatchNorm,
            "layer_norm" => Layer::LayerNorm,
            "group_norm" => Layer::GroupNorm,
            "instance_norm" => Layer::InstanceNorm,
            "rms_norm" => Layer::RmsNorm,
            "embedding" => Layer::Embedding,
            "prelu" => Layer::PRelu,
            "multi_head_attention" => Layer::MultiHeadAttention { heads: heads()? },
            "other" => Layer::Other,
            _ => return Err(format!("there is no layer `{name}` that a mapping can declare")),
        })
    }

    /// The dtype that its parameters are saved in.
    pub(super) fn stored(&self) -> Option<DType> {
        self.dtype.as_deref().and_then(DType::from_name)
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

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without_note = Entry {
            note: None,
            ..self.clone()
        };
        f.write_str(&serde_json::to_string(&without_note).unwrap_or_default())
    }
}
