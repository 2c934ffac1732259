//! ResNet, as slim stores it.

use super::{Layer, NameMap, head, scope};

/// # ResNet
impl NameMap {
    /// The names of slim's ResNet v1, whose scope is `resnet_v1_50` or another, for networks with the paths of torchvision,
    /// which are those of Candle's `resnet` module.
    ///
    /// | torchvision | TensorFlow |
    /// |---|---|
    /// | `conv1`, `bn1` | `resnet_v1_50/conv1`, `…/BatchNorm` |
    /// | `layer1.0.conv1`, `layer1.0.bn1` | `resnet_v1_50/block1/unit_1/bottleneck_v1/conv1`, `…/BatchNorm` |
    /// | `layer1.0.downsample.0`, `….1` | `resnet_v1_50/block1/unit_1/bottleneck_v1/shortcut`, `…/BatchNorm` |
    /// | `fc` | `resnet_v1_50/logits [1, 1, in, out]` |
    ///
    /// The variables of slim have the shapes of torchvision's, but the network is another one: in slim the *last* unit of a
    /// block has the stride, and the pool after the first convolution pads at the right and the bottom alone. `resnet50` of
    /// candle-transformers loads them and computes something else. Epsilon is 1e-5.
    pub fn resnet_v1(network: &str) -> Self {
        let unit = "block{b}/unit_{u+1}/bottleneck_v1";
        let mut rules = vec![
            scope("conv1", "conv1").layer(Layer::Conv2d),
            scope("bn1", "conv1/BatchNorm").layer(Layer::BatchNorm),
            scope("layer{b}.{u}.conv{c}", &format!("{unit}/conv{{c}}")).layer(Layer::Conv2d),
            scope("layer{b}.{u}.bn{c}", &format!("{unit}/conv{{c}}/BatchNorm")).layer(Layer::BatchNorm),
            scope("layer{b}.{u}.downsample.0", &format!("{unit}/shortcut")).layer(Layer::Conv2d),
            scope("layer{b}.{u}.downsample.1", &format!("{unit}/shortcut/BatchNorm")).layer(Layer::BatchNorm),
        ];
        rules.extend(head("fc", Layer::PointwiseConv2d, ["logits/weights", "logits/biases"]));
        NameMap::slim().scope(network).rules(rules)
    }

    /// The names of slim's ResNet v2, whose scope is `resnet_v2_50` or another, for networks with the paths of timm.
    ///
    /// | timm | TensorFlow |
    /// |---|---|
    /// | `stem.conv` | `resnet_v2_50/conv1` |
    /// | `stages.0.blocks.0.norm1` | `resnet_v2_50/block1/unit_1/bottleneck_v2/preact` |
    /// | `stages.0.blocks.0.conv1`, `….norm2` | `resnet_v2_50/block1/unit_1/bottleneck_v2/conv1`, `…/BatchNorm` |
    /// | `stages.0.blocks.0.conv2`, `….norm3` | `resnet_v2_50/block1/unit_1/bottleneck_v2/conv2`, `…/BatchNorm` |
    /// | `stages.0.blocks.0.conv3` | `resnet_v2_50/block1/unit_1/bottleneck_v2/conv3` |
    /// | `stages.0.blocks.0.downsample.conv` | `resnet_v2_50/block1/unit_1/bottleneck_v2/shortcut` |
    /// | `norm` | `resnet_v2_50/postnorm` |
    /// | `head.fc`, a convolution | `resnet_v2_50/logits` |
    ///
    /// The first convolution, the last one of a unit and the shortcut have biases and no batch normalization. Strides, the
    /// pool and epsilon are as in [`resnet_v1`](Self::resnet_v1).
    pub fn resnet_v2(network: &str) -> Self {
        let unit = |module: &str, place: &str, layer| {
            let place = format!("block{{s+1}}/unit_{{u+1}}/bottleneck_v2/{place}");
            scope(&format!("stages.{{s}}.blocks.{{u}}.{module}"), &place).layer(layer)
        };
        NameMap::slim().scope(network).rules([
            scope("stem.conv", "conv1").layer(Layer::Conv2d),
            unit("norm1", "preact", Layer::BatchNorm),
            unit("norm2", "conv1/BatchNorm", Layer::BatchNorm),
            unit("norm3", "conv2/BatchNorm", Layer::BatchNorm),
            unit("conv{c}", "conv{c}", Layer::Conv2d),
            unit("downsample.conv", "shortcut", Layer::Conv2d),
            scope("norm", "postnorm").layer(Layer::BatchNorm),
            scope("head.fc", "logits"),
        ])
    }
}
