//! Mapping files in Burn: loaded, computed, saved back byte for byte, and refused.

#[path = "../../tfckpt/tests/support/mappings.rs"]
mod mappings;

use std::path::{Path, PathBuf};

use burn::module::{Module, Param};
use burn::nn::{BiLstm, BiLstmConfig, Embedding, EmbeddingConfig, Linear, LinearConfig, Lstm, LstmConfig};
use burn::store::ModuleSnapshot;
use burn::tensor::{Device, FloatDType, Tensor};
use mappings::{layers, names};
use tfckpt::map::{Casts, NameMap};
use tfckpt::{Checkpoint, DType, Saver, Variable};
use tfckpt_burn::{Error, TfCheckpointStore};

fn renamed(dir: &Path, names: &[(&str, &str)]) -> PathBuf {
    mappings::renamed(dir, names).prefix()
}

fn load<M: Module>(module: &mut M, prefix: &Path, names: NameMap) -> Result<String, Error> {
    let mut store = TfCheckpointStore::from_file(prefix).names(names);
    module.load_from(&mut store)?;
    Ok(store.report().map(|report| format!("{report:#}")).unwrap_or_default())
}

fn save<M: Module>(module: &M, prefix: &Path, names: NameMap) -> Result<(), Error> {
    module.save_into(&mut TfCheckpointStore::from_file(prefix).names(names).overwrite(true))
}

fn contents(prefix: &Path) -> Vec<(String, String, Vec<u8>)> {
    mappings::contents(&Checkpoint::open(prefix).unwrap())
}

fn array(name: &str) -> (Vec<usize>, Vec<f32>) {
    let cases = layers("cases");
    let dims = cases.variable(name).unwrap().shape().dims().to_vec();
    (dims, cases.read(name).unwrap())
}

fn input(name: &str, device: &Device) -> Tensor<3> {
    let (dims, values) = array(&format!("{name}/x"));
    Tensor::<1>::from_floats(values.as_slice(), device).reshape([dims[0], dims[1], dims[2]])
}

/// How far an output is from TensorFlow's, relative to the largest number of it.
fn difference(ours: Tensor<3>, name: &str) -> f64 {
    let (dims, theirs) = array(&format!("{name}/y"));
    assert_eq!(ours.dims().to_vec(), dims);
    let ours: Vec<f32> = ours.into_data().try_to_vec().unwrap();
    let largest = theirs.iter().fold(0f64, |most, value| most.max(f64::from(value.abs())));
    let off = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs() / largest;
    let worse = |worst: f64, off: f64| if off <= worst { worst } else { off };
    ours.iter().zip(&theirs).map(off).fold(0.0, worse)
}

#[derive(Module, Debug)]
struct Encoder {
    rnn: Lstm,
}

impl Encoder {
    fn new(width: usize, device: &Device) -> Self {
        Encoder {
            rnn: LstmConfig::new(width, width, true).init(device),
        }
    }
}

const BASIC: [(&str, &str); 2] = [
    ("square_basic_lstm/basic_lstm_cell/kernel", "enc/W"),
    ("square_basic_lstm/basic_lstm_cell/bias", "enc/b"),
];

const RULE: &str = r#"{ "path": "rnn", "layer": "lstm", "cell": "basic_lstm_cell", "variables": { "kernel": "enc/W", "bias": "enc/b" } }"#;

