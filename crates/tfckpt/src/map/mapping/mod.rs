//! The names of a model's parameters as a file.

mod check;
mod draft;
mod entry;
mod made;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names::{Averages, Casts, Indices, NameMap, Rule};
use crate::dtype::DType;
use crate::error::{Error, Result};
pub use draft::{Draft, Uncertain};
use entry::Entry;
pub(in crate::map) use made::Making;

/// How the parameters of a model follow from the variables of a checkpoint, as a JSON file.
///
/// ```
/// use tfckpt::map::{Layer, Mapping, NameMap};
///
/// # fn main() -> tfckpt::Result<()> {
/// let mapping = Mapping::from_json(r#"{
///     "names": "keras",
///     "rules": [
///         { "path": "encoder.layer.{i}", "scope": "encoder/layer_{i}" },
///         { "path": "attention.{p:q|k}.weight", "variable": "attention/{p}/w", "transpose": [1, 0] },
///         { "path": "head.weight", "variable": "output_weights", "layer": "output_weights" },
///         { "path": "norm.weight", "constant": 1 }
///     ],
///     "ignore": ["global_step"]
/// }"#)?;
/// let names = NameMap::from(mapping);
/// assert_eq!(names.names("encoder.layer.3.fc.weight", Layer::Dense), ["encoder/layer_3/fc/kernel"]);
/// # Ok(())
/// # }
/// ```
///
/// # The file
///
/// | key | value | default |
/// |---|---|---|
/// | `names` | whose names the others are: `keras`, `keras2`, `tf_layers`, `slim`, `identity` | `keras` |
/// | `scope`, `model_scope`, `within` | as the methods of [`NameMap`] | none |
/// | `indices` | `scopes`, `suffixes`, `uniquified` | that of the names |
/// | `averages` | `never`, `trained`, `all`, `where_there` | `never` |
/// | `cast` | `never`, `exact`, `lossy` | `never` |
/// | `rules` | what follows | none |
/// | `ignore` | patterns of variables that nobody misses, which the report does not list | none |
///
/// A rule begins with `path`, a pattern as those of [`Rule`], or `regex`, an expression for whole paths, and then says one
/// of these:
///
/// | key | what the path is of, and what it says |
/// |---|---|
/// | `scope` | a module, which is this scope |
/// | `variable` | a parameter, which is this variable |
/// | `variable`, `axis`, `part`, `of` | a parameter, which is one of so many equal parts of a variable along an axis |
/// | `variables`, `axis` | a parameter, which is these variables side by side along an axis; with `"stack": true`, along a new one |
/// | `constant` | a parameter, which is this number everywhere and no variable |
/// | `skip` | a parameter, which is neither loaded nor saved |
/// | `layer` | with one of the first two, or alone: the kind of the layer, `dense`, `conv2d`, `depthwise_conv2d` with `multiplier`, … |
/// | `transpose` | with a variable: axis `i` of the parameter is axis `transpose[i]` of the variable, whatever the layer |
/// | `shape` | with a variable: the shape that it has, where the parameter has another one |
/// | `dtype` | with a variable: what it is saved in |
/// | `shared` | with a variable: several parameters are this variable, and are equal |
/// | `note` | anything |
///
/// Of two rules for one parameter that without captures counts; two of a kind are ambiguous. [`check`](Self::check) says
/// what is wrong with a mapping for a model, and adapters call it by themselves: a mapping that is ambiguous, of which a
/// rule is of no use, or in which two parameters are one variable, is an error.
///
/// What is read is written back. A parameter that is one part of a variable is written only if there are rules for the
/// other parts; a constant is not written, and has to be what it was.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<Whose>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    indices: Option<IndicesName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    averages: Option<AveragesName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cast: Option<CastName>,
    #[serde(default)]
    rules: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ignore: Vec<String>,
}

/// Numbers come from JSON, which has no NaN.
impl Eq for Mapping {}

