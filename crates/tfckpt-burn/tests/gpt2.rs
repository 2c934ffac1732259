//! GPT-2 in Burn, whose attention has queries, keys and values apart, where TensorFlow has one kernel for the three:
//! `tests/fixtures/models/gpt2`, which TensorFlow built and computed.

use std::path::PathBuf;

use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig, generate_autoregressive_mask};
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::store::ModuleSnapshot;
use burn::tensor::activation::{gelu_approximate, softmax};
use burn::tensor::{Device, Int, Tensor};
use serde_json::Value;
use tfckpt::Checkpoint;
use tfckpt::map::{Mapping, NameMap};
use tfckpt_burn::TfCheckpointStore;

const WIDTH: usize = 16;

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/gpt2")
}

fn known(side: &str, name: &str) -> (Vec<usize>, Vec<f32>) {
    let text = std::fs::read(fixture().join("expected.json")).unwrap();
    let json: Value = serde_json::from_slice(&text).unwrap();
    let tensor = &json[side][name];
    let read = |field: &str| tensor[field].clone();
    (
        serde_json::from_value(read("shape")).unwrap(),
        serde_json::from_value(read("values")).unwrap(),
    )
}

fn ids(device: &Device) -> Tensor<2, Int> {
    let (shape, values) = known("inputs", "input_ids");
    let values: Vec<i32> = values.into_iter().map(|id| id as i32).collect();
    Tensor::<1, Int>::from_ints(values.as_slice(), device).reshape([shape[0], shape[1]])
}

/// How far the logits are from TensorFlow's, relative to the largest of them.
fn difference(logits: Tensor<3>) -> f64 {
    let (shape, theirs) = known("outputs", "logits");
    assert_eq!(logits.dims().to_vec(), shape);
    let ours: Vec<f32> = logits.into_data().try_to_vec().unwrap();
    let largest = theirs.iter().fold(0f64, |most, value| most.max(f64::from(value.abs())));
    let off = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs() / largest;
    ours.iter()
        .zip(&theirs)
        .map(off)
        .fold(0.0, |worst, off| if off <= worst { worst } else { off })
}

/// What all three have in common.
trait Network: Module + Sized {
    fn new(device: &Device) -> Self;
    fn logits(&self, ids: Tensor<2, Int>) -> Tensor<3>;
}

fn tables(device: &Device) -> (Embedding, Embedding, LayerNorm) {
    (
        EmbeddingConfig::new(40, WIDTH).init(device),
        EmbeddingConfig::new(24, WIDTH).init(device),
        norm(device),
    )
}

fn norm(device: &Device) -> LayerNorm {
    LayerNormConfig::new(WIDTH).with_epsilon(1e-5).init(device)
}

fn embedded(words: &Embedding, positions: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
    let numbers = Tensor::<1, Int>::arange(0..ids.dims()[1] as i64, &ids.device()).unsqueeze::<2>();
    words.forward(ids) + positions.forward(numbers)
}

/// The output weights are the word embeddings.
fn unembedded(words: &Embedding, x: Tensor<3>) -> Tensor<3> {
    let table = words.weight.val().transpose().unsqueeze::<3>();
    x.matmul(table)
}

/// Of Burn's own transformer.
#[derive(Module, Debug)]
struct OfEncoder {
    wte: Embedding,
    wpe: Embedding,
    transformer: TransformerEncoder,
    ln_f: LayerNorm,
}

impl Network for OfEncoder {
    fn new(device: &Device) -> Self {
        let (wte, wpe, ln_f) = tables(device);
        OfEncoder {
            wte,
            wpe,
            transformer: TransformerEncoderConfig::new(WIDTH, 4 * WIDTH, 4, 2)
                .with_norm_first(true)
                .with_activation(ActivationConfig::GeluApproximate)
                .with_layer_norm_eps(1e-5)
                .init(device),
            ln_f,
        }
    }

