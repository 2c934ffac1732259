//! What kind of layer a module is, told from what it asks for.
//!
//! Candle's layers all call their parameters `weight` and `bias`, and a shape does not tell a square dense kernel
//! from an embedding. The initialisation that a layer asks for does:
//!
//! | layer | `weight` | initialisation |
//! |---|---|---|
//! | `linear`, `conv1d`, `conv2d` | rank 2, 3, 4 | Kaiming |
//! | `embedding` | rank 2 | normal, mean 0, deviation 1 |
//! | `conv_transpose1d`, `conv_transpose2d` | rank 3, 4 | uniform |
//! | `batch_norm` | rank 1, beside `running_mean` | 1 |
//! | `layer_norm`, `group_norm` | rank 1, beside `bias` | 1 |
//! | `rms_norm` | rank 1, alone | 1 |
//! | `prelu` | rank 1 | another constant |
//!
//! Depthwise convolutions look like other grouped convolutions, which TensorFlow has, too: they must be declared.
//! Recurrent layers are known by the names of their parameters.

use std::collections::BTreeMap;

use candle_nn::Init;
use tfckpt::map::{Layer, Role};

/// What is known of a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) dims: Vec<usize>,
    /// The initialisation that was asked for; `None` if nobody heard.
    pub(crate) hint: Option<Init>,
    /// The kind of layer that the names in a checkpoint told.
    pub(crate) told: Option<Layer>,
}

/// Parameters by path.
pub(crate) type Params = BTreeMap<String, Param>;

/// Whether all parameters of a module are known, or more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    All,
    SoFar,
}

/// The path of the module, and the field in it.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// The kinds of layer that the module at `path` can be; one if it is certain.
pub(crate) fn kinds(params: &Params, path: &str, known: Known) -> Vec<Layer> {
    let field = |name: &str| match path {
        "" => params.get(name),
        _ => params.get(&format!("{path}.{name}")),
    };
    if field("running_mean").or(field("running_var")).is_some() {
        return vec![Layer::BatchNorm];
    }
    if field("gamma").or(field("beta")).is_some() {
        return vec![Layer::LayerNorm];
    }
    let (weight, bias) = (field("weight"), field("bias"));
    if let Some(told) = weight.and_then(|weight| weight.told) {
        return vec![told];
    }
    match (weight, bias, known) {
        (Some(weight), Some(_), _) => of_weight(weight)
            .into_iter()
            .filter(|kind| !matches!(kind, Layer::RmsNorm | Layer::Embedding))
            .collect(),
        (Some(weight), None, Known::SoFar) => of_weight(weight),
        // A scale without a shift.
        (Some(weight), None, Known::All) if is_one(weight) => vec![Layer::RmsNorm],
        (Some(weight), None, Known::All) => of_weight(weight),
        (None, Some(bias), Known::SoFar) => of_bias(bias),
        (None, _, _) => vec![Layer::Other],
    }
}

/// The kind of layer that the module at `path` is, if that is certain; [`Layer::Other`] otherwise.
pub(crate) fn certain_kind(params: &Params, path: &str, known: Known) -> Layer {
    match kinds(params, path, known).as_slice() {
        [kind] => *kind,
        _ => Layer::Other,
    }
}

/// All kinds whose parameters may be called `field`.
pub(crate) fn kinds_with(field: &str) -> &'static [Layer] {
    match Role::of_field(field) {
        _ if field == "gamma" || field == "beta" => &[Layer::LayerNorm],
        _ if field == "alpha" => &[Layer::PRelu],
        Role::RunningMean | Role::RunningVar => &[Layer::BatchNorm],
        Role::Bias => &[Layer::Dense, Layer::LayerNorm],
        Role::Weight => &[
            Layer::Dense,
            Layer::LayerNorm,
            Layer::RmsNorm,
            Layer::Embedding,
            Layer::PRelu,
            Layer::Other,
        ],
        _ => &[Layer::Other],
    }
}

