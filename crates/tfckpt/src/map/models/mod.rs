//! Presets: what the variables of whole networks are called in the checkpoints that their authors published, as data.
//!
//! | preset | checkpoints of | paths are those of |
//! |---|---|---|
//! | [`NameMap::bert`] | google-research/bert | Candle's `BertModel` and `BertForMaskedLM`; Burn's `TransformerEncoder` |
//! | [`NameMap::albert`] | google-research/albert | Hugging Face |
//! | [`NameMap::electra`], [`NameMap::electra_generator`], [`NameMap::electra_untied_generator`], [`NameMap::electra_tied_generator`], [`NameMap::electra_task`] | google-research/electra | Hugging Face; Candle's `BertModel` for the wide ones |
//! | [`NameMap::mobilebert`] | google-research/mobilebert | Hugging Face |
//! | [`NameMap::gpt2`], [`NameMap::gpt2_conv1d`] | openai/gpt-2 | Hugging Face; Burn's `TransformerEncoder`; attention with query, key and value apart |
//! | [`NameMap::t5`], [`NameMap::mt5`] | T5 of Mesh TensorFlow | Candle's `T5EncoderModel` and `T5ForConditionalGeneration` |
//! | [`NameMap::mobilenet_v1`], [`NameMap::mobilenet_v2`] | slim | Hugging Face |
//! | [`NameMap::resnet_v1`] | slim | torchvision, as Candle's `resnet` has them |
//! | [`NameMap::resnet_v2`] | slim | timm |
//! | [`NameMap::efficientnet`] | tensorflow/tpu | Candle's `EfficientNet`, torchvision |
//!
//! Each is a list of [`Rule`]s and nothing else; what it does not name keeps the names of its style, so that a head of the
//! user's own is called as Keras would. They read and write. Heads that were left out in the model, the slots of optimizers
//! and `global_step` are unused variables in the report, which no load refuses.

mod albert;
mod bert;
mod efficientnet;
mod electra;
mod gpt2;
mod mobilebert;
mod mobilenet;
mod resnet;
mod t5;

use super::layer::Layer;
use super::names::{NameMap, Rule};
use crate::error::Result;

/// The module is this scope.
fn scope(pattern: &str, scope: &str) -> Rule {
    made(Rule::scope(pattern, scope))
}

/// The parameter has this name.
fn name(pattern: &str, name: &str) -> Rule {
    made(Rule::name(pattern, name))
}

/// The weight and the bias of the layer at `module` have these names.
fn head(module: &str, layer: Layer, [weight, bias]: [&str; 2]) -> [Rule; 2] {
    let of = |field, text| name(&format!("{module}.{field}"), text).layer(layer);
    [of("weight", weight), of("bias", bias)]
}

/// The parameter is one of so many equal parts of its variable.
fn part(rule: Rule, axis: usize, part: usize, of: usize) -> Rule {
    made(rule.part(axis, part, of))
}

/// One more name or scope that is read.
fn or(rule: Rule, name: &str) -> Rule {
    made(rule.or(name))
}

