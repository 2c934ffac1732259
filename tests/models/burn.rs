//! BERT in Burn.

use burn::nn::activation::ActivationConfig;
use burn::store::ModuleSnapshot;
use burn::tensor::Device;
use tfckpt::Checkpoint;
use tfckpt::map::NameMap;
use tfckpt_burn::TfCheckpointStore;

use crate::burn_networks::{Heads, bert, candle};
use crate::networks::Kept;

#[test]
fn bert_computes_in_burn_what_it_computes_in_tensorflow_with_either_gelu() {
    let device = Device::flex();
    let kept = Kept::open("bert");
    for (name, activation) in [
        ("tanh", ActivationConfig::GeluApproximate),
        ("erf", ActivationConfig::Gelu),
    ] {
        let mut model = bert(2, 24, activation, &device);
        let mut store = TfCheckpointStore::from_file(kept.prefix()).names(NameMap::bert());
        model.load_from(&mut store).unwrap();
        let x = model.forward(&kept, &device);
        kept.assert_computes(&format!("{name}/sequence_output"), &candle(x));
        assert_eq!(store.report().unwrap().loaded.len(), 37);
    }
}

#[test]
fn heads_of_a_fine_tuned_bert_are_turned_round() {
    let device = Device::flex();
    let kept = Kept::open("bert_classifier");
    let mut model = Heads::new(&device);
    let names = NameMap::bert();
    let mut store = TfCheckpointStore::from_file(kept.prefix()).names(names.clone());
    model.load_from(&mut store).unwrap();
    let [classes, answers] = model.forward(&kept, &device);
    kept.assert_computes("logits", &candle(classes));
    kept.assert_computes("squad_logits", &candle(answers));
    assert_eq!(store.report().unwrap().unused, [""; 0]);

    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("model.ckpt");
    model
        .save_into(&mut TfCheckpointStore::from_file(&prefix).names(names))
        .unwrap();
    let (ours, theirs) = (Checkpoint::open(&prefix).unwrap(), kept.checkpoint());
    let list = |checkpoint: &Checkpoint| -> Vec<_> {
        let variables = checkpoint.variables();
        let one = |name: String| {
            (
                checkpoint.variable(&name).unwrap().shape().clone(),
                checkpoint.read_bytes(&name).unwrap(),
                name,
            )
        };
        variables.map(|variable| one(variable.name().into_owned())).collect()
    };
    assert_eq!(list(&ours), list(&theirs));
}

#[test]
fn a_base_electra_is_a_bert_of_burn() {
    let device = Device::flex();
    let kept = Kept::open("electra_base");
    let mut model = bert(1, 64, ActivationConfig::Gelu, &device);
    let mut store = TfCheckpointStore::from_file(kept.prefix()).names(NameMap::electra());
    model.load_from(&mut store).unwrap();
    kept.assert_computes("sequence_output", &candle(model.forward(&kept, &device)));
}
