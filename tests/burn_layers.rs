//! Each layer of Burn computes what TensorFlow computed, and gives TensorFlow its variables back, byte for byte.
#![cfg(feature = "burn")]

#[path = "layers/burn.rs"]
mod cases;
#[path = "layers/shared.rs"]
mod shared;

use std::path::Path;

use burn::module::Module;
use burn::store::ModuleSnapshot;
use cases::{Tied, Visit, declared, device, each, input, output, tied_names};
use shared::{Values, array, difference, in_scope, prefix};
use tfckpt::Checkpoint;
use tfckpt::map::{ForgetBias, GruCell, Layer, LstmCell, NameMap};
use tfckpt_burn::TfCheckpointStore;

fn load<M: Module>(module: &mut M, path: &Path, names: NameMap) -> tfckpt_burn::Result<()> {
    module
        .load_from(&mut TfCheckpointStore::from_file(path).names(names))
        .map(drop)
}

fn save<M: Module>(module: &M, path: &Path, names: NameMap) -> tfckpt_burn::Result<()> {
    module.save_into(&mut TfCheckpointStore::from_file(path).names(names).overwrite(true))
}

struct Compare {
    model: Checkpoint,
    cases: Checkpoint,
    dir: tempfile::TempDir,
    done: usize,
    failed: Vec<String>,
}

impl Visit for Compare {
    fn layer<M: Module>(&mut self, name: &str, names: NameMap, mut module: M, forward: impl Fn(&M, &Values) -> Values) {
        let (x, y) = (
            array(&self.cases, &format!("{name}/x")),
            array(&self.cases, &format!("{name}/y")),
        );
        let before = difference(&forward(&module, &x), &y);
        if let Err(error) = load(&mut module, &prefix("model"), names.clone()) {
            return self.failed.push(format!("{name}: {error}"));
        }
        let after = difference(&forward(&module, &x), &y);
        println!("| `{name}` | {after:.1e} |");
        // Before it was loaded, it computed something else, so that the comparison can fail.
        if before < 1e-3 || after.is_nan() || after > 1e-5 {
            self.failed
                .push(format!("{name}: {before:e} before, {after:e} after it was loaded"));
        }
        let path = self.dir.path().join(name);
        if let Err(error) = save(&module, &path, names) {
            return self.failed.push(format!("{name}: {error}"));
        }
        let saved = in_scope(&Checkpoint::open(&path).expect("it was saved"), name);
        let expected = in_scope(&self.model, name);
        if saved != expected || expected.is_empty() {
            let list = |all: &[(String, Vec<usize>, Vec<u8>)]| {
                let names = all.iter().map(|(name, dims, _)| format!("{name} {dims:?}"));
                names.collect::<Vec<_>>().join(", ")
            };
            self.failed.push(format!(
                "{name}: saved {}; TensorFlow has {}",
                list(&saved),
                list(&expected)
            ));
        }
        self.done += 1;
    }
}

#[test]
fn each_layer_computes_what_tensorflow_computed_and_its_variables_come_back_byte_for_byte() {
    let mut compare = Compare {
        model: Checkpoint::open(prefix("model")).unwrap(),
        cases: Checkpoint::open(prefix("cases")).unwrap(),
        dir: tempfile::tempdir().unwrap(),
        done: 0,
        failed: Vec::new(),
    };
    each(&mut compare);
    assert!(compare.failed.is_empty(), "{}", compare.failed.join("\n"));
    assert_eq!(compare.done, 58);
}

/// Loads a layer that was declared as another one.
fn lstm_as(cell: LstmCell, name: &str, scope: &str) -> f64 {
    let cases = Checkpoint::open(prefix("cases")).unwrap();
    let (x, y) = (array(&cases, &format!("{name}/x")), array(&cases, &format!("{name}/y")));
    let mut layer = burn::nn::LstmConfig::new(x.dims[2], y.dims[2], true).init(&device());
    let names = NameMap::keras().scope(scope).with_layer("", Layer::Lstm { cell });
    load(&mut layer, &prefix("model"), names).unwrap();
    difference(&output(layer.forward(input::<3>(&x), None).0), &y)
}

#[test]
fn a_wrong_order_of_gates_or_a_forgotten_bias_computes_something_else() {
    let right = LstmCell::Basic(ForgetBias::default());
    assert!(lstm_as(right, "square_basic_lstm", "square_basic_lstm") < 1e-5);
    let without = LstmCell::Basic(ForgetBias::new(0.0));
    assert!(lstm_as(without, "square_basic_lstm", "square_basic_lstm") > 1e-2);
    // The kernel of another cell of the same shape, whose gates are the same: other weights.
    assert!(
        lstm_as(
            LstmCell::Tf1(ForgetBias::default()),
            "square_basic_lstm",
            "square_block_lstm"
        ) > 1e-2
    );
}