macro_rules! words {
    ($name:ident: $($word:ident)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum $name { $($word),* }
    };
}

words!(Whose: Keras Keras2 Keras3 TfLayers Slim Identity);
words!(IndicesName: Scopes Suffixes Uniquified);
words!(AveragesName: Never Trained All WhereThere);
words!(CastName: Never Exact Lossy);

impl Mapping {
    /// Reads a mapping, and checks every rule by itself.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the line, or the number of the rule.
    pub fn from_json(text: &str) -> Result<Self> {
        let mapping: Mapping =
            serde_json::from_str(text).map_err(|error| Error::invalid(format!("this is no mapping: {error}")))?;
        for (number, entry) in mapping.rules.iter().enumerate() {
            entry
                .to_kind()
                .map_err(|reason| Error::invalid(format!("rule {} of the mapping, {entry}: {reason}", number + 1)))?;
        }
        for pattern in &mapping.ignore {
            super::names::Pattern::new(pattern)
                .map_err(|reason| Error::invalid(format!("`{pattern}` of `ignore`: {reason}")))?;
        }
        Ok(mapping)
    }

    /// The same as JSON, a rule to a line.
    pub fn to_json(&self) -> String {
        let line = |entry: &Entry| serde_json::to_string(entry).unwrap_or_default();
        let rules: Vec<String> = self.rules.iter().map(line).collect();
        let rest = Mapping {
            rules: Vec::new(),
            ..self.clone()
        };
        let text = serde_json::to_string_pretty(&rest).unwrap_or_default();
        match rules.is_empty() {
            true => text,
            false => text.replacen(
                "\"rules\": []",
                &format!("\"rules\": [\n    {}\n  ]", rules.join(",\n    ")),
                1,
            ),
        }
    }

    fn to_names(&self) -> NameMap {
        let mut names = match self.names {
            None | Some(Whose::Keras | Whose::Keras3) => NameMap::keras(),
            Some(Whose::Keras2) => NameMap::keras2(),
            Some(Whose::TfLayers) => NameMap::tf_layers(),
            Some(Whose::Slim) => NameMap::slim(),
            Some(Whose::Identity) => NameMap::identity(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        names = names
            .scope(text(&self.scope))
            .model_scope(text(&self.model_scope))
            .within(text(&self.within));
        if let Some(indices) = self.indices {
            names = names.indices(match indices {
                IndicesName::Scopes => Indices::Scopes,
                IndicesName::Suffixes => Indices::Suffixes,
                IndicesName::Uniquified => Indices::Uniquified,
            });
        }
        names = names.averages(match self.averages {
            None | Some(AveragesName::Never) => Averages::Never,
            Some(AveragesName::Trained) => Averages::Trained,
            Some(AveragesName::All) => Averages::All,
            Some(AveragesName::WhereThere) => Averages::WhereThere,
        });
        names = names.cast(match self.cast {
            None | Some(CastName::Never) => Casts::Never,
            Some(CastName::Exact) => Casts::Exact,
            Some(CastName::Lossy) => Casts::Lossy,
        });
        // Those without captures come first.
        let kinds = self.rules.iter().filter_map(|entry| entry.to_kind().ok());
        let mut rules: Vec<Rule> = kinds.filter_map(entry::Kind::into_rule).collect();
        rules.sort_by_key(|rule| !rule.is_exact());
        names.rules(rules)
    }
}

impl From<Mapping> for NameMap {
    fn from(mapping: Mapping) -> Self {
        let names = mapping.to_names();
        names.with_mapping(Arc::new(Making::new(mapping)))
    }
}

impl From<&Mapping> for NameMap {
    fn from(mapping: &Mapping) -> Self {
        mapping.clone().into()
    }
}

/// The dtype that a rule gives.
fn dtype(name: &str) -> Result<DType, String> {
    DType::from_name(name).ok_or_else(|| format!("there is no dtype `{name}`"))
}