fn of_weight(weight: &Param) -> Vec<Layer> {
    use Layer::*;
    match (weight.dims.len(), weight.hint) {
        (1, Some(Init::Const(1.0))) => vec![LayerNorm, RmsNorm],
        (1, Some(Init::Const(value))) if value != 0.0 => vec![PRelu],
        (1, _) => vec![LayerNorm, RmsNorm, PRelu, Other],
        (2, Some(Init::Kaiming { .. })) => vec![Dense],
        (2, Some(Init::Randn { mean: 0.0, stdev: 1.0 })) => vec![Embedding],
        (2, _) => vec![Dense, Embedding, Other],
        (3, Some(Init::Kaiming { .. })) => vec![Conv1d],
        (3, Some(Init::Uniform { .. })) => vec![ConvTranspose1d],
        (3, _) => vec![Conv1d, Other],
        (4, Some(Init::Kaiming { .. })) => vec![Conv2d],
        (4, Some(Init::Uniform { .. })) => vec![ConvTranspose2d],
        (4, _) => vec![Conv2d, Other],
        (5, _) => vec![Conv3d, Other],
        _ => vec![Other],
    }
}

fn of_bias(bias: &Param) -> Vec<Layer> {
    match bias.hint {
        Some(Init::Uniform { .. }) => vec![Layer::Dense],
        _ if bias.dims.len() == 1 => vec![Layer::Dense, Layer::LayerNorm],
        _ => vec![Layer::Other],
    }
}

fn is_one(weight: &Param) -> bool {
    weight.dims.len() == 1 && matches!(weight.hint, Some(Init::Const(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(fields: &[(&str, usize, Init)]) -> Params {
        let param = |&(field, rank, hint): &(&str, usize, Init)| {
            (
                format!("m.{field}"),
                Param {
                    dims: vec![1; rank],
                    hint: Some(hint),
                    told: None,
                },
            )
        };
        fields.iter().map(param).collect()
    }

    const ONE: Init = Init::Const(1.0);
    const ZERO: Init = Init::Const(0.0);
    const NORMAL: Init = Init::Randn { mean: 0.0, stdev: 1.0 };
    const UNIFORM: Init = Init::Uniform { lo: -0.1, up: 0.1 };

    #[test]
    fn each_layer_is_told_by_what_it_asks_for() {
        let kaiming = candle_nn::init::DEFAULT_KAIMING_NORMAL;
        let cases: [(&[_], Layer); 9] = [
            (&[("weight", 2, kaiming), ("bias", 1, UNIFORM)], Layer::Dense),
            (&[("weight", 2, NORMAL)], Layer::Embedding),
            (&[("weight", 3, kaiming)], Layer::Conv1d),
            (&[("weight", 4, kaiming)], Layer::Conv2d),
            (&[("weight", 4, UNIFORM), ("bias", 1, UNIFORM)], Layer::ConvTranspose2d),
            (&[("weight", 1, ONE), ("bias", 1, ZERO)], Layer::LayerNorm),
            (&[("weight", 1, ONE)], Layer::RmsNorm),
            (&[("weight", 1, Init::Const(0.25))], Layer::PRelu),
            (&[("weight", 1, ONE), ("running_mean", 1, ZERO)], Layer::BatchNorm),
        ];
        for (fields, expected) in cases {
            assert_eq!(kinds(&params(fields), "m", Known::All), [expected], "{fields:?}");
        }
    }

    #[test]
    fn what_is_not_certain_stays_open() {
        let linear_z = params(&[("weight", 2, ZERO), ("bias", 1, ZERO)]);
        assert_eq!(kinds(&linear_z, "m", Known::All), [Layer::Dense, Layer::Other]);
        let scale = params(&[("weight", 1, ONE)]);
        assert_eq!(kinds(&scale, "m", Known::SoFar), [Layer::LayerNorm, Layer::RmsNorm]);
    }
}
