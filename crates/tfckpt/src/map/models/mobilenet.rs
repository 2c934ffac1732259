//! MobileNet, as slim stores it.

use super::{Layer, NameMap, Rule, head, scope};

/// More pairs of layers than a MobileNet has, 13.
const PAIRS: usize = 32;

const DEPTHWISE: Layer = Layer::DepthwiseConv2d { multiplier: 1 };

/// # MobileNet
impl NameMap {
    /// The names of slim's MobileNet v1, for networks with the paths of Hugging Face, which may begin with `mobilenet_v1.`
    /// or not.
    ///
    /// | Hugging Face | TensorFlow |
    /// |---|---|
    /// | `conv_stem.convolution`, `conv_stem.normalization` | `MobilenetV1/Conv2d_0`, `…/BatchNorm` |
    /// | `layer.0.convolution`, `layer.0.normalization` | `MobilenetV1/Conv2d_1_depthwise`, `…/BatchNorm` |
    /// | `layer.1.convolution`, `layer.1.normalization` | `MobilenetV1/Conv2d_1_pointwise`, `…/BatchNorm` |
    /// | `classifier`, a dense layer | `MobilenetV1/Logits/Conv2d_1c_1x1 [1, 1, in, out]` |
    ///
    /// Epsilon is 1e-3, the activation is ReLU6, and `SAME` padding with a stride of 2 pads an image of even size at the
    /// right and the bottom alone. Published models are read with [`averages`](Self::averages) as they are evaluated.
    pub fn mobilenet_v1() -> Self {
        let mut rules = layer("conv_stem", "MobilenetV1/Conv2d_0", Layer::Conv2d).to_vec();
        for pair in 0..PAIRS {
            let kinds = [("depthwise", DEPTHWISE), ("pointwise", Layer::Conv2d)];
            for (half, (kind, of)) in kinds.into_iter().enumerate() {
                let place = format!("MobilenetV1/Conv2d_{}_{kind}", pair + 1);
                rules.extend(layer(&format!("layer.{}", 2 * pair + half), &place, of));
            }
        }
        rules.extend(classifier("MobilenetV1"));
        NameMap::slim().model_scope("mobilenet_v1").rules(rules)
    }

    /// The names of slim's MobileNet v2, for networks with the paths of Hugging Face, which may begin with `mobilenet_v2.`
    /// or not.
    ///
    /// | Hugging Face | TensorFlow |
    /// |---|---|
    /// | `conv_stem.first_conv.convolution` | `MobilenetV2/Conv` |
    /// | `conv_stem.conv_3x3.convolution` | `MobilenetV2/expanded_conv/depthwise` |
    /// | `conv_stem.reduce_1x1.convolution` | `MobilenetV2/expanded_conv/project` |
    /// | `layer.0.expand_1x1.convolution` | `MobilenetV2/expanded_conv_1/expand` |
    /// | `layer.0.conv_3x3.convolution` | `MobilenetV2/expanded_conv_1/depthwise` |
    /// | `layer.0.reduce_1x1.convolution` | `MobilenetV2/expanded_conv_1/project` |
    /// | `conv_1x1.convolution` | `MobilenetV2/Conv_1` |
    /// | `….normalization` beside each of these | `…/BatchNorm` |
    /// | `classifier`, a dense layer | `MobilenetV2/Logits/Conv2d_1c_1x1 [1, 1, in, out]` |
    ///
    /// Epsilon, padding and averages are as for [`mobilenet_v1`](Self::mobilenet_v1).
    pub fn mobilenet_v2() -> Self {
        let mut rules = Vec::new();
        for (module, place, of) in [
            ("conv_stem.first_conv", "Conv", Layer::Conv2d),
            ("conv_stem.conv_3x3", "expanded_conv/depthwise", DEPTHWISE),
            ("conv_stem.reduce_1x1", "expanded_conv/project", Layer::Conv2d),
            ("layer.{i}.expand_1x1", "expanded_conv_{i+1}/expand", Layer::Conv2d),
            ("layer.{i}.conv_3x3", "expanded_conv_{i+1}/depthwise", DEPTHWISE),
            ("layer.{i}.reduce_1x1", "expanded_conv_{i+1}/project", Layer::Conv2d),
            ("conv_1x1", "Conv_1", Layer::Conv2d),
        ] {
            rules.extend(layer(module, &format!("MobilenetV2/{place}"), of));
        }
        rules.extend(classifier("MobilenetV2"));
        NameMap::slim().model_scope("mobilenet_v2").rules(rules)
    }
}

/// A convolution and its batch normalization.
fn layer(module: &str, place: &str, convolution: Layer) -> [Rule; 2] {
    [
        scope(&format!("{module}.convolution"), place).layer(convolution),
        scope(&format!("{module}.normalization"), &format!("{place}/BatchNorm")).layer(Layer::BatchNorm),
    ]
}

fn classifier(network: &str) -> [Rule; 2] {
    let names = ["weights", "biases"].map(|name| format!("{network}/Logits/Conv2d_1c_1x1/{name}"));
    head(
        "classifier",
        Layer::PointwiseConv2d,
        names.each_ref().map(String::as_str),
    )
}