fn refusal<M: Module>(mut module: M, names: NameMap) -> String {
    load(&mut module, &prefix("model"), names).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_represented_is_refused_with_the_reason() {
    let device = &device();
    let gru = || burn::nn::GruConfig::new(7, 11, true).init(device);
    let message = refusal(gru(), NameMap::keras().scope("gru_before"));
    assert!(
        message.contains("`gru_before/gru_cell/bias` [33]") && message.contains("GruCell::KerasBefore"),
        "{message}"
    );
    let message = refusal(
        gru(),
        declared(
            "gru",
            Layer::Gru {
                cell: GruCell::KerasBefore,
            },
        ),
    );
    assert!(
        message.contains("`gru/gru_cell/bias` [2, 33]") && message.contains("GruCell::Keras`"),
        "{message}"
    );
    let no_bias = burn::nn::LstmConfig::new(7, 11, false).init(device);
    let message = refusal(no_bias, NameMap::keras().scope("lstm"));
    assert!(message.contains("the layer has no biases"), "{message}");
    let no_bias = burn::nn::LstmConfig::new(7, 11, false).init(device);
    let cell = LstmCell::Basic(ForgetBias::default());
    let message = refusal(no_bias, declared("basic_lstm", Layer::Lstm { cell }));
    assert!(message.contains("needs both of its biases"), "{message}");
    let coupled = burn::nn::LstmConfig::new(7, 11, true)
        .with_input_forget(true)
        .init(device);
    let message = refusal(coupled, NameMap::keras().scope("lstm"));
    assert!(message.contains("no Forget gate"), "{message}");
    let as_gru = burn::nn::LstmConfig::new(7, 11, true).init(device);
    let message = refusal(as_gru, declared("gru", Layer::Gru { cell: GruCell::Keras }));
    assert!(message.contains("which the cell does not have"), "{message}");
    // Sizes that do not fit are told as everywhere.
    let small = burn::nn::LstmConfig::new(7, 10, true).init(device);
    let message = refusal(small, NameMap::keras().scope("lstm"));
    assert!(
        message.contains("needs float32 [7, 40], but `lstm/lstm_cell/kernel` is float32 [7, 44]"),
        "{message}"
    );
    let missing = burn::nn::LstmConfig::new(7, 11, true).init(device);
    let message = refusal(missing, NameMap::keras().scope("nowhere"));
    assert!(
        message.contains("looked for as `nowhere/lstm_cell/kernel` or `nowhere/kernel`"),
        "{message}"
    );
    // Heads that were not declared, and others than there are.
    let attention = || burn::nn::attention::MultiHeadAttentionConfig::new(12, 3).init(device);
    let message = refusal(attention(), NameMap::keras().scope("attention"));
    assert!(
        message.contains("`attention/query/kernel` is float32 [12, 3, 4]"),
        "{message}"
    );
    let message = refusal(
        attention(),
        declared("attention", Layer::MultiHeadAttention { heads: 4 }),
    );
    assert!(message.contains("[12, 4, 3]"), "{message}");
}

#[test]
fn a_normalization_that_has_no_gamma_in_tensorflow_must_have_one_of_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut norm = burn::nn::BatchNormConfig::new(11).init(&device());
    let names = declared(
        "batch_norm_unscaled",
        Layer::PartialNorm {
            scale: false,
            center: true,
        },
    );
    load(&mut norm, &prefix("model"), names.clone()).unwrap();
    save(&norm, &dir.path().join("a"), names.clone()).unwrap();
    load(&mut norm, &prefix("model"), NameMap::keras().scope("batch_norm")).unwrap();
    let error = save(&norm, &dir.path().join("a"), names).unwrap_err().to_string();
    assert!(error.contains("`gamma` is not 1 everywhere"), "{error}");
}

#[test]
fn parameters_that_share_a_variable_are_stored_once_and_must_be_equal() {
    let dir = tempfile::tempdir().unwrap();
    let device = &device();
    let mut tied = Tied {
        table: burn::nn::EmbeddingConfig::new(16, 9).init(device),
        decoder: burn::nn::LinearConfig::new(9, 16).init(device),
    };
    let error = save(&tied, &dir.path().join("a"), tied_names())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`table.weight` and `decoder.weight` are both called `tied/word_embeddings`"),
        "{error}"
    );
    load(&mut tied, &prefix("model"), tied_names()).unwrap();
    save(&tied, &dir.path().join("a"), tied_names()).unwrap();
    assert_eq!(Checkpoint::open(dir.path().join("a")).unwrap().variables().count(), 2);
}