    fn logits(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, length] = ids.dims();
        let mask = generate_autoregressive_mask(batch, length, &ids.device());
        let x = TransformerEncoderInput::new(embedded(&self.wte, &self.wpe, ids)).mask_attn(mask);
        unembedded(&self.wte, self.ln_f.forward(self.transformer.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Mlp {
    c_fc: Linear,
    c_proj: Linear,
}

impl Mlp {
    fn new(device: &Device) -> Self {
        Mlp {
            c_fc: LinearConfig::new(WIDTH, 4 * WIDTH).init(device),
            c_proj: LinearConfig::new(4 * WIDTH, WIDTH).init(device),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.c_proj.forward(gelu_approximate(self.c_fc.forward(x)))
    }
}

/// Of blocks by hand with Burn's attention.
#[derive(Module, Debug)]
struct OfBlocks {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<Block>,
    ln_f: LayerNorm,
}

#[derive(Module, Debug)]
struct Block {
    ln_1: LayerNorm,
    attn: MultiHeadAttention,
    ln_2: LayerNorm,
    mlp: Mlp,
}

impl Network for OfBlocks {
    fn new(device: &Device) -> Self {
        let (wte, wpe, ln_f) = tables(device);
        let block = |_| Block {
            ln_1: norm(device),
            attn: MultiHeadAttentionConfig::new(WIDTH, 4).with_dropout(0.0).init(device),
            ln_2: norm(device),
            mlp: Mlp::new(device),
        };
        let h = (0..2).map(block).collect();
        OfBlocks { wte, wpe, h, ln_f }
    }

    fn logits(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, length] = ids.dims();
        let mask = generate_autoregressive_mask(batch, length, &ids.device());
        let mut x = embedded(&self.wte, &self.wpe, ids);
        for block in &self.h {
            let input = MhaInput::self_attn(block.ln_1.forward(x.clone())).mask_attn(mask.clone());
            x = x + block.attn.forward(input).context;
            x = x.clone() + block.mlp.forward(block.ln_2.forward(x));
        }
        unembedded(&self.wte, self.ln_f.forward(x))
    }
}

/// Of blocks with one dense layer for the three, as Hugging Face has it.
#[derive(Module, Debug)]
struct Joined {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<JoinedBlock>,
    ln_f: LayerNorm,
}

#[derive(Module, Debug)]
struct JoinedBlock {
    ln_1: LayerNorm,
    attn: JoinedAttention,
    ln_2: LayerNorm,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct JoinedAttention {
    c_attn: Linear,
    c_proj: Linear,
}

impl JoinedAttention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, _] = x.dims();
        let all = self.c_attn.forward(x);
        let part = |number: usize| -> Tensor<4> {
            let part = all.clone().narrow(2, number * WIDTH, WIDTH);
            part.reshape([batch, length, 4, WIDTH / 4]).swap_dims(1, 2)
        };
        let scores = part(0).matmul(part(1).transpose()) / (WIDTH as f32 / 4.0).sqrt();
        let mask = generate_autoregressive_mask(batch, length, &scores.device()).unsqueeze_dim::<4>(1);
        let weights = softmax(scores.mask_fill(mask.expand([batch, 4, length, length]), -1e10), 3);
        let context = weights.matmul(part(2)).swap_dims(1, 2).reshape([batch, length, WIDTH]);
        self.c_proj.forward(context)
    }
}

impl Network for Joined {
    fn new(device: &Device) -> Self {
        let (wte, wpe, ln_f) = tables(device);
        let block = |_| JoinedBlock {
            ln_1: norm(device),
            attn: JoinedAttention {
                c_attn: LinearConfig::new(WIDTH, 3 * WIDTH).init(device),
                c_proj: LinearConfig::new(WIDTH, WIDTH).init(device),
            },
            ln_2: norm(device),
            mlp: Mlp::new(device),
        };
        let h = (0..2).map(block).collect();
        Joined { wte, wpe, h, ln_f }
    }

