//! Who gave the names: what each library calls layers and their parameters.

use crate::map::layer::{Layer, Role};

/// Whose names they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `kernel`, `gamma`; of several spellings that of Keras 3 is written.
    Keras,
    /// The same, with `depthwise_kernel`.
    Keras2,
    /// `weights`, `biases`.
    Slim,
    /// Attributes of Python objects.
    Objects,
    /// The framework's own.
    Identity,
}

/// What becomes of numbers in a path, those of a list of modules: see [`NameMap::indices`](super::NameMap::indices).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Indices {
    /// A scope of its own: `blocks.1.fc` is `blocks/1/fc`.
    #[default]
    Scopes,
    /// A suffix: `blocks_1/fc`, and the first `blocks_0/fc`.
    Suffixes,
    /// The suffix that TensorFlow gives to a scope that is there already: `blocks_1/fc`, and the first `blocks/fc`.
    Uniquified,
}

/// The role of a field, those of layers of the user's own included.
pub(super) fn role_of(field: &str) -> Role {
    match Role::of_field(field) {
        Role::Other => match field {
            "kernel" | "weights" | "embeddings" | "scale" | "w" => Role::Weight,
            "biases" | "shift" | "b" => Role::Bias,
            "moving_mean" => Role::RunningMean,
            "moving_variance" => Role::RunningVar,
            _ => Role::Other,
        },
        role => role,
    }
}

impl Style {
    /// What a parameter is called; the first is what is written, the others are read as well. Empty if there is no name
    /// for it.
    pub(super) fn leaves(self, layer: Layer, role: Role) -> Vec<&'static str> {
        use Layer::*;
        let depthwise = matches!(layer, DepthwiseConv1d { .. } | DepthwiseConv2d { .. });
        match (self, role) {
            // Of all Keras models, those of Keras 2 alone are found by the keys of their objects.
            (Style::Keras2 | Style::Objects, Role::Weight) if depthwise => vec!["depthwise_kernel", "kernel"],
            (Style::Slim, Role::Weight) if depthwise => vec!["depthwise_weights"],
            (Style::Slim, Role::Weight) => match layer {
                Dense | PointwiseConv1d | PointwiseConv2d | Conv1d | Conv2d | Conv3d | ConvTranspose1d
                | ConvTranspose2d | ConvTranspose3d => vec!["weights"],
                Embedding => vec!["embeddings"],
                SeparablePart { .. } => match layer.keras_names(role) {
                    ["depthwise_kernel"] => vec!["depthwise_weights"],
                    _ => vec!["pointwise_weights"],
                },
                _ => layer.keras_names(role).to_vec(),
            },
            (Style::Slim, Role::Bias) => match layer.keras_names(role) {
                ["bias"] => vec!["biases"],
                names => names.to_vec(),
            },
            // Keras 3 hides some behind an underscore.
            (Style::Objects, _) => {
                let names = layer.keras_names(role);
                let hidden = names.iter().filter_map(|name| match *name {
                    "kernel" => Some("_kernel"),
                    "embeddings" => Some("_embeddings"),
                    _ => None,
                });
                names.iter().copied().chain(hidden).collect()
            }
            _ => layer.keras_names(role).to_vec(),
        }
    }

    /// What a layer is called if nobody named it.
    pub(super) fn layer_name(self, layer: Layer) -> &'static str {
        use Layer::*;
        let keras = match layer {
            Dense => "dense",
            Conv1d | PointwiseConv1d => "conv1d",
            Conv2d | PointwiseConv2d => "conv2d",
            Conv3d => "conv3d",
            DepthwiseConv1d { .. } => "depthwise_conv1d",
            DepthwiseConv2d { .. } => "depthwise_conv2d",
            ConvTranspose1d => "conv1d_transpose",
            ConvTranspose2d => "conv2d_transpose",
            ConvTranspose3d => "conv3d_transpose",
            BatchNorm => "batch_normalization",
            LayerNorm => "layer_normalization",
            GroupNorm => "group_normalization",
            InstanceNorm => "instance_normalization",
            RmsNorm => "rms_normalization",
            Embedding => "embedding",
            PRelu | SharedPRelu { .. } => "p_re_lu",
            OutputWeights => "dense",
            SeparableConv1d { .. } => "separable_conv1d",
            SeparableConv2d { .. } => "separable_conv2d",
            PartialNorm { .. } => "batch_normalization",
            MultiHeadAttention { .. } => "multi_head_attention",
            Lstm { .. } => "lstm",
            Gru { .. } => "gru",
            Rnn { .. } => "simple_rnn",
            _ => "layer",
        };
        match (self, layer) {
            (Style::Slim, Dense) => "fully_connected",
            (Style::Slim, PointwiseConv1d | PointwiseConv2d | Conv1d | Conv2d | Conv3d) => "Conv",
            (Style::Slim, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) => "Conv2d_transpose",
            (Style::Slim, DepthwiseConv1d { .. } | DepthwiseConv2d { .. }) => "SeparableConv2d",
            (Style::Slim, BatchNorm) => "BatchNorm",
            (Style::Slim, LayerNorm) => "LayerNorm",
            (Style::Slim, GroupNorm) => "GroupNorm",
            (Style::Slim, InstanceNorm) => "InstanceNorm",
            _ => keras,
        }
    }
}

/// The scope of a module of this path, in the scope `base`.
pub(super) fn scope_of(base: &str, module: &str, indices: Indices) -> String {
    let mut scope = base.to_owned();
    for part in module.split('.').filter(|part| !part.is_empty()) {
        let is_index = !scope.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        match indices {
            Indices::Uniquified if is_index && part == "0" => continue,
            Indices::Suffixes | Indices::Uniquified if is_index => scope.push('_'),
            _ if !scope.is_empty() => scope.push('/'),
            _ => {}
        }
        scope.push_str(part);
    }
    scope
}