#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and a test makes every preset"
)]
fn made(rule: Result<Rule>) -> Rule {
    rule.expect("a rule")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{DenseOrder, Layout};

    /// For each preset a few paths, what a framework takes their layers for, and their names.
    #[test]
    fn presets_name_what_they_are_for() {
        use Layer::*;
        type Case<'a> = (NameMap, &'a [(&'a str, Layer, &'a str)]);
        let cases: [Case<'_>; 16] = [
            (
                NameMap::bert(),
                &[
                    (
                        "bert.embeddings.word_embeddings.weight",
                        Embedding,
                        "bert/embeddings/word_embeddings",
                    ),
                    (
                        "embeddings.LayerNorm.weight",
                        LayerNorm,
                        "bert/embeddings/LayerNorm/gamma",
                    ),
                    (
                        "bert.encoder.layer.11.attention.self.key.bias",
                        Dense,
                        "bert/encoder/layer_11/attention/self/key/bias",
                    ),
                    (
                        "encoder.layers.11.mha.key.weight",
                        Dense,
                        "bert/encoder/layer_11/attention/self/key/kernel",
                    ),
                    (
                        "encoder.layers.0.norm_2.gamma",
                        LayerNorm,
                        "bert/encoder/layer_0/output/LayerNorm/gamma",
                    ),
                    (
                        "cls.predictions.decoder.weight",
                        Dense,
                        "bert/embeddings/word_embeddings",
                    ),
                    ("cls.predictions.decoder.bias", Dense, "cls/predictions/output_bias"),
                    (
                        "cls.predictions.transform.dense.weight",
                        Dense,
                        "cls/predictions/transform/dense/kernel",
                    ),
                    ("classifier.weight", Dense, "output_weights"),
                    ("my_head.weight", Dense, "my_head/kernel"),
                ],
            ),
            (
                NameMap::albert(),
                &[(
                    "albert.encoder.albert_layer_groups.1.albert_layers.0.ffn_output.weight",
                    Dense,
                    "bert/encoder/transformer/group_1/inner_group_0/ffn_1/intermediate/output/dense/kernel",
                )],
            ),
            (
                NameMap::electra(),
                &[(
                    "discriminator_predictions.dense_prediction.weight",
                    Dense,
                    "discriminator_predictions/dense_1/kernel",
                )],
            ),
            (
                NameMap::electra_generator(),
                &[
                    (
                        "electra.embeddings.LayerNorm.bias",
                        LayerNorm,
                        "electra/embeddings/LayerNorm/beta",
                    ),
                    (
                        "electra.encoder.layer.0.output.dense.bias",
                        Dense,
                        "generator/encoder/layer_0/output/dense/bias",
                    ),
                ],
            ),
            (
                NameMap::electra_untied_generator(),
                &[
                    (
                        "electra.embeddings.position_embeddings.weight",
                        Embedding,
                        "generator/embeddings/position_embeddings",
                    ),
                    (
                        "generator_lm_head.weight",
                        Dense,
                        "generator/embeddings/word_embeddings",
                    ),
                ],
            ),
            (
                NameMap::electra_tied_generator(),
                &[
                    (
                        "electra.encoder.layer.0.output.dense.bias",
                        Dense,
                        "electra/encoder/layer_0/output/dense/bias",
                    ),
                    (
                        "generator_predictions.dense.weight",
                        Dense,
                        "generator_predictions/dense/kernel",
                    ),
                ],
            ),
            (
                NameMap::electra_task("sts"),
                &[
                    ("classifier.bias", Dense, "task_specific/sts/dense/bias"),
                    ("qa.end.weight", Dense, "task_specific/sts/dense_1/kernel"),
                    (
                        "electra.embeddings_project.bias",
                        Dense,
                        "electra/embeddings_project/bias",
                    ),
                ],
            ),
            (
                NameMap::mobilebert(),
                &[(
                    "mobilebert.encoder.layer.2.ffn.0.output.LayerNorm.weight",
                    Other,
                    "bert/encoder/layer_2/ffn_layer_0/output/FakeLayerNorm/gamma",
                )],
            ),
            (
                NameMap::gpt2(),
                &[("transformer.h.11.mlp.c_fc.weight", Dense, "model/h11/mlp/c_fc/w")],
            ),
            (
                NameMap::gpt2_conv1d(),
                &[("h.11.ln_1.bias", LayerNorm, "model/h11/ln_1/b")],
            ),
            (
                NameMap::t5(),
                &[
                    (
                        "decoder.block.11.layer.1.EncDecAttention.q.weight",
                        Dense,
                        "decoder/block_011/layer_001/EncDecAttention/q",
                    ),
                    (
                        "encoder.final_layer_norm.weight",
                        Other,
                        "encoder/final_layer_norm/scale",
                    ),
                ],
            ),
            (
                NameMap::mt5(),
                &[("encoder.final_layer_norm.weight", Other, "encoder/rms_norm/scale")],
            ),
            (
                NameMap::mobilenet_v1(),
                &[
                    (
                        "mobilenet_v1.layer.0.convolution.weight",
                        Conv2d,
                        "MobilenetV1/Conv2d_1_depthwise/depthwise_weights",
                    ),
                    (
                        "layer.25.normalization.running_var",
                        BatchNorm,
                        "MobilenetV1/Conv2d_13_pointwise/BatchNorm/moving_variance",
                    ),
                ],
            ),
            (
                NameMap::mobilenet_v2(),
                &[(
                    "layer.15.reduce_1x1.convolution.weight",
                    Conv2d,
                    "MobilenetV2/expanded_conv_16/project/weights",
                )],
            ),
            (
                NameMap::resnet_v1("resnet_v1_50"),
                &[(
                    "layer4.2.bn3.bias",
                    BatchNorm,
                    "resnet_v1_50/block4/unit_3/bottleneck_v1/conv3/BatchNorm/beta",
                )],
            ),
            (
                NameMap::efficientnet("efficientnet-b0", &[1, 2, 2, 3, 3, 4, 1]),
                &[
                    (
                        "features.1.0.block.2.0.weight",
                        Conv2d,
                        "efficientnet-b0/blocks_0/conv2d/kernel",
                    ),
                    (
                        "features.7.0.block.3.1.weight",
                        BatchNorm,
                        "efficientnet-b0/blocks_15/tpu_batch_normalization_2/gamma",
                    ),
                    ("features.8.0.weight", Conv2d, "efficientnet-b0/head/conv2d/kernel"),
                ],
            ),
        ];
        for (names, parameters) in cases {
            for &(path, layer, expected) in parameters {
                assert_eq!(
                    names.names(path, layer).first().map(String::as_str),
                    Some(expected),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn what_is_stored_otherwise_than_keras_would_has_its_own_layout() {
        let layout = |names: NameMap, path| {
            [DenseOrder::OutIn, DenseOrder::InOut].map(|order| names.layout(path, Layer::Dense, order))
        };
        let turned = Layout::Permuted(&[1, 0]);
        assert_eq!(layout(NameMap::bert(), "classifier.weight"), [Layout::Same, turned]);
        assert_eq!(
            layout(NameMap::bert(), "cls.predictions.decoder.weight"),
            [Layout::Same, turned]
        );
        assert_eq!(layout(NameMap::bert(), "pooler.dense.weight"), [turned, Layout::Same]);
        let window = |ones, permutation| Layout::Windowed { ones, permutation };
        let c_attn = "transformer.h.0.attn.c_attn.weight";
        assert_eq!(
            layout(NameMap::gpt2(), c_attn),
            [window(1, &[1, 0]), window(1, &[0, 1])]
        );
        assert_eq!(layout(NameMap::gpt2_conv1d(), c_attn), [window(1, &[0, 1]); 2]);
        assert_eq!(
            layout(NameMap::mobilenet_v1(), "classifier.weight"),
            [window(2, &[1, 0]), window(2, &[0, 1])]
        );
        let table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        assert_eq!(layout(NameMap::t5(), table), [turned; 2]);
    }
}