    fn logits(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let mut x = embedded(&self.wte, &self.wpe, ids);
        for block in &self.h {
            x = x.clone() + block.attn.forward(block.ln_1.forward(x));
            x = x.clone() + block.mlp.forward(block.ln_2.forward(x));
        }
        unembedded(&self.wte, self.ln_f.forward(x))
    }
}

fn load<N: Network>(names: NameMap) -> Result<(N, String), tfckpt_burn::Error> {
    let mut model = N::new(&Device::flex());
    let mut store = TfCheckpointStore::from_file(fixture().join("model.ckpt")).names(names);
    model.load_from(&mut store)?;
    let report = store.report().map(|report| format!("{report:#}"));
    Ok((model, report.unwrap_or_default()))
}

/// Loads, computes, and saves again: the same logits, and the same bytes.
fn there_and_back<N: Network>(what: &str, names: &NameMap) {
    let device = Device::flex();
    let before = difference(N::new(&device).logits(ids(&device)));
    assert!(before.is_nan() || before > 1e-2, "{what} is another network before");
    let (model, report) = load::<N>(names.clone()).unwrap();
    assert!(report.contains("0 missing, 0 mismatched, 0 unused"), "{report}");
    let off = difference(model.logits(ids(&device)));
    println!("{what}: {off:.1e}");
    assert!(off <= 1e-5, "{what} differs by {off:e}");

    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("model.ckpt");
    let mut store = TfCheckpointStore::from_file(&prefix).names(names.clone());
    model.save_into(&mut store).unwrap();
    let contents = |prefix: PathBuf| -> Vec<(String, Vec<usize>, Vec<u8>)> {
        let checkpoint = Checkpoint::open(prefix).unwrap();
        let read = |info: &tfckpt::VariableInfo| {
            let bytes = checkpoint.read_bytes(info.key()).unwrap();
            (info.name().into_owned(), info.shape().dims().to_vec(), bytes)
        };
        checkpoint.variables().map(read).collect()
    };
    assert_eq!(contents(prefix), contents(fixture().join("model.ckpt")), "{what}");
}

#[test]
fn gpt2_computes_in_burn_what_it_computes_in_tensorflow_and_comes_back_byte_for_byte() {
    there_and_back::<OfEncoder>("Burn's transformer", &NameMap::gpt2());
    there_and_back::<OfBlocks>("blocks with Burn's attention", &NameMap::gpt2());
    there_and_back::<Joined>("blocks with one layer for queries, keys and values", &NameMap::gpt2());
}

/// A network with names of its own, by a mapping of its own.
const MAPPING: &str = r#"{
    "scope": "model",
    "rules": [
        { "path": "{table:wte|wpe}.weight", "variable": "{table}", "layer": "embedding" },
        { "path": "h.{i}.{norm:ln_1|ln_2}", "layer": "layer_norm", "variables": { "gamma": "h{i}/{norm}/g", "beta": "h{i}/{norm}/b" } },
        { "path": "ln_f", "layer": "layer_norm", "variables": { "gamma": "ln_f/g", "beta": "ln_f/b" } },
        { "path": "h.{i}.attn.query.weight", "variable": "h{i}/attn/c_attn/w", "layer": "pointwise_conv1d", "axis": 2, "part": 0, "of": 3 },
        { "path": "h.{i}.attn.key.weight", "variable": "h{i}/attn/c_attn/w", "layer": "pointwise_conv1d", "axis": 2, "part": 1, "of": 3 },
        { "path": "h.{i}.attn.value.weight", "variable": "h{i}/attn/c_attn/w", "layer": "pointwise_conv1d", "axis": 2, "part": 2, "of": 3 },
        { "path": "h.{i}.attn.query.bias", "variable": "h{i}/attn/c_attn/b", "axis": 0, "part": 0, "of": 3 },
        { "path": "h.{i}.attn.key.bias", "variable": "h{i}/attn/c_attn/b", "axis": 0, "part": 1, "of": 3 },
        { "path": "h.{i}.attn.value.bias", "variable": "h{i}/attn/c_attn/b", "axis": 0, "part": 2, "of": 3 },
        { "path": "h.{i}.attn.output", "layer": "pointwise_conv1d", "variables": { "kernel": "h{i}/attn/c_proj/w", "bias": "h{i}/attn/c_proj/b" } },
        { "path": "h.{i}.mlp.{layer:*}", "layer": "pointwise_conv1d", "variables": { "kernel": "h{i}/mlp/{layer}/w", "bias": "h{i}/mlp/{layer}/b" } }
    ]
}"#;

#[test]
fn a_mapping_file_does_what_the_preset_does() {
    let names = NameMap::from(Mapping::from_json(MAPPING).unwrap());
    there_and_back::<OfBlocks>("blocks by a mapping", &names);
    // One part less cannot be.
    let without: Vec<&str> = MAPPING
        .lines()
        .filter(|line| !line.contains("attn.key.weight"))
        .collect();
    let names = NameMap::from(Mapping::from_json(&without.join("\n")).unwrap());
    let error = load::<OfBlocks>(names).unwrap_err().to_string();
    assert!(error.contains("`h.0.attn.key.weight`"), "{error}");
}

#[test]
fn keys_for_queries_are_seen_in_the_outputs_alone_and_told_in_the_report() {
    let swapped = MAPPING
        .replace("attn.key.", "attn.xxx.")
        .replace("attn.query.", "attn.key.");
    let swapped = swapped
        .replace("attn.xxx.", "attn.value.x")
        .replace("attn.value.w", "attn.query.w");
    let swapped = swapped
        .replace("attn.value.b", "attn.query.b")
        .replace("attn.value.x", "attn.value.");
    let names = NameMap::from(Mapping::from_json(&swapped).unwrap());
    let (model, report) = load::<OfBlocks>(names).unwrap();
    assert!(
        report.contains("`h.0.attn.key.weight` from `model/h0/attn/c_attn/w`, part 0 of 3 along axis 2"),
        "{report}"
    );
    assert!(difference(model.logits(ids(&Device::flex()))) > 1e-3);
}
