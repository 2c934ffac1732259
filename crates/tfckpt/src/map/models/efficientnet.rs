//! EfficientNet, as tensorflow/tpu stores it.

use super::{Layer, NameMap, Rule, scope};

/// # EfficientNet
impl NameMap {
    /// The names of EfficientNet, whose scope is `efficientnet-b0` or another, for Candle's `EfficientNet` of
    /// candle-transformers, whose paths are those of torchvision. `repeats` says how many blocks each stage has:
    ///
    /// | | |
    /// |---|---|
    /// | B0 | `[1, 2, 2, 3, 3, 4, 1]` |
    /// | B1, B2 | `[2, 3, 3, 4, 4, 5, 2]` |
    /// | B3 | `[2, 3, 3, 5, 5, 6, 2]` |
    /// | B4 | `[2, 4, 4, 6, 6, 8, 2]` |
    /// | B5 | `[3, 5, 5, 7, 7, 9, 3]` |
    /// | B6 | `[3, 6, 6, 8, 8, 11, 3]` |
    /// | B7 | `[4, 7, 7, 10, 10, 13, 4]` |
    ///
    /// | Candle, torchvision | TensorFlow |
    /// |---|---|
    /// | `features.0.0`, `….1` | `efficientnet-b0/stem/conv2d`, `…/tpu_batch_normalization` |
    /// | `features.2.0.block.0.0`, `….1` | `efficientnet-b0/blocks_1/conv2d`, `…/tpu_batch_normalization` |
    /// | `features.2.0.block.1.0`, `….1` | `efficientnet-b0/blocks_1/depthwise_conv2d`, `…/tpu_batch_normalization_1` |
    /// | `features.2.0.block.2.fc1`, `….fc2` | `efficientnet-b0/blocks_1/se/conv2d`, `…/conv2d_1` |
    /// | `features.2.0.block.3.0`, `….1` | `efficientnet-b0/blocks_1/conv2d_1`, `…/tpu_batch_normalization_2` |
    /// | `features.8.0`, `….1` | `efficientnet-b0/head/conv2d`, `…/tpu_batch_normalization` |
    /// | `classifier.1` | `efficientnet-b0/head/dense` |
    ///
    /// The blocks of the first stage expand nothing, so that their numbers, on both sides, begin one earlier. Epsilon is
    /// 1e-3. Published models are evaluated with their moving averages: `averages(Averages::All)`.
    pub fn efficientnet(network: &str, repeats: &[usize]) -> Self {
        let mut rules = layer("features.0", "stem", "", "");
        let mut number = 0;
        for (stage, &repeats) in repeats.iter().enumerate() {
            for repeat in 0..repeats {
                let module = format!("features.{}.{repeat}.block", stage + 1);
                rules.extend(block(&module, &format!("blocks_{number}"), stage > 0));
                number += 1;
            }
        }
        rules.extend(layer(&format!("features.{}", repeats.len() + 1), "head", "", ""));
        rules.push(scope("classifier.1", "head/dense").layer(Layer::Dense));
        NameMap::keras2().scope(network).rules(rules)
    }
}

/// A block, with what expands its channels or without.
fn block(module: &str, place: &str, expands: bool) -> Vec<Rule> {
    let part = |number: usize| format!("{module}.{}", number + usize::from(expands));
    let mut rules = Vec::new();
    // Layers are numbered as they are called.
    let [first, second, third] = if expands { ["", "_1", "_2"] } else { ["", "", "_1"] };
    if expands {
        rules.extend(layer(&format!("{module}.0"), place, "", first));
    }
    let depthwise = Layer::DepthwiseConv2d { multiplier: 1 };
    rules.extend([
        scope(&format!("{}.0", part(0)), &format!("{place}/depthwise_conv2d")).layer(depthwise),
        norm(&part(0), place, second),
        scope(&format!("{}.fc1", part(1)), &format!("{place}/se/conv2d")).layer(Layer::Conv2d),
        scope(&format!("{}.fc2", part(1)), &format!("{place}/se/conv2d_1")).layer(Layer::Conv2d),
    ]);
    rules.extend(layer(&part(2), place, if expands { "_1" } else { "" }, third));
    rules
}

/// A convolution and its batch normalization, with the suffixes of their names.
fn layer(module: &str, place: &str, convolution: &str, normalization: &str) -> Vec<Rule> {
    let conv = scope(&format!("{module}.0"), &format!("{place}/conv2d{convolution}"));
    vec![conv.layer(Layer::Conv2d), norm(module, place, normalization)]
}

fn norm(module: &str, place: &str, suffix: &str) -> Rule {
    let place = format!("{place}/tpu_batch_normalization{suffix}");
    scope(&format!("{module}.1"), &place).layer(Layer::BatchNorm)
}
