//! BERT in Burn: three tables, and the `TransformerEncoder` of burn-nn. Whoever has it has the networks of Candle beside it.

use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor};

use super::networks::Kept;

#[derive(Module, Debug)]
pub(crate) struct Bert {
    embeddings: Embeddings,
    encoder: TransformerEncoder,
}

#[derive(Module, Debug)]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    layer_norm: LayerNorm,
}

/// A network and what its first word and all of its words are made into.
#[derive(Module, Debug)]
pub(crate) struct Heads {
    bert: Bert,
    pooler: Pooler,
    classifier: Linear,
    qa_outputs: Linear,
}

#[derive(Module, Debug)]
struct Pooler {
    dense: Linear,
}

pub(crate) fn bert(layers: usize, inner: usize, activation: ActivationConfig, device: &Device) -> Bert {
    let table = |size| EmbeddingConfig::new(size, 16).init(device);
    Bert {
        embeddings: Embeddings {
            word_embeddings: table(30),
            position_embeddings: table(12),
            token_type_embeddings: table(2),
            layer_norm: LayerNormConfig::new(16).with_epsilon(1e-12).init(device),
        },
        encoder: TransformerEncoderConfig::new(16, inner, 4, layers)
            .with_activation(activation)
            .with_layer_norm_eps(1e-12)
            .init(device),
    }
}

impl Bert {
    pub(crate) fn forward(&self, kept: &Kept, device: &Device) -> Tensor<3> {
        let ids = |name| -> Tensor<2, Int> {
            let rows = kept.ids(name).to_vec2::<u32>().unwrap();
            let (count, width) = (rows.len(), rows[0].len());
            let values: Vec<i32> = rows.into_iter().flatten().map(|id| id as i32).collect();
            Tensor::<1, Int>::from_ints(values.as_slice(), device).reshape([count, width])
        };
        let (words, types) = (ids("input_ids"), ids("token_type_ids"));
        let positions = Tensor::<1, Int>::arange(0..words.dims()[1] as i64, device).unsqueeze::<2>();
        let embeddings = &self.embeddings;
        let x = embeddings.word_embeddings.forward(words)
            + embeddings.token_type_embeddings.forward(types)
            + embeddings.position_embeddings.forward(positions);
        // What is true is not attended to.
        let padding: Tensor<2, Bool> = ids("input_mask").equal_elem(0);
        let x = TransformerEncoderInput::new(embeddings.layer_norm.forward(x)).mask_pad(padding);
        self.encoder.forward(x)
    }
}

/// The same numbers as a tensor of Candle, by which the others are compared.
pub(crate) fn candle<const D: usize>(x: Tensor<D>) -> candle_core::Tensor {
    let shape = x.dims().to_vec();
    let values: Vec<f32> = x.into_data().try_to_vec().unwrap();
    candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu).unwrap()
}

impl Heads {
    pub(crate) fn new(device: &Device) -> Self {
        Heads {
            bert: bert(1, 24, ActivationConfig::GeluApproximate, device),
            pooler: Pooler {
                dense: LinearConfig::new(16, 16).init(device),
            },
            classifier: LinearConfig::new(16, 3).init(device),
            qa_outputs: LinearConfig::new(16, 2).init(device),
        }
    }

    /// Of classes and of answers.
    pub(crate) fn forward(&self, kept: &Kept, device: &Device) -> [Tensor<2>; 2] {
        let x = self.bert.forward(kept, device);
        let first = x.clone().slice([0..2, 0..1]).squeeze_dim::<2>(1);
        let pooled = self.pooler.dense.forward(first).tanh();
        [
            self.classifier.forward(pooled),
            self.qa_outputs.forward(x).reshape([20, 2]),
        ]
    }
}
