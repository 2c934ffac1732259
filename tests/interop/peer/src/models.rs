//! Whole networks, between two checkpoints of TensorFlow.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::store::ModuleSnapshot;
use burn::tensor::Tensor;
use candle_core::{DType, Device};
use candle_nn::VarMap;
use networks::{Kept, Outputs};
use serde_json::{Value, json};
use tfckpt::Saver;
use tfckpt::map::NameMap;
use tfckpt_burn::TfCheckpointStore;
use tfckpt_candle::{Import, Variables};

use crate::layers::Change;

#[path = "../../../models/networks/burn.rs"]
mod burn_networks;
#[path = "../../../models/networks/mod.rs"]
mod networks;

/// Builds the network that is called so out of the checkpoint in `folder`, and prints what it computes of the inputs there;
/// then changes every variable, saves them in `directory`, and prints what it computes now.
pub(crate) fn model(name: &str, folder: &str, directory: &str) -> Result<()> {
    let case = networks::case(name).with_context(|| format!("no network is called `{name}`"))?;
    let kept = Kept::in_folder(Path::new(folder));
    let (import, varmap) = (Import::new(kept.checkpoint(), case.names.clone()), VarMap::new());
    let (vb, layers) = import.init_from_checkpoint(&varmap, DType::F32, &Device::Cpu);
    let mut network = (case.build)(&vb)?;
    let missing: Vec<String> = import
        .report()
        .missing
        .into_iter()
        .map(|missing| missing.path)
        .collect();
    let loaded = network.forward(&kept)?;
    for var in varmap.all_vars() {
        var.set(&((var.as_tensor() * 0.9)? + 0.02)?)?;
    }
    let variables = Variables::new(&varmap).layers(&layers).names(case.names);
    Saver::new(directory).save(variables.to_save()?, 7)?;
    let changed = network.forward(&kept)?;
    println!(
        "{}",
        json!({
            "missing": missing,
            "loaded": numbers(case.outputs, &loaded)?,
            "changed": numbers(case.outputs, &changed)?,
        })
    );
    Ok(())
}

/// The same with a network of Burn.
pub(crate) fn burn_model(name: &str, folder: &str, directory: &str) -> Result<()> {
    let (kept, device) = (Kept::in_folder(Path::new(folder)), burn::tensor::Device::flex());
    let body = |layers, inner, activation| burn_networks::bert(layers, inner, activation, &device);
    let of_body = |model: &burn_networks::Bert| vec![("sequence_output", numbered(model.forward(&kept, &device)))];
    let store = |names: fn() -> NameMap| BurnCase {
        prefix: kept.prefix(),
        directory: Path::new(directory),
        names: names(),
    };
    match name {
        "bert" => store(NameMap::bert).there_and_back("tanh/", body(2, 24, ActivationConfig::GeluApproximate), of_body),
        "electra_base" => store(NameMap::electra).there_and_back("", body(1, 64, ActivationConfig::Gelu), of_body),
        "bert_classifier" => {
            let heads = burn_networks::Heads::new(&device);
            store(NameMap::bert).there_and_back("", heads, |model| {
                let [classes, answers] = model.forward(&kept, &device);
                vec![("logits", numbered(classes)), ("squad_logits", numbered(answers))]
            })
        }
        _ => bail!("no network of Burn is called `{name}`"),
    }
}

struct BurnCase<'c> {
    prefix: &'c Path,
    directory: &'c Path,
    names: NameMap,
}

impl BurnCase<'_> {
    fn there_and_back<M: Module>(
        &self,
        of: &str,
        mut model: M,
        forward: impl Fn(&M) -> Vec<(&'static str, Value)>,
    ) -> Result<()> {
        let outputs = |model: &M| -> BTreeMap<String, Value> {
            let named = forward(model).into_iter();
            named.map(|(name, output)| (format!("{of}{name}"), output)).collect()
        };
        model.load_from(&mut TfCheckpointStore::from_file(self.prefix).names(self.names.clone()))?;
        let loaded = outputs(&model);
        let model = model.map(&mut Change);
        let store = TfCheckpointStore::from_file(self.directory.join("model.ckpt"));
        model.save_into(&mut store.names(self.names.clone()))?;
        println!(
            "{}",
            json!({"missing": [], "loaded": loaded, "changed": outputs(&model)})
        );
        Ok(())
    }
}

fn numbered<const D: usize>(x: Tensor<D>) -> Value {
    let x = burn_networks::candle(x);
    let values: Vec<f32> = x.flatten_all().and_then(|x| x.to_vec1()).unwrap_or_default();
    json!({"shape": x.dims(), "values": values})
}

/// Shape and numbers of each output.
fn numbers(of: &str, outputs: &Outputs) -> Result<BTreeMap<String, Value>> {
    let one = |(name, output): &(&str, candle_core::Tensor)| {
        let values: Vec<f32> = output.flatten_all()?.to_vec1()?;
        Ok((format!("{of}{name}"), json!({"shape": output.dims(), "values": values})))
    };
    outputs.iter().map(one).collect()
}
