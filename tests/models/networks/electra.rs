//! ELECTRA: with Candle's `BertModel` where nothing is projected, and otherwise with a projection in front of its encoder.

use candle_core::{IndexOp, Module, Result, Tensor};
use candle_nn::{LayerNorm, Linear, VarBuilder, linear};
use candle_transformers::models::bert::{BertEncoder, BertModel, Config, HiddenAct};

use super::bert::inputs;
use super::parts::{Tables, hides, layer_norm};
use super::{Kept, Network, Outputs};

fn config(width: usize, heads: usize) -> Config {
    Config {
        vocab_size: 30,
        hidden_size: width,
        num_hidden_layers: 1,
        num_attention_heads: heads,
        intermediate_size: 4 * width,
        hidden_act: HiddenAct::Gelu,
        max_position_embeddings: 12,
        ..Config::default()
    }
}

/// Embeddings that are projected to another width.
struct Projected {
    tables: Tables,
    norm: LayerNorm,
    project: Linear,
    encoder: BertEncoder,
}

impl Projected {
    fn new(vb: &VarBuilder, embedding: usize, width: usize, heads: usize) -> Result<Self> {
        Ok(Projected {
            tables: Tables::new(embedding, embedding, &vb.pp("embeddings"))?,
            norm: layer_norm(embedding, 1e-12, vb.pp("embeddings.LayerNorm"))?,
            project: linear(embedding, width, vb.pp("embeddings_project"))?,
            encoder: BertEncoder::load(vb.pp("encoder"), &config(width, heads))?,
        })
    }

    fn forward(&self, kept: &Kept) -> Result<Tensor> {
        let words = self.tables.words.forward(&kept.ids("input_ids"))?;
        let x = self
            .norm
            .forward(&self.tables.add(&words, &kept.ids("token_type_ids"))?)?;
        let mask = hides(&kept.ids("input_mask"))?;
        self.encoder.forward(&self.project.forward(&x)?, &mask)
    }
}

/// Which words were replaced.
struct Discriminator {
    dense: Linear,
    prediction: Linear,
}

impl Discriminator {
    fn new(vb: &VarBuilder) -> Result<Self> {
        let vb = vb.pp("discriminator_predictions");
        Ok(Discriminator {
            dense: linear(16, 16, vb.pp("dense"))?,
            prediction: linear(16, 1, vb.pp("dense_prediction"))?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Outputs> {
        let logits = self.prediction.forward(&self.dense.forward(&x)?.gelu_erf()?)?;
        Ok(vec![("logits", logits.squeeze(2)?), ("sequence_output", x)])
    }
}

/// A small one, whose embeddings are narrower than it is.
pub(crate) struct Projecting {
    body: Projected,
    head: Discriminator,
}

impl Projecting {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        Ok(Projecting {
            body: Projected::new(&vb.pp("electra"), 12, 16, 4)?,
            head: Discriminator::new(vb)?,
        })
    }
}

impl Network for Projecting {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        self.head.forward(self.body.forward(kept)?)
    }
}

/// One of the larger ones.
pub(crate) struct Base {
    body: BertModel,
    head: Discriminator,
}

impl Base {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        Ok(Base {
            body: BertModel::load(vb.pp("electra"), &config(16, 4))?,
            head: Discriminator::new(vb)?,
        })
    }
}

impl Network for Base {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let [ids, types, mask] = inputs(kept);
        self.head.forward(self.body.forward(&ids, &types, Some(&mask))?)
    }
}

/// What is made of a generator's words.
struct Words {
    dense: Linear,
    norm: LayerNorm,
    head: Linear,
}

