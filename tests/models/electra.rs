//! ELECTRA: with Candle's `BertModel` where nothing is projected, and otherwise with a projection in front of its encoder.

use candle_core::{DType, Module, Result, Tensor};
use candle_nn::{LayerNorm, Linear, VarBuilder, linear};
use candle_transformers::models::bert::{BertEncoder, BertModel, Config, HiddenAct};
use tfckpt::map::NameMap;

use crate::kept::{Kept, Tables, layer_norm};

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
        let mask = crate::kept::hides(&kept.ids("input_mask"))?;
        self.encoder.forward(&self.project.forward(&x)?, &mask)
    }
}

/// Which words were replaced.
fn discriminate(kept: &Kept, x: &Tensor, vb: &VarBuilder) -> Result<()> {
    let vb = vb.pp("discriminator_predictions");
    let (dense, prediction) = (
        linear(16, 16, vb.pp("dense"))?,
        linear(16, 1, vb.pp("dense_prediction"))?,
    );
    let logits = prediction.forward(&dense.forward(x)?.gelu_erf()?)?.squeeze(2)?;
    kept.assert_computes("sequence_output", x);
    kept.assert_computes("logits", &logits);
    Ok(())
}

/// What is written for words that are masked.
fn generate(kept: &Kept, embedding: usize) -> Result<()> {
    let (import, vb) = kept.import(NameMap::electra_generator());
    let x = Projected::new(&vb.pp("electra"), embedding, 8, 2)?.forward(kept)?;
    kept.assert_computes("generator/sequence_output", &x);
    let dense = linear(8, embedding, vb.pp("generator_predictions.dense"))?;
    let norm = layer_norm(embedding, 1e-12, vb.pp("generator_predictions.LayerNorm"))?;
    let head = linear(embedding, 30, vb.pp("generator_lm_head"))?;
    let logits = head.forward(&norm.forward(&dense.forward(&x)?.gelu_erf()?)?)?;
    kept.assert_computes("generator/logits", &logits);
    assert!(import.report().is_complete());
    Ok(())
}

#[test]
fn a_small_electra_computes_what_it_computes_in_tensorflow() {
    let kept = Kept::open("electra_small");
    let (_, vb) = kept.import(NameMap::electra());
    let x = Projected::new(&vb.pp("electra"), 12, 16, 4)
        .unwrap()
        .forward(&kept)
        .unwrap();
    discriminate(&kept, &x, &vb).unwrap();
    generate(&kept, 12).unwrap();
}

#[test]
fn a_base_electra_is_a_bert_of_candle() {
    let kept = Kept::open("electra_base");
    let (_, vb) = kept.import(NameMap::electra());
    let model = BertModel::load(vb.pp("electra"), &config(16, 4)).unwrap();
    let [ids, types, mask] = ["input_ids", "token_type_ids", "input_mask"].map(|name| kept.ids(name));
    let x = model.forward(&ids, &types, Some(&mask)).unwrap();
    assert_eq!(x.dtype(), DType::F32);
    discriminate(&kept, &x, &vb).unwrap();
    generate(&kept, 16).unwrap();
}

#[test]
fn electra_is_saved_as_google_stores_it() {
    let kept = Kept::open("electra_small");
    let report = kept.assert_saved_as_it_was(&NameMap::electra(), |vb| {
        linear(16, 16, vb.pp("discriminator_predictions.dense"))?;
        linear(16, 1, vb.pp("discriminator_predictions.dense_prediction"))?;
        Projected::new(&vb.pp("electra"), 12, 16, 4)
    });
    assert_eq!(report.loaded.len(), 27);
}

#[test]
#[should_panic(expected = "differs by")]
fn the_scale_of_another_normalization_is_seen_in_the_outputs() {
    let kept = Kept::open("electra_small");
    let scale = "electra.encoder.layer.0.attention.output.LayerNorm.weight";
    let (_, vb) = kept.import(NameMap::electra().rename(scale, "electra/encoder/layer_0/output/LayerNorm/gamma"));
    let x = Projected::new(&vb.pp("electra"), 12, 16, 4)
        .unwrap()
        .forward(&kept)
        .unwrap();
    discriminate(&kept, &x, &vb).unwrap();
}
