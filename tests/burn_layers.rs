//! Each layer of Burn computes what TensorFlow computed, and gives TensorFlow its variables back, byte for byte.
#![cfg(feature = "burn")]

#[path = "layers/burn.rs"]
mod cases;
#[path = "layers/shared.rs"]
mod shared;

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::store::ModuleSnapshot;
use burn::tensor::{Tensor, TensorData};
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

/// Recurrent layers of all kinds.
#[derive(Module, Debug)]
struct Recurrent {
    lstm: burn::nn::Lstm,
    bi: burn::nn::BiLstm,
    gru: burn::nn::Gru,
    rnn: burn::nn::Rnn,
}

/// Gives all parameters values that are the same each time: random ones are drawn from what all tests share.
struct Waves;

impl ModuleMapper for Waves {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let waves = (0..value.shape().num_elements()).map(|i| (i as f32 * 1.7 + 0.3).sin() * 0.4);
        let data = TensorData::new(waves.collect::<Vec<f32>>(), value.shape());
        let waves = Tensor::from_data(data, &value.device()).set_require_grad(value.is_require_grad());
        Param::from_mapped_value(id, waves, mapper)
    }
}

/// Trains them in a directory, and goes on with what it finds there. The bytes of the checkpoint.
fn trained(dir: &Path, until: i64) -> Vec<(String, Vec<u8>)> {
    use burn::nn::{BiLstmConfig, GruConfig, LstmConfig, RnnConfig};
    use burn::optim::{AdamConfig, GradientsParams};
    let device = device().autodiff();
    let mut model = Recurrent {
        lstm: LstmConfig::new(3, 5, true).init(&device),
        bi: BiLstmConfig::new(5, 2, true).init(&device),
        gru: GruConfig::new(4, 4, true).init(&device),
        rnn: RnnConfig::new(4, 3, true).init(&device),
    }
    .map(&mut Waves);
    let mut optimizer = AdamConfig::new().init();
    let mut rate: burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler =
        burn::lr_scheduler::constant::ConstantLr::from(1e-2).into();
    let checkpoints = tfckpt_burn::TfCheckpoints::new(dir);
    let start = checkpoints
        .restore_or_initialize(&mut model, &mut optimizer, &mut rate)
        .unwrap();
    for step in start..until {
        let values: Vec<f32> = (0..24).map(|i| ((i + step) as f32 * 0.7).sin()).collect();
        let x = Tensor::<3>::from_data(TensorData::new(values, [2, 4, 3]), &device);
        let x = model.bi.forward(model.lstm.forward(x, None).0, None).0;
        let x = model.rnn.forward(model.gru.forward(x, None), None).0;
        let gradients = GradientsParams::from_grads((x - 0.5).square().mean().backward(), &model);
        model = optimizer.step(rate.step(), model, gradients);
        checkpoints.after_step(&model, &optimizer, &rate).unwrap();
    }
    checkpoints.save(&model, &optimizer, &rate).unwrap();
    drop(checkpoints);
    let latest = Checkpoint::open(dir).unwrap();
    let read = |info: &tfckpt::VariableInfo| (info.name().into_owned(), latest.read_bytes(info.key()).unwrap());
    latest.variables().map(read).collect()
}

#[test]
fn a_resumed_training_of_recurrent_layers_ends_with_the_same_weights() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let expected = trained(whole.path(), 10);
    trained(parts.path(), 4);
    let checkpoint = Checkpoint::open(parts.path()).unwrap();
    for (name, dims) in [
        ("lstm/lstm_cell/kernel/Adam", vec![3, 20]),
        ("bi/backward_lstm/lstm_cell/recurrent_kernel/Adam_1", vec![2, 8]),
        ("lstm/lstm_cell/bias/Adam", vec![20]),
        ("lstm/lstm_cell/bias/recurrent", vec![20]),
        ("gru/gru_cell/bias/Adam", vec![2, 12]),
        ("rnn/simple_rnn_cell/kernel/Adam", vec![4, 3]),
    ] {
        assert_eq!(checkpoint.variable(name).unwrap().shape().dims(), dims, "{name}");
    }
    let resumed = trained(parts.path(), 10);
    let names = |all: &[(String, Vec<u8>)]| {
        let own = |name: &&String| !name.contains("/bias/recurrent/");
        all.iter()
            .map(|(name, _)| name)
            .filter(own)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&resumed), names(&expected));
    // Burn adds gradients up in an order of its own each time, so that two runs differ in the last bits.
    for (name, bytes) in expected
        .iter()
        .filter(|(name, _)| !name.contains("Adam") && name.contains('/'))
    {
        let (_, other) = resumed.iter().find(|(own, _)| own == name).unwrap();
        for (a, b) in floats(bytes).zip(floats(other)) {
            assert!((a - b).abs() <= 1e-5 * (1.0 + a.abs()), "{name}: {a} and {b}");
        }
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let words: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| f32::from_le_bytes(*word))
        .collect();
    words.into_iter()
}

#[test]
fn two_biases_that_were_saved_as_their_sum_come_back_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    trained(dir.path(), 3);
    let device = device();
    let new = || Recurrent {
        lstm: burn::nn::LstmConfig::new(3, 5, true).init(&device),
        bi: burn::nn::BiLstmConfig::new(5, 2, true).init(&device),
        gru: burn::nn::GruConfig::new(4, 4, true).init(&device),
        rnn: burn::nn::RnnConfig::new(4, 3, true).init(&device),
    };
    // Biases as they were drawn: their sum is rounded.
    let (drawn, mut restored) = (new(), new());
    let path = dir.path().join("drawn");
    save(&drawn, &path, NameMap::keras()).unwrap();
    load(&mut restored, &path, NameMap::keras()).unwrap();
    let own = |model: &Recurrent, name: &str| {
        let path = dir.path().join(name);
        save(model, &path, NameMap::identity()).unwrap();
        let saved = Checkpoint::open(&path).unwrap();
        let read = |info: &tfckpt::VariableInfo| (info.name().into_owned(), saved.read_bytes(info.key()).unwrap());
        saved.variables().map(read).collect::<Vec<_>>()
    };
    assert_eq!(own(&drawn, "a"), own(&restored, "b"));
    // Another sum, as TensorFlow would leave it behind: it counts, and what was kept does not.
    let saved = Checkpoint::open(&path).unwrap();
    let changed = saved.variables().map(|info| {
        let mut bytes = saved.read_bytes(info.key()).unwrap();
        if info.name() == "lstm/lstm_cell/bias" {
            bytes = 0.5f32.to_le_bytes().repeat(20);
        }
        tfckpt::Variable::from_bytes(info.key(), info.dtype(), info.shape().clone(), bytes)
    });
    let other = dir.path().join("other");
    tfckpt::Saver::new(&other).save(changed.collect::<Vec<_>>(), 1).unwrap();
    load(&mut restored, &other, NameMap::keras()).unwrap();
    let bias = |gate: &burn::nn::GateController| {
        let both = [&gate.input_transform, &gate.hidden_transform].map(|part| part.bias.as_ref().unwrap().val());
        both.map(|bias| output(bias).values)
    };
    assert_eq!(bias(&restored.lstm.input_gate), [vec![0.5; 5], vec![0.0; 5]]);
}
