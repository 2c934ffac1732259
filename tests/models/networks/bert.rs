//! BERT, with the networks of candle-transformers.

use candle_core::{IndexOp, Module, Result, Tensor};
use candle_nn::{Linear, VarBuilder, linear};
use candle_transformers::models::bert::{BertForMaskedLM, BertModel, Config, HiddenAct};

use super::{Kept, Network, Outputs};

/// As TensorFlow computes it in Google's code.
pub(crate) const TANH: HiddenAct = HiddenAct::GeluApproximate;

pub(crate) fn config(hidden_act: HiddenAct, layers: usize) -> Config {
    Config {
        vocab_size: 30,
        hidden_size: 16,
        num_hidden_layers: layers,
        num_attention_heads: 4,
        intermediate_size: 24,
        hidden_act,
        max_position_embeddings: 12,
        ..Config::default()
    }
}

/// The network, and what is made of the first word.
pub(crate) struct Pooled {
    bert: BertModel,
    pooler: Linear,
}

impl Pooled {
    pub(crate) fn new(vb: &VarBuilder, hidden_act: HiddenAct, layers: usize) -> Result<Self> {
        Ok(Pooled {
            bert: BertModel::load(vb.pp("bert"), &config(hidden_act, layers))?,
            pooler: linear(16, 16, vb.pp("bert.pooler.dense"))?,
        })
    }

    pub(crate) fn forward(&self, kept: &Kept) -> Result<[Tensor; 2]> {
        let [ids, types, mask] = inputs(kept);
        let x = self.bert.forward(&ids, &types, Some(&mask))?;
        let pooled = self.pooler.forward(&x.i((.., 0))?.contiguous()?)?.tanh()?;
        Ok([x, pooled])
    }
}

/// Words, types, and which words there are.
pub(crate) fn inputs(kept: &Kept) -> [Tensor; 3] {
    ["input_ids", "token_type_ids", "input_mask"].map(|name| kept.ids(name))
}

/// With the heads of its training.
pub(crate) struct Pretrained {
    body: Pooled,
    next: Linear,
    words: BertForMaskedLM,
}

impl Pretrained {
    pub(crate) fn new(vb: &VarBuilder, hidden_act: HiddenAct, layers: usize) -> Result<Self> {
        Ok(Pretrained {
            body: Pooled::new(vb, hidden_act, layers)?,
            next: linear(16, 2, vb.pp("cls.seq_relationship"))?,
            words: BertForMaskedLM::load(vb.clone(), &config(hidden_act, layers))?,
        })
    }
}

impl Network for Pretrained {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let [ids, types, mask] = inputs(kept);
        let [x, pooled] = self.body.forward(kept)?;
        Ok(vec![
            ("sequence_output", x),
            ("next_sentence_logits", self.next.forward(&pooled)?),
            ("pooled_output", pooled),
            ("masked_lm_logits", self.words.forward(&ids, &types, Some(&mask))?),
        ])
    }
}

/// With heads for classes and for answers, which Google's code puts beside the network.
pub(crate) struct FineTuned {
    body: Pooled,
    classifier: Linear,
    answers: Linear,
}

impl FineTuned {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        Ok(FineTuned {
            body: Pooled::new(vb, TANH, 1)?,
            classifier: linear(16, 3, vb.pp("classifier"))?,
            answers: linear(16, 2, vb.pp("qa_outputs"))?,
        })
    }
}

impl Network for FineTuned {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let [x, pooled] = self.body.forward(kept)?;
        Ok(vec![
            ("logits", self.classifier.forward(&pooled)?),
            ("squad_logits", self.answers.forward(&x)?.reshape(((), 2))?),
        ])
    }
}
