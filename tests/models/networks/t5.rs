//! T5, with the networks of candle-transformers.

use candle_core::{Result, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::t5::{ActivationWithOptionalGating, Config, T5ForConditionalGeneration};

use super::{Kept, Network, Outputs};

pub(crate) fn config(gated: bool) -> Config {
    let activation = if gated { Activation::NewGelu } else { Activation::Relu };
    Config {
        vocab_size: 32,
        d_model: 16,
        d_kv: 4,
        d_ff: 24,
        num_layers: 2,
        num_heads: 3,
        feed_forward_proj: ActivationWithOptionalGating { gated, activation },
        tie_word_embeddings: !gated,
        // Or the decoder goes on with what it was given before.
        use_cache: false,
        ..Config::default()
    }
}

pub(crate) struct T5 {
    pub(crate) model: T5ForConditionalGeneration,
    gated: bool,
}

impl T5 {
    pub(crate) fn new(vb: &VarBuilder, gated: bool) -> Result<Self> {
        let model = T5ForConditionalGeneration::load(vb.clone(), &config(gated))?;
        Ok(T5 { model, gated })
    }

    /// Candle gives the logits of the last word alone: those of `length` words are asked for one by one.
    pub(crate) fn logits(&mut self, kept: &Kept, length: usize) -> Result<Tensor> {
        let encoded = self.model.encode(&kept.ids("input_ids"))?;
        let targets = kept.ids("decoder_input_ids");
        let one = |length| {
            self.model
                .decode(&targets.narrow(1, 0, length)?.contiguous()?, &encoded)
        };
        let logits = Tensor::stack(&(1..=length).map(one).collect::<Result<Vec<_>>>()?, 1)?;
        // With tied embeddings, Candle multiplies by the root of `d_model` where TensorFlow divides by it.
        if self.gated { Ok(logits) } else { logits / 16.0 }
    }
}

impl Network for T5 {
    /// The logits of the first 9 words alone: Candle takes farther ones for others.
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let encoded = self.model.encode(&kept.ids("input_ids"))?;
        Ok(vec![("encoder_output", encoded), ("logits", self.logits(kept, 9)?)])
    }
}