impl Words {
    fn new(vb: &VarBuilder, width: usize, embedding: usize) -> Result<Self> {
        Ok(Words {
            dense: linear(width, embedding, vb.pp("generator_predictions.dense"))?,
            norm: layer_norm(embedding, 1e-12, vb.pp("generator_predictions.LayerNorm"))?,
            head: linear(embedding, 30, vb.pp("generator_lm_head"))?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Outputs> {
        let hidden = self.norm.forward(&self.dense.forward(&x)?.gelu_erf()?)?;
        Ok(vec![("logits", self.head.forward(&hidden)?), ("sequence_output", x)])
    }
}

/// What is written for words that are masked, by a network that is narrower than the embeddings that it shares.
pub(crate) struct Generator {
    body: Projected,
    words: Words,
}

impl Generator {
    pub(crate) fn new(vb: &VarBuilder, embedding: usize) -> Result<Self> {
        Ok(Generator {
            body: Projected::new(&vb.pp("electra"), embedding, 8, 2)?,
            words: Words::new(vb, 8, embedding)?,
        })
    }
}

impl Network for Generator {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        self.words.forward(self.body.forward(kept)?)
    }
}

/// A generator that is as wide as its embeddings, be they its own or those of the discriminator that it is one with.
pub(crate) struct WideGenerator {
    body: BertModel,
    words: Words,
}

impl WideGenerator {
    pub(crate) fn new(vb: &VarBuilder, width: usize, heads: usize) -> Result<Self> {
        Ok(WideGenerator {
            body: BertModel::load(vb.pp("electra"), &config(width, heads))?,
            words: Words::new(vb, width, width)?,
        })
    }
}

impl Network for WideGenerator {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let [ids, types, mask] = inputs(kept);
        self.words.forward(self.body.forward(&ids, &types, Some(&mask))?)
    }
}

/// Fine-tuned for a task with classes.
pub(crate) struct Classes {
    body: BertModel,
    classifier: Linear,
}

impl Classes {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        Ok(Classes {
            body: BertModel::load(vb.pp("electra"), &config(16, 4))?,
            classifier: linear(16, 3, vb.pp("classifier"))?,
        })
    }
}

impl Network for Classes {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let [ids, types, mask] = inputs(kept);
        let x = self.body.forward(&ids, &types, Some(&mask))?;
        let first = x.i((.., 0))?.contiguous()?;
        Ok(vec![("logits", self.classifier.forward(&first)?)])
    }
}

/// Fine-tuned for answers that are a part of the text: where they begin, where they end once that is known, and whether there
/// is one.
pub(crate) struct Answers {
    body: BertModel,
    start: Linear,
    end_hidden: Linear,
    end: Linear,
    answerable_hidden: Linear,
    answerable: Linear,
}

impl Answers {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let qa = vb.pp("qa");
        Ok(Answers {
            body: BertModel::load(vb.pp("electra"), &config(16, 4))?,
            start: linear(16, 1, qa.pp("start"))?,
            end_hidden: linear(32, 20, qa.pp("end_hidden"))?,
            end: linear(20, 1, qa.pp("end"))?,
            answerable_hidden: linear(32, 20, qa.pp("answerable_hidden"))?,
            answerable: linear(20, 1, qa.pp("answerable"))?,
        })
    }
}

impl Network for Answers {
    fn forward(&mut self, kept: &Kept) -> Result<Outputs> {
        let [ids, types, mask] = inputs(kept);
        let x = self.body.forward(&ids, &types, Some(&mask))?;
        let start = self.start.forward(&x)?.squeeze(2)?;
        // The word that each answer begins with, in front of every word.
        let at = kept.ids("start_positions").to_vec1::<u32>()?;
        let begins = at.iter().enumerate().map(|(row, at)| x.i((row, *at as usize)));
        let begins = Tensor::stack(&begins.collect::<Result<Vec<_>>>()?, 0)?;
        let pairs = Tensor::cat(&[&begins.unsqueeze(1)?.broadcast_as(x.shape())?.contiguous()?, &x], 2)?;
        let end = self.end.forward(&self.end_hidden.forward(&pairs)?.gelu_erf()?)?;
        let likely = candle_nn::ops::softmax(&start, 1)?
            .unsqueeze(1)?
            .matmul(&x)?
            .squeeze(1)?;
        let pair = Tensor::cat(&[&x.i((.., 0))?.contiguous()?, &likely], 1)?;
        let answerable = self
            .answerable
            .forward(&self.answerable_hidden.forward(&pair)?.gelu_erf()?)?;
        Ok(vec![
            ("start_logits", start),
            ("end_logits", end.squeeze(2)?),
            ("answerable_logit", answerable.squeeze(1)?),
        ])
    }
}
