//! A BERT of candle-transformers, between two checkpoints of TensorFlow.

use std::fs;

use anyhow::{Context, Result};
use candle_core::{DType, Device, IndexOp, Module, Tensor};
use candle_nn::{LayerNorm, Linear, VarBuilder, VarMap, layer_norm, linear};
use candle_transformers::models::bert::{BertModel, Config, HiddenAct};
use serde_json::{Value, json};
use tfckpt::map::NameMap;
use tfckpt::{Checkpoint, Saver};
use tfckpt_candle::{Import, Variables};

/// The network with all of its heads.
struct Bert {
    bert: BertModel,
    pooler: Linear,
    next: Linear,
    transform: Linear,
    norm: LayerNorm,
    words: Tensor,
    bias: Tensor,
}

/// Builds a BERT from the checkpoint `prefix`, and prints what it computes of `inputs`; then changes every variable, saves
/// them in `directory`, and prints what it computes now.
pub(crate) fn bert(prefix: &str, inputs: &str, directory: &str) -> Result<()> {
    let inputs: Value = serde_json::from_slice(&fs::read(inputs)?)?;
    let (import, varmap) = (Import::new(Checkpoint::open(prefix)?, NameMap::bert()), VarMap::new());
    let (vb, layers) = import.init_from_checkpoint(&varmap, DType::F32, &Device::Cpu);
    let model = Bert::new(&vb)?;
    let missing: Vec<String> = import
        .report()
        .missing
        .into_iter()
        .map(|missing| missing.path)
        .collect();
    let loaded = model.forward(&inputs)?;
    for var in varmap.all_vars() {
        var.set(&((var.as_tensor() * 1.25)? + 0.01)?)?;
    }
    let variables = Variables::new(&varmap).layers(&layers).names(NameMap::bert());
    Saver::new(directory)
        .basename("bert_model.ckpt")
        .save(variables.to_save()?, 7)?;
    let changed = model.forward(&inputs)?;
    println!("{}", json!({"missing": missing, "loaded": loaded, "changed": changed}));
    Ok(())
}

impl Bert {
    fn new(vb: &VarBuilder) -> Result<Self> {
        let config = Config {
            vocab_size: 30,
            hidden_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 24,
            hidden_act: HiddenAct::GeluApproximate,
            max_position_embeddings: 12,
            ..Config::default()
        };
        let predictions = vb.pp("cls.predictions");
        Ok(Bert {
            bert: BertModel::load(vb.pp("bert"), &config)?,
            pooler: linear(16, 16, vb.pp("bert.pooler.dense"))?,
            next: linear(16, 2, vb.pp("cls.seq_relationship"))?,
            transform: linear(16, 16, predictions.pp("transform.dense"))?,
            norm: layer_norm(16, 1e-12, predictions.pp("transform.LayerNorm"))?,
            words: vb.get((30, 16), "bert.embeddings.word_embeddings.weight")?,
            bias: predictions.get(30, "bias")?,
        })
    }

    /// Each output as the list of its numbers.
    fn forward(&self, inputs: &Value) -> Result<Value> {
        let ids = |name: &str| -> Result<Tensor> {
            let rows: Vec<Vec<u32>> = serde_json::from_value(inputs[name].clone()).context("rows of numbers")?;
            Ok(Tensor::new(rows, &Device::Cpu)?)
        };
        let mask = ids("input_mask")?;
        let x = self
            .bert
            .forward(&ids("input_ids")?, &ids("token_type_ids")?, Some(&mask))?;
        let pooled = self.pooler.forward(&x.i((.., 0))?.contiguous()?)?.tanh()?;
        let hidden = self.norm.forward(&self.transform.forward(&x)?.gelu()?)?;
        let words = hidden.broadcast_matmul(&self.words.t()?)?.broadcast_add(&self.bias)?;
        let numbers = |x: &Tensor| -> Result<Vec<f32>> { Ok(x.flatten_all()?.to_vec1()?) };
        Ok(json!({
            "sequence_output": numbers(&x)?,
            "pooled_output": numbers(&pooled)?,
            "masked_lm_logits": numbers(&words)?,
            "next_sentence_logits": numbers(&self.next.forward(&pooled)?)?,
        }))
    }
}