#[test]
fn an_lstm_under_any_names_computes_what_tensorflow_computed_and_comes_back() {
    let (device, dir, back) = (
        Device::flex(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let prefix = renamed(dir.path(), &BASIC);
    let mut model = Encoder::new(8, &device);
    let x = input("square_basic_lstm", &device);
    let forward = |model: &Encoder| model.rnn.forward(x.clone(), None).0;
    assert!(
        difference(forward(&model), "square_basic_lstm") > 1e-3,
        "it is another layer before"
    );
    let report = load(&mut model, &prefix, names(RULE)).unwrap();
    assert!(
        report.contains("`rnn.input_gate.input_transform.weight` from `enc/W`, as BasicLSTMCell, gates i, c, f, o"),
        "{report}"
    );
    assert!(difference(forward(&model), "square_basic_lstm") < 1e-5);
    save(&model, &back.path().join("m"), names(RULE)).unwrap();
    assert_eq!(contents(&back.path().join("m")), contents(&prefix));

    // The other cell, a bias without a name, and a name for one parameter alone: nothing is loaded.
    let before = difference(forward(&model), "square_basic_lstm");
    for (rule, words) in [
        (
            r#"{ "path": "rnn", "layer": "lstm", "variables": { "kernel": "enc/W", "recurrent_kernel": "enc/W2", "bias": "enc/b" } }"#,
            ["`enc/W` [16, 32]", "cell of TensorFlow 1"],
        ),
        (
            r#"{ "path": "rnn", "layer": "lstm", "cell": "basic_lstm_cell", "variables": { "kernel": "enc/W" } }"#,
            ["no name for `bias`", "`rnn`"],
        ),
        (
            r#"{ "path": "rnn.input_gate.input_transform.weight", "variable": "enc/W", "axis": 1, "part": 0, "of": 4 }"#,
            ["has a name of its own", "Rule::variables"],
        ),
        (
            r#"{ "path": "other", "layer": "lstm", "variables": { "kernel": "a", "recurrent_kernel": "b", "bias": "c" } }"#,
            ["of no use", "other"],
        ),
    ] {
        let error = load(&mut model, &prefix, names(rule)).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    assert_eq!(difference(forward(&model), "square_basic_lstm"), before);
}

#[derive(Module, Debug)]
struct Both {
    bi: BiLstm,
}

#[test]
fn both_directions_have_their_names() {
    let (device, dir, back) = (
        Device::flex(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let named = ["kernel", "recurrent_kernel", "bias"].map(|leaf| {
        let of = |direction: &str| format!("bi_lstm/{direction}_lstm/lstm_cell/{leaf}");
        (of("forward"), of("backward"), leaf)
    });
    let new = |direction: &str, leaf: &str| format!("{direction}-{leaf}");
    let pairs: Vec<(String, String)> = named
        .iter()
        .flat_map(|(forward, backward, leaf)| [(forward.clone(), new("f", leaf)), (backward.clone(), new("b", leaf))])
        .collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(old, new)| (old.as_str(), new.as_str())).collect();
    let prefix = renamed(dir.path(), &pairs);
    let variables: Vec<String> = named
        .iter()
        .flat_map(|(.., leaf)| {
            [("forward", "f"), ("backward", "b")]
                .map(|(direction, short)| format!(r#""{direction}/{leaf}": "{}""#, new(short, leaf)))
        })
        .collect();
    let rule = format!(
        r#"{{ "path": "bi", "layer": "lstm", "variables": {{ {} }} }}"#,
        variables.join(", ")
    );
    let mut model = Both {
        bi: BiLstmConfig::new(7, 11, true).init(&device),
    };
    load(&mut model, &prefix, names(&rule)).unwrap();
    let y = model.bi.forward(input("bi_lstm", &device), None).0;
    assert!(difference(y, "bi_lstm") < 1e-5);
    save(&model, &back.path().join("m"), names(&rule)).unwrap();
    assert_eq!(contents(&back.path().join("m")), contents(&prefix));
}

/// Parameters that are parts of variables, several side by side, stacked, and none.
#[derive(Module, Debug)]
struct Parts {
    q: Linear,
    k: Linear,
    table: Embedding,
    stacked: Param<Tensor<2>>,
    scale: Param<Tensor<1>>,
}

const PARTS: &str = r#"
    { "path": "q.weight", "variable": "qk/w", "axis": 1, "part": 0, "of": 2 },
    { "path": "k.weight", "variable": "qk/w", "axis": 1, "part": 1, "of": 2 },
    { "path": "{p:q|k}.bias", "variable": "{p}_b" },
    { "path": "table.weight", "variables": ["t/part_0", "t/part_1"], "axis": 0 },
    { "path": "stacked", "variables": ["a", "b", "c"], "axis": 1, "stack": true },
    { "path": "scale", "constant": 1 }"#;

fn parts(device: &Device) -> Parts {
    Parts {
        q: LinearConfig::new(5, 2).init(device),
        k: LinearConfig::new(5, 2).init(device),
        table: EmbeddingConfig::new(6, 2).init(device),
        stacked: Param::from_tensor(Tensor::zeros([2, 3], device)),
        scale: Param::from_tensor(Tensor::zeros([4], device)),
    }
}

#[test]
fn parts_and_several_variables_come_and_go_byte_for_byte() {
    let (device, dir, back) = (
        Device::flex(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let counted: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let dims: [(&str, &[usize]); 8] = [
        ("qk/w", &[5, 4]),
        ("q_b", &[2]),
        ("k_b", &[2]),
        ("t/part_0", &[3, 2]),
        ("t/part_1", &[3, 2]),
        ("a", &[2]),
        ("b", &[2]),
        ("c", &[2]),
    ];
    let variables = dims.iter().enumerate().map(|(number, (name, dims))| {
        let count: usize = dims.iter().product();
        Variable::new(
            *name,
            *dims,
            &counted[number % 5..number % 5 + count.min(15)][..count.min(15)],
        )
    });
    // `qk/w` is larger than the others.
    let all: Vec<Variable<'_>> = variables
        .skip(1)
        .chain([Variable::new("qk/w", [5, 4], &counted)])
        .collect();
    Saver::new(dir.path()).save(all, 1).unwrap();
    let prefix = dir.path().join("model.ckpt-1");
    let mut model = parts(&device);
    let report = load(&mut model, &prefix, names(PARTS)).unwrap();
    assert!(
        report.contains("`k.weight` from `qk/w`, part 1 of 2 along axis 1")
            && report.contains("`scale` from no variable, 1 everywhere"),
        "{report}"
    );
    let values = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(
        values(model.k.weight.val()),
        [2., 3., 6., 7., 10., 11., 14., 15., 18., 19.]
    );
    assert_eq!(values(model.stacked.val()).len(), 6);
    save(&model, &back.path().join("m"), names(PARTS)).unwrap();
    assert_eq!(contents(&back.path().join("m")), contents(&prefix));

    // Without the other part it loads, and cannot be saved; a constant that is none any more cannot, either.
    let alone = PARTS.replace("\"path\": \"k.weight\"", "\"path\": \"k.weight\", \"note\": \"n\"");
    let alone = alone.replace(
        r#""variable": "qk/w", "axis": 1, "part": 1, "of": 2"#,
        r#""skip": true"#,
    );
    load(&mut model, &prefix, names(&alone)).unwrap();
    let error = save(&model, &back.path().join("n"), names(&alone))
        .unwrap_err()
        .to_string();
    assert!(error.contains("qk/w") && error.contains("part 1 of 2"), "{error}");
    model.scale = Param::from_tensor(Tensor::from_floats([1., 1., 2., 1.], &device));
    let error = save(&model, &back.path().join("n"), names(PARTS))
        .unwrap_err()
        .to_string();
    assert!(error.contains("`scale` is not 1 everywhere"), "{error}");
    // Three parts of what has two.
    let three = PARTS.replace("\"of\": 2", "\"of\": 3");
    let error = load(&mut model, &prefix, names(&three)).unwrap_err().to_string();
    assert!(error.contains("`q.weight` needs float32 [5, 6]"), "{error}");
}

#[test]
fn a_recurrent_layer_is_cast_on_request_and_stored_as_it_was() {
    let (device, dir, back) = (
        Device::flex(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let source = renamed(&dir.path().join("f32"), &BASIC);
    let original = Checkpoint::open(&source).unwrap();
    // Bits of float32 that are those of bfloat16, and so in it exactly.
    let half = |name: &str| -> Vec<u8> {
        let bytes = original.read_bytes(name).unwrap();
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|bytes| [bytes[2], bytes[3]])
            .collect()
    };
    let variables = BASIC.map(|(_, name)| {
        let shape = original.variable(name).unwrap().shape().clone();
        Variable::from_bytes(name, DType::Bfloat16, shape, half(name))
    });
    Saver::new(dir.path().join("bf16")).save(variables, 1).unwrap();
    let prefix = dir.path().join("bf16/model.ckpt-1");
    let mut model = Encoder::new(8, &device);
    let error = load(&mut model, &prefix, names(RULE)).unwrap_err().to_string();
    assert!(
        error.contains("needs float32 [16, 32], but `enc/W` is bfloat16 [16, 32]") && error.contains("Casts::Exact"),
        "{error}"
    );
    let stored = RULE.replace("\"cell\"", "\"dtype\": \"bfloat16\", \"cell\"");
    let cast = names(&stored).cast(Casts::Exact);
    let report = load(&mut model, &prefix, cast.clone()).unwrap();
    assert!(
        report.contains("cast from bfloat16 to float32") && !report.contains("rounded"),
        "{report}"
    );
    save(&model, &back.path().join("m"), cast).unwrap();
    assert_eq!(contents(&back.path().join("m")), contents(&prefix));

    // The other way values are rounded, and the report says so.
    let lossy = names(RULE).cast(Casts::Lossy);
    let mut small = Encoder::new(8, &device);
    small.rnn = small.rnn.map(&mut ToHalf);
    let report = load(&mut small, &source, lossy).unwrap();
    assert!(report.contains("16 perhaps rounded"), "{report}");
}

struct ToHalf;

impl burn::module::ModuleMapper for ToHalf {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(FloatDType::F16))
    }
}
