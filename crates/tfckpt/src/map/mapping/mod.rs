//! The names of a model's parameters as a file.

mod check;
mod draft;
mod entry;
mod kind;
mod layer;
mod made;
mod text;
mod whose;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names::NameMap;
use crate::dtype::DType;
pub use draft::{Draft, Uncertain};
use entry::Entry;
pub(in crate::map) use made::Making;

/// How the parameters of a model follow from the variables of a checkpoint, as a JSON or TOML file: [`open`](Self::open).
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
///         { "path": "norm.weight", "constant": 1 },
///         { "path": "decoder", "layer": "lstm", "cell": "basic_lstm_cell", "variables": { "kernel": "dec/W", "bias": "dec/b" } }
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
/// A rule begins with `path`, a pattern as those of [`Rule`](super::Rule), or `regex`, an expression for whole paths, and then says one
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
/// | `layer` | with one of the first three, or alone: the kind of the layer, `dense`, `conv2d`, `lstm`, … |
/// | `layer`, `variables` | a module, which is a layer of this kind, with an object of what its variables are called |
/// | `transpose` | with a variable: axis `i` of the parameter is axis `transpose[i]` of the variable, whatever the layer |
/// | `shape` | with a variable: the shape that it has, where the parameter has another one |
/// | `dtype` | with a variable or those of a layer: what it is saved in |
/// | `shared` | with a variable: several parameters are this variable, and are equal |
/// | `note` | anything |
///
/// # Layers
///
/// `layer` is one of `dense`, `output_weights`, `pointwise_conv1d`, `pointwise_conv2d`, `conv1d`, `conv2d`, `conv3d`,
/// `depthwise_conv1d`, `depthwise_conv2d`, `separable_conv1d` and `separable_conv2d` with a `multiplier`, `conv1d_transpose`,
/// `conv2d_transpose`, `conv3d_transpose`, `batch_norm`, `layer_norm`, `group_norm`, `instance_norm`, `rms_norm`, `embedding`,
/// `prelu`, `multi_head_attention` with `heads`, `other`, and of these, whose parameters are no variables one by one:
///
/// | `layer` | `cell` | variables |
/// |---|---|---|
/// | `lstm` | `keras` (default) | `kernel`, `recurrent_kernel`, `bias` |
/// | | `basic_lstm_cell`, `lstm_cell`, `block_lstm`, with `forget_bias` (default 1) | `kernel`, `bias` |
/// | `gru` | `keras` (default), with `reset_after` (default true) | `kernel`, `recurrent_kernel`, `bias` |
/// | | `gru_cell` | `gates/kernel`, `gates/bias`, `candidate/kernel`, `candidate/bias` |
/// | `simple_rnn` | `keras` (default) | `kernel`, `recurrent_kernel`, `bias` |
/// | | `basic_rnn_cell` | `kernel`, `bias` |
///
/// The variables of a layer with two directions are named after `forward/` and `backward/`. [`Rule::variables`](super::Rule::variables) has the
/// others. All that the layer has need a name; without `variables` they are called as the cell has them, in the scope of the
/// layer. What no file says is in the report of a load: the order of the gates, and the forget bias.
///
/// # What counts
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
